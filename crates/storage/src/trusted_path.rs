//! Ownership and permission checks on a path: only root and this user may control it.

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

/// The reason why a path is not trusted: another user controls a part of it, or it cannot be
/// examined.
#[derive(Debug, thiserror::Error)]
pub enum UntrustedPath {
    /// Another user owns or can write a part of the path.
    #[error("{}: {why}", path.display())]
    ControlledByOthers {
        /// The part that another user controls: a directory, a link or the file.
        path: PathBuf,
        /// The way in which another user controls the part, and the remedy.
        why: &'static str,
    },
    /// The file system reported an error while the path was examined.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// The most symbolic links on a path. Linux has the same limit.
const MAX_LINKS: usize = 40;

const OWNED_BY_OTHERS: &str =
    "it belongs to another user: chown it (-R) to root, or to the user that installs";
const WRITABLE_BY_OTHERS: &str = "other users may write to it: run chmod go-w on it";

/// Refuses a path that another user than root and this user could redirect or write to.
///
/// Owner and mode are checked for every directory on the path, for every link and the path of its
/// target, and for the file or directory at the end. A directory on the path with the sticky bit,
/// such as `/tmp`, may be writable by other users: they cannot replace the entries of this user.
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
            // `at` has no link in it, so its parent is the directory that `..` means.
            Some(name) if name == ".." => at = at.parent().unwrap_or(&at).to_owned(),
            Some(name) => at.push(name),
        }
    }
}

/// Refuses a directory if another user than root and this user owns or can write an entry in it, at
/// any depth. The directory itself is not checked.
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

/// Refuses an entry that another user owns or can write. The directories above it are not checked.
/// An entry that has been removed in the meantime passes.
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

/// The names and `..` of a path, in order.
fn path_components(path: &Path) -> impl Iterator<Item = OsString> + use<> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.collect::<Vec<_>>().into_iter()
}
