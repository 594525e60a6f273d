//! What a [`Storage`](crate::Disk) is made of: one operation each, as an operating system has them.
//!
//! There is one for the files of this machine. A simulation of many machines brings its own, one
//! for each: the order of writing, syncing and naming is the same on both.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::mode::Mode;

/// The files of a machine.
pub trait FileSystem: Send + Sync {
    /// Creates a file that is not there, to be written.
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>>;
    /// Opens a file to be written on at its end: one that [`FileSystem::create`] could have left in this
    /// mode, and nothing else.
    fn append(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>>;
    /// Opens a plain file and nothing else.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>>;
    /// Opens a directory to make things in, and no link to one.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DirHandle>>;
    /// Gives another name to a file, a link or a directory. What had that name is gone, or, if it
    /// has to be new, an error of [`io::ErrorKind::AlreadyExists`].
    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Makes a directory in one that is there.
    fn make_dir(&self, path: &Path, mode: Mode) -> io::Result<()>;
    /// The names in a directory, in any order.
    fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// Makes a symbolic link.
    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Where a symbolic link points.
    fn read_link(&self, link: &Path) -> io::Result<PathBuf>;
    /// Removes a file or link, and no directory.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a file or link, or a directory with all that is in it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether anything has this name, be it a link to nothing.
    fn symlink_exists(&self, path: &Path) -> bool;
    /// Whether there is something, at the end of links.
    fn exists(&self, path: &Path) -> bool;
    /// Whether that is a directory.
    fn is_dir(&self, path: &Path) -> bool;
    /// Takes the lock in a directory. `None` if somebody else holds it.
    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>>;
}

/// A file that is open, to be read from any place in it.
pub trait ReadableFile: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadableFile for T {}

/// A directory that is held open: what is made through it is in it, wherever its name leads by then.
///
/// Names are single ones, without a slash. No link is followed and nothing is replaced: what is
/// there already is an error of [`io::ErrorKind::AlreadyExists`].
pub trait DirHandle: Send {
    /// Makes a directory.
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn DirHandle>>;
    /// Opens a directory.
    fn open_dir(&self, name: &str) -> io::Result<Box<dyn DirHandle>>;
    /// Creates a file, to be written.
    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn WritableFile>>;
    /// Makes a symbolic link.
    fn symlink(&self, target: &str, name: &str) -> io::Result<()>;
    /// Makes everything durable that is in it and in those in it. What could not be written since
    /// this directory was opened is an error.
    fn sync_tree(&self) -> io::Result<()>;
}

/// A file that is being written.
pub trait WritableFile: Write + Send + Sync {
    /// Makes its bytes durable.
    fn sync(&self) -> io::Result<()>;
    /// So many bytes from a place on are complete: the disk may begin with them while more come. Whether
    /// it does decides nothing but how long [`WritableFile::sync`] takes.
    fn start_writeback(&self, from: u64, length: u64) {
        let _ = (from, length);
    }
    /// Gives it the group and the rights of another file, in this order: it is never open to more
    /// people in between.
    fn copy_permissions_from(&self, other: &Path) -> io::Result<()>;
    /// The same open file, to be read from its first byte.
    fn read_back(self: Box<Self>) -> io::Result<Box<dyn ReadableFile>>;
}

/// Makes the bytes of all files durable. A disk takes many syncs at once in little more than
/// the time of one.
pub(crate) fn sync_all_files(files: &[Box<dyn WritableFile>]) -> io::Result<()> {
    let one_after_another =
        |files: &[Box<dyn WritableFile>]| files.iter().try_for_each(|file| file.sync());
    if files.len() < 3 {
        return one_after_another(files);
    }
    std::thread::scope(|scope| {
        let shares = files.chunks(files.len().div_ceil(16));
        let running: Vec<_> =
            shares.map(|share| scope.spawn(move || one_after_another(share))).collect();
        running.into_iter().try_for_each(|sync| {
            sync.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// The right to be a directory's only user, until it is dropped.
pub struct Lock {
    _guard: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// A lock that is given back when `held` is dropped.
    pub fn from_guard(held: impl Send + Sync + 'static) -> Lock {
        Lock { _guard: Box::new(held) }
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}
