//! Whether what a path leads to is in nobody's hands but root's and this user's.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::{
    fs::{self},
    io,
};

use crate::StorageError;

/// Somebody else could put another file in the place of this one, or another text in it.
#[derive(Debug, thiserror::Error)]
pub enum UntrustedPath {
    /// By this part of the way there.
    #[error("{}: {why}", path.display())]
    ControlledByOthers {
        /// It.
        path: PathBuf,
        /// What they may do.
        why: &'static str,
    },
    /// Nobody knows.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// The most links on a way, as Linux has it.
const MAX_LINKS: usize = 40;

const OWNED_BY_OTHERS: &str =
    "it belongs to somebody else: chown it (-R) to root, or to whoever installs";
const WRITABLE_BY_OTHERS: &str = "others may write to it: chmod go-w";

/// Refuses a path that others than root and this user could lead elsewhere, or write to what it leads
/// to: every directory on the way, every link and where that leads, and what is at its end. In a
/// directory on the way with the sticky bit, such as /tmp, what is ours stays so.
pub fn check_trusted_path(path: &Path) -> Result<(), UntrustedPath> {
    let absolute = std::path::absolute(path).map_err(StorageError::at(path))?;
    let mut left: VecDeque<OsString> = path_components(&absolute).collect();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    loop {
        let found = fs::symlink_metadata(&at).map_err(StorageError::at(&at))?;
        let others = |why| Err(UntrustedPath::ControlledByOthers { path: at.clone(), why });
        if !has_trusted_owner(&found) {
            return others(OWNED_BY_OTHERS);
        }
        if found.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                let error = io::Error::other("too many symbolic links");
                return Err(StorageError::at(&at)(error).into());
            }
            let target = fs::read_link(&at).map_err(StorageError::at(&at))?;
            at = if target.is_absolute() { "/".into() } else { crate::parent(&at).to_owned() };
            left = path_components(&target).chain(left).collect();
        } else if found.mode() & 0o022 != 0 {
            let is_sticky = found.is_dir() && found.mode() & 0o1000 != 0;
            if !is_sticky || left.is_empty() {
                return others(WRITABLE_BY_OTHERS);
            }
        }
        match left.pop_front() {
            None => return Ok(()),
            // All that was passed is a directory by itself, no link.
            Some(name) if name == ".." => at = at.parent().unwrap_or(&at).to_owned(),
            Some(name) => at.push(name),
        }
    }
}

/// The same for all that is below a directory.
pub fn check_trusted_tree(directory: &Path) -> Result<(), UntrustedPath> {
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for path in list_entries(&directory)? {
            check_trusted_entry(&path)?;
            if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                left.push(path);
            }
        }
    }
    Ok(())
}

fn list_entries(directory: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = fs::read_dir(directory).map_err(StorageError::at(directory))?;
    let paths = entries.map(|entry| Ok(entry.map_err(StorageError::at(directory))?.path()));
    paths.collect()
}

/// Refuses what others own or may write to, wherever it is. What is gone meanwhile is nobody's.
fn check_trusted_entry(path: &Path) -> Result<(), UntrustedPath> {
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(StorageError::at(path))?,
    };
    let why = if !has_trusted_owner(&found) {
        OWNED_BY_OTHERS
    } else if !found.is_symlink() && found.mode() & 0o022 != 0 {
        WRITABLE_BY_OTHERS
    } else {
        return Ok(());
    };
    Err(UntrustedPath::ControlledByOthers { path: path.to_owned(), why })
}

fn has_trusted_owner(found: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&found.uid())
}

/// The names on a path.
fn path_components(path: &Path) -> impl Iterator<Item = OsString> + use<> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect::<Vec<_>>().into_iter()
}
