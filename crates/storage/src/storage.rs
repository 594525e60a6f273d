//! Every durable write of the project: whole or not at all, and on the disk before anybody relies on it.
//!
//! A file is written under a temporary name beside its place, synced, renamed, and its
//! directory synced. A [`Storage`] may carry a hook that sees every step before it is taken
//! and may fail it: so tests record the order, and kill the program at each step.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StorageError;
use crate::filesystem::{FileSystem, Lock, ReadableFile, WritableFile, sync_all_files};
use crate::hook::{WriteHook, WriteStep};
use crate::mode::Mode;
use crate::os::OsFileSystem;
use crate::paths::{parent, temporary_path};
use crate::read::{none_if_not_found, read_bounded};

/// A file's beginning, to be read, and its end, to be written.
pub type ResumedFile = (Box<dyn ReadableFile>, Box<dyn WritableFile>);

/// Where durable writes go through, and the reading of what they wrote. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    hook: Option<Arc<WriteHook>>,
    pub(crate) files: Arc<dyn FileSystem>,
}

impl Default for Storage {
    /// This machine's.
    fn default() -> Storage {
        Storage { hook: None, files: Arc::new(OsFileSystem) }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.hook.is_some() { "Disk(watched)" } else { "Disk" })
    }
}

impl Storage {
    /// A disk whose every step is shown to `hook` first; an error from it fails the step.
    pub fn with_hook(
        hook: impl Fn(&WriteStep) -> io::Result<()> + Send + Sync + 'static,
    ) -> Storage {
        Storage { hook: Some(Arc::new(hook)), ..Storage::default() }
    }

    /// The same in front of other files than this machine's: those of a simulated one.
    pub fn with_filesystem(self, files: impl FileSystem + 'static) -> Storage {
        Storage { files: Arc::new(files), ..self }
    }

    /// Reads a file like [`crate::read()`].
    pub fn read(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StorageError> {
        let bytes = self.files.open(path).and_then(|file| read_bounded(file, limit));
        none_if_not_found(bytes.map_err(StorageError::at(path)))
    }

    /// Opens a plain file and nothing else, like [`crate::open_regular_file`].
    pub fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        self.files.open(path)
    }

    /// The names in a directory, in any order.
    pub fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.files.list_dir(directory)
    }

    /// Where a symbolic link points.
    pub fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        self.files.read_link(link)
    }

    /// Whether there is something, at the end of links.
    pub fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }

    /// Takes the lock in `directory`. `None` if somebody else holds it.
    pub fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        self.files.lock(directory)
    }

    pub(crate) fn run_hook(&self, step: WriteStep) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(&step))
    }

    /// Writes a whole file, replacing what was there. Afterwards it is durable under its
    /// name; on an error the old file is still whole.
    pub fn write(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
        self.write_all([(path.to_owned(), bytes)], mode)
    }

    /// Writes a whole file that is not there yet; [`io::ErrorKind::AlreadyExists`] if it is,
    /// however late somebody made it. Two writers at once do not meet: each has a temporary name
    /// of its own.
    pub fn write_new(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
        let own = path.with_added_extension(format!("{:016x}", rand::random::<u64>()));
        let written = self.create(&own, mode).and_then(|mut file| {
            self.announce_write(&own)?;
            file.write_all(bytes)?;
            self.sync_file(&*file, &own)?;
            self.run_hook(WriteStep::Rename(path.to_owned()))?;
            self.files.rename(&temporary_path(&own), path, true)?;
            self.sync_dir(parent(path))
        });
        if written.is_err() {
            self.remove(&temporary_path(&own)).ok();
        }
        written
    }

    /// Writes several files, each whole: first all contents, then all names, then the
    /// directories, so that a crash leaves no name without its content.
    pub fn write_all<'a>(
        &self,
        files: impl IntoIterator<Item = (PathBuf, &'a [u8])>,
        mode: Mode,
    ) -> io::Result<()> {
        let files: Vec<(PathBuf, &[u8])> = files.into_iter().collect();
        let written = self.write_group(&files, mode);
        if written.is_err() {
            // A full disk is not made fuller by what did not become a file.
            files.iter().for_each(|(path, _)| drop(self.remove(&temporary_path(path))));
        }
        written
    }

    /// Writes a whole file in place of one that is there, with its rights and its group, and never
    /// open to more people in between. Its owner becomes whoever writes; finer rights than the
    /// mode's (access control lists) are not carried over.
    pub fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if !self.exists(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let written = self.create(path, Mode::Private).and_then(|mut file| {
            self.announce_write(path)?;
            file.write_all(bytes)?;
            file.copy_permissions_from(path)?;
            self.finish(&*file, path)
        });
        if written.is_err() {
            self.remove(&temporary_path(path)).ok();
        }
        written
    }

    fn write_group(&self, files: &[(PathBuf, &[u8])], mode: Mode) -> io::Result<()> {
        for group in files.chunks(MAX_OPEN_FILES) {
            let mut open = Vec::new();
            for (path, bytes) in group {
                let mut file = self.create(path, mode)?;
                self.announce_write(path)?;
                file.write_all(bytes)?;
                open.push(file);
            }
            group
                .iter()
                .try_for_each(|(path, _)| self.run_hook(WriteStep::SyncFile(path.clone())))?;
            sync_all_files(&open)?;
        }
        let mut directories = BTreeSet::new();
        for (path, _) in files {
            self.rename(&temporary_path(path), path)?;
            directories.insert(parent(path));
        }
        directories.into_iter().try_for_each(|directory| self.sync_dir(directory))
    }

    /// Creates the file that will become `path`, under its temporary name. Nobody else's:
    /// what an interrupted write left there is removed, and no link is followed.
    pub fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>> {
        let temporary = temporary_path(path);
        self.run_hook(WriteStep::Create(path.to_owned()))?;
        match self.files.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.files.create(&temporary, mode)
    }

    /// What an interrupted run has written of the file that will become `path`: to be read, and to be
    /// written on at its end. `None` if there is nothing that [`Storage::create`] could have left.
    pub fn resume(&self, path: &Path, mode: Mode) -> io::Result<Option<ResumedFile>> {
        let path = temporary_path(path);
        let Ok(file) = self.files.append(&path, mode) else { return Ok(None) };
        Ok(Some((self.files.open(&path)?, file)))
    }

    /// Announces that bytes are about to be written to a file that [`Storage::create`] made.
    pub fn announce_write(&self, path: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::Write(path.to_owned()))
    }

    /// Gives a file that [`Storage::create`] or [`Storage::resume`] began its name, replacing what was there.
    /// Afterwards it is durable under that name.
    pub fn finish(&self, file: &dyn WritableFile, path: &Path) -> io::Result<()> {
        self.sync_file(file, path)?;
        self.rename(&temporary_path(path), path)?;
        self.sync_dir(parent(path))
    }

    /// Makes a file's bytes durable.
    fn sync_file(&self, file: &dyn WritableFile, path: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::SyncFile(path.to_owned()))?;
        file.sync()
    }

    /// Renames, replacing what was there; durable once the directory is synced.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::Rename(to.to_owned()))?;
        self.files.rename(from, to, false)
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::SyncDir(directory.to_owned()))?;
        self.files.sync_dir(directory)
    }

    /// Makes a directory and those above it, each durable in the one above.
    pub fn make_dir(&self, path: &Path, mode: Mode) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let above = parent(path);
        if self.files.is_dir(path) {
            // An interrupted run may have made it and not come to sync its name; those above it
            // were durable before it was made. Where we may not look, we have made nothing.
            return match self.sync_dir(above) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            };
        }
        self.make_dir(above, mode)?;
        self.run_hook(WriteStep::MakeDir(path.to_owned()))?;
        match self.files.make_dir(path, mode) {
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists && self.files.is_dir(path) => {}
            made => made?,
        }
        self.sync_dir(above)
    }

    /// Points the symbolic link `symsymsymlink` at `target`, in one step.
    pub fn replace_symlink(&self, link: &Path, target: &Path) -> io::Result<()> {
        let temporary = temporary_path(link);
        self.remove(&temporary)?;
        self.run_hook(WriteStep::Symlink(link.to_owned()))?;
        self.files.symlink(target, &temporary)?;
        self.rename(&temporary, link)?;
        self.sync_dir(parent(link))
    }

    /// Removes a file, or a directory with all that is in it; nothing there is fine.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.files.symlink_exists(path) {
            return Ok(());
        }
        self.run_hook(WriteStep::Remove(path.to_owned()))?;
        self.files.remove(path)
    }
}

/// Files held open at once while many are written.
const MAX_OPEN_FILES: usize = 256;

/// Takes the lock in a directory of this machine. `None` if somebody else holds it.
pub fn lock(directory: &Path) -> io::Result<Option<Lock>> {
    OsFileSystem.lock(directory)
}
