//! Durable writes for the whole project: after each write, a file is complete under its name or
//! unchanged.
//!
//! The documentation of this crate states the order of the steps of a write.

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

/// An unfinished file, as a reader at its first byte and a writer that appends to it.
pub type ResumedFile = (Box<dyn ReadableFile>, Box<dyn WritableFile>);

/// Durable writes to a [`FileSystem`], and reads from it. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    hook: Option<Arc<WriteHook>>,
    pub(crate) files: Arc<dyn FileSystem>,
}

impl Default for Storage {
    /// The storage on the operating system's files, without a hook.
    fn default() -> Storage {
        Storage { hook: None, files: Arc::new(OsFileSystem) }
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.hook.is_some() { "Storage(hooked)" } else { "Storage" })
    }
}

impl Storage {
    /// Makes a storage on the operating system's files that calls `hook` before every step.
    ///
    /// If the hook returns an error, the step is not done and the write fails with that error.
    pub fn with_hook(
        hook: impl Fn(&WriteStep) -> io::Result<()> + Send + Sync + 'static,
    ) -> Storage {
        Storage { hook: Some(Arc::new(hook)), ..Storage::default() }
    }

    /// Replaces the file system, for example by a simulated one. The hook stays.
    pub fn with_filesystem(self, files: impl FileSystem + 'static) -> Storage {
        Storage { files: Arc::new(files), ..self }
    }

    /// Reads a regular file of at most `limit` bytes, like [`crate::read()`]. `None` if it does not
    /// exist.
    pub fn read(&self, path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StorageError> {
        let bytes = self.files.open(path).and_then(|file| read_bounded(file, limit));
        none_if_not_found(bytes.map_err(StorageError::at(path)))
    }

    /// Opens a regular file for reading, like [`crate::open_regular_file`].
    pub fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        self.files.open(path)
    }

    /// Lists the names in a directory, in any order.
    pub fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.files.list_dir(directory)
    }

    /// Reads the target of a symbolic link.
    pub fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        self.files.read_link(link)
    }

    /// Whether the path exists. Links are followed.
    pub fn exists(&self, path: &Path) -> bool {
        self.files.exists(path)
    }

    /// Takes the lock of `directory`. `None` if another process or another [`Lock`] holds it.
    pub fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        self.files.lock(directory)
    }

    pub(crate) fn run_hook(&self, step: WriteStep) -> io::Result<()> {
        self.hook.as_ref().map_or(Ok(()), |hook| hook(&step))
    }

    /// Writes a file, and replaces an existing one. On success, the new file is durable under its
    /// name. On an error, the complete old file or the complete new file is under that name.
    pub fn write(&self, path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
        self.write_all([(path.to_owned(), bytes)], mode)
    }

    /// Writes a file that does not exist yet.
    ///
    /// Fails with [`io::ErrorKind::AlreadyExists`] if the file exists, even if another process
    /// created it during this call. Each call has its own temporary name, so two writers at the
    /// same time do not disturb each other.
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

    /// Writes several files: syncs all contents first, then renames all files, then syncs the
    /// directories. After a crash, each name has its complete old or new content.
    pub fn write_all<'a>(
        &self,
        files: impl IntoIterator<Item = (PathBuf, &'a [u8])>,
        mode: Mode,
    ) -> io::Result<()> {
        let files: Vec<(PathBuf, &[u8])> = files.into_iter().collect();
        let written = self.write_group(&files, mode);
        if written.is_err() {
            // Temporary files must not take space on a disk that may be full.
            files.iter().for_each(|(path, _)| drop(self.remove(&temporary_path(path))));
        }
        written
    }

    /// Replaces an existing file and keeps its mode and its group. At no time can more users read
    /// the file than before.
    ///
    /// The new owner is the user of this process. Access control lists are not copied. Fails with
    /// [`io::ErrorKind::NotFound`] if the file does not exist.
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

    /// Creates the file that will become `path`, under its temporary name.
    ///
    /// A file or link with the temporary name is removed first, so no link is followed.
    pub fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>> {
        let temporary = temporary_path(path);
        self.run_hook(WriteStep::Create(path.to_owned()))?;
        match self.files.remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.files.create(&temporary, mode)
    }

    /// Opens the temporary file that an interrupted run has left for `path`, for reading and for
    /// appending.
    ///
    /// `None` if there is no file that [`Storage::create`] with this `mode` could have left.
    pub fn resume(&self, path: &Path, mode: Mode) -> io::Result<Option<ResumedFile>> {
        let path = temporary_path(path);
        let Ok(file) = self.files.append(&path, mode) else { return Ok(None) };
        Ok(Some((self.files.open(&path)?, file)))
    }

    /// Runs the hook for a write to the file that [`Storage::create`] made for `path`. The caller
    /// calls this before it writes.
    pub fn announce_write(&self, path: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::Write(path.to_owned()))
    }

    /// Syncs a file of [`Storage::create`] or [`Storage::resume`], and renames it to `path`.
    ///
    /// An existing file is replaced. On success, the new file is durable under its name.
    pub fn finish(&self, file: &dyn WritableFile, path: &Path) -> io::Result<()> {
        self.sync_file(file, path)?;
        self.rename(&temporary_path(path), path)?;
        self.sync_dir(parent(path))
    }

    /// Runs the hook, and makes the content of the file for `path` durable.
    fn sync_file(&self, file: &dyn WritableFile, path: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::SyncFile(path.to_owned()))?;
        file.sync()
    }

    /// Renames a file or directory and replaces an existing file. The new name is durable after
    /// [`Storage::sync_dir`] of its directory.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::Rename(to.to_owned()))?;
        self.files.rename(from, to, false)
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.run_hook(WriteStep::SyncDir(directory.to_owned()))?;
        self.files.sync_dir(directory)
    }

    /// Creates a directory and its missing ancestors. On success, the name of each new directory is
    /// durable.
    pub fn make_dir(&self, path: &Path, mode: Mode) -> io::Result<()> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let above = parent(path);
        if self.files.is_dir(path) {
            // An interrupted run may have created `path` without a sync of its name. The ancestors
            // of `path` were durable before that. A user who may not open `above` has created
            // nothing in it.
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

    /// Creates or replaces the symbolic link `link`, so that it points to `target`. The change is
    /// atomic and durable.
    pub fn replace_symlink(&self, link: &Path, target: &Path) -> io::Result<()> {
        let temporary = temporary_path(link);
        self.remove(&temporary)?;
        self.run_hook(WriteStep::Symlink(link.to_owned()))?;
        self.files.symlink(target, &temporary)?;
        self.rename(&temporary, link)?;
        self.sync_dir(parent(link))
    }

    /// Removes a file or link, or a directory with its content. Succeeds if the path does not
    /// exist.
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.files.symlink_exists(path) {
            return Ok(());
        }
        self.run_hook(WriteStep::Remove(path.to_owned()))?;
        self.files.remove(path)
    }
}

/// The most files that [`Storage::write_all`] has open at the same time.
const MAX_OPEN_FILES: usize = 256;

/// Takes the lock of a directory on the operating system's file system. `None` if another process
/// or another [`Lock`] holds it.
pub fn lock(directory: &Path) -> io::Result<Option<Lock>> {
    OsFileSystem.lock(directory)
}
