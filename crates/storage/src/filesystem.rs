//! The file operations below [`Storage`](crate::Storage): one method for each operation of an
//! operating system.
//!
//! This crate implements [`FileSystem`] for the operating system's files. A simulation implements
//! the trait, too, with one file system for each simulated machine. Writes, syncs and renames come in the
//! same order on each file system, because [`Storage`](crate::Storage) decides the order.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::mode::Mode;

/// The file operations of one machine.
pub trait FileSystem: Send + Sync {
    /// Creates a new file for writing. Fails with [`io::ErrorKind::AlreadyExists`] if the name is
    /// taken.
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>>;
    /// Opens a file for appending. Fails if [`FileSystem::create`] with this mode could not have
    /// made the file, such as for a link or for a file with another mode.
    fn append(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>>;
    /// Opens a regular file for reading. Fails for every other kind of file.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>>;
    /// Opens a directory, to create entries in it. A link to a directory is an error.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DirHandle>>;
    /// Renames a file, link or directory. An existing target is replaced; with `has_to_be_new` it
    /// is an error of [`io::ErrorKind::AlreadyExists`].
    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Creates a directory. The directory above it must exist.
    fn make_dir(&self, path: &Path, mode: Mode) -> io::Result<()>;
    /// Lists the names in a directory, in any order.
    fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// Creates a symbolic link.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Reads the target of a symbolic link.
    fn read_link(&self, link: &Path) -> io::Result<PathBuf>;
    /// Removes a file or link. A directory is an error.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a file or link, or a directory with its content.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether the path exists. Links are not followed, so a link to a missing file exists.
    fn symlink_exists(&self, path: &Path) -> bool;
    /// Whether the path exists. Links are followed.
    fn exists(&self, path: &Path) -> bool;
    /// Whether the path is a directory. Links are followed.
    fn is_dir(&self, path: &Path) -> bool;
    /// Takes the lock of a directory. `None` if another process or another [`Lock`] holds it.
    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>>;
}

/// A file that is open for reading, with a position.
pub trait ReadableFile: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadableFile for T {}

/// An open directory. New entries are created in this directory, even if its path has come to lead
/// elsewhere.
///
/// Names are single names without a slash. No link is followed and nothing is replaced: to create
/// an entry that exists fails with [`io::ErrorKind::AlreadyExists`].
pub trait DirHandle: Send {
    /// Creates a directory and opens it.
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn DirHandle>>;
    /// Opens a directory in this directory.
    fn open_dir(&self, name: &str) -> io::Result<Box<dyn DirHandle>>;
    /// Creates a file for writing.
    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn WritableFile>>;
    /// Creates a symbolic link.
    fn symlink(&self, target: &str, name: &str) -> io::Result<()>;
    /// Makes the directory's whole content durable, at every depth. Fails if a write since the
    /// opening of this directory failed.
    fn sync_tree(&self) -> io::Result<()>;
}

/// A file that is open for writing.
pub trait WritableFile: Write + Send + Sync {
    /// Makes the file's content durable.
    fn sync(&self) -> io::Result<()>;
    /// Announces that `length` bytes from the position `from` are complete, so the disk can begin
    /// to write them. It only affects how long [`WritableFile::sync`] takes.
    fn start_writeback(&self, from: u64, length: u64) {
        let _ = (from, length);
    }
    /// Copies the group of another file, then its mode. In this order, no additional user can read
    /// the file between the two steps.
    fn copy_permissions_from(&self, other: &Path) -> io::Result<()>;
    /// Turns the open file into a reader at its first byte.
    fn read_back(self: Box<Self>) -> io::Result<Box<dyn ReadableFile>>;
}

/// Makes the content of all files durable, with up to 16 threads. Many syncs at the same time take
/// a disk little longer than one sync.
pub(crate) fn sync_all_files(files: &[Box<dyn WritableFile>]) -> io::Result<()> {
    let sync_each = |files: &[Box<dyn WritableFile>]| files.iter().try_for_each(|file| file.sync());
    if files.len() < 3 {
        return sync_each(files);
    }
    std::thread::scope(|scope| {
        let shares = files.chunks(files.len().div_ceil(16));
        let running: Vec<_> = shares.map(|share| scope.spawn(move || sync_each(share))).collect();
        running.into_iter().try_for_each(|sync| {
            sync.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// A lock on a directory, held until this value is dropped.
pub struct Lock {
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// A lock that is released when `guard` is dropped.
    pub fn from_guard(guard: impl Send + Sync + 'static) -> Lock {
        Lock { _guard: Box::new(guard) }
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}
