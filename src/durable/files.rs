//! What a [`Disk`](super::Disk) is made of: one operation each, as an operating system has them.
//!
//! There is one for the files of this machine. A simulation of many machines brings its own, one
//! for each: the order of writing, syncing and naming is the same on both.

use std::any::Any;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};

use rustix::fs::{
    Advice, CWD, OFlags, RenameFlags, fadvise, mkdirat, openat, renameat_with, symlinkat,
};

use super::{Mode, open_plain};

/// The files of a machine.
pub trait Files: Send + Sync {
    /// Creates a file that is not there, to be written.
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Written>>;
    /// Opens a file to be written on at its end: one that [`Files::create`] could have left in this
    /// mode, and nothing else.
    fn append(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Written>>;
    /// Opens a plain file and nothing else.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>>;
    /// Opens a directory to make things in, and no link to one.
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>>;
    /// Gives another name to a file, a link or a directory. What had that name is gone, or, if it
    /// has to be new, an error of [`io::ErrorKind::AlreadyExists`].
    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Makes a directory in one that is there.
    fn make_dir(&self, path: &Path, mode: Mode) -> io::Result<()>;
    /// The names in a directory, in any order.
    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>>;
    /// Makes a symbolic link.
    fn link(&self, target: &Path, link: &Path) -> io::Result<()>;
    /// Where a symbolic link points.
    fn read_link(&self, link: &Path) -> io::Result<PathBuf>;
    /// Removes a file or link, and no directory.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a file or link, or a directory with all that is in it.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Whether anything has this name, be it a link to nothing.
    fn is_there(&self, path: &Path) -> bool;
    /// Whether there is something, at the end of links.
    fn exists(&self, path: &Path) -> bool;
    /// Whether that is a directory.
    fn is_dir(&self, path: &Path) -> bool;
    /// Takes the lock in a directory. `None` if somebody else holds it.
    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>>;
}

/// A file that is open, to be read from any place in it.
pub trait Source: Read + Seek + Send {}

impl<T: Read + Seek + Send> Source for T {}

/// A directory that is held open: what is made through it is in it, wherever its name leads by then.
///
/// Names are single ones, without a slash. No link is followed and nothing is replaced: what is
/// there already is an error of [`io::ErrorKind::AlreadyExists`].
pub trait Directory: Send {
    /// Makes a directory.
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn Directory>>;
    /// Opens a directory.
    fn open_dir(&self, name: &str) -> io::Result<Box<dyn Directory>>;
    /// Creates a file, to be written.
    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn Written>>;
    /// Makes a symbolic link.
    fn link(&self, target: &str, name: &str) -> io::Result<()>;
    /// Makes everything durable that is in it and in those in it. What could not be written since
    /// this directory was opened is an error.
    fn sync_tree(&self) -> io::Result<()>;
}

/// A file that is being written.
pub trait Written: Write + Send + Sync {
    /// Makes its bytes durable.
    fn sync(&self) -> io::Result<()>;
    /// So many bytes from a place on are complete: the disk may begin with them while more come. Whether
    /// it does decides nothing but how long [`Written::sync`] takes.
    fn begin_sync(&self, from: u64, length: u64) {
        let _ = (from, length);
    }
    /// Gives it the group and the rights of another file, in this order: it is never open to more
    /// people in between.
    fn take_rights_of(&self, other: &Path) -> io::Result<()>;
    /// The same open file, to be read from its first byte.
    fn read_back(self: Box<Self>) -> io::Result<Box<dyn Source>>;
}

/// Makes the bytes of all files durable. A disk takes many syncs at once in little more than
/// the time of one.
pub(super) fn sync_together(files: &[Box<dyn Written>]) -> io::Result<()> {
    let one_after_another =
        |files: &[Box<dyn Written>]| files.iter().try_for_each(|file| file.sync());
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
    _held: Box<dyn Any + Send + Sync>,
}

impl Lock {
    /// A lock that is given back when `held` is dropped.
    pub fn of(held: impl Send + Sync + 'static) -> Lock {
        Lock { _held: Box::new(held) }
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

/// The files of this machine.
pub(super) struct OperatingSystem;

impl Files for OperatingSystem {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Written>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode.bits(false));
        let file = options.open(path)?;
        if mode != Mode::Private {
            // Whatever the umask: who is to read it can.
            file.set_permissions(Permissions::from_mode(mode.bits(false)))?;
        }
        Ok(Box::new(file))
    }

    fn append(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Written>> {
        // Not through a link, and not waiting at a pipe.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
        let file = OpenOptions::new().read(true).append(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        let ours = found.is_file() && found.nlink() == 1;
        if !ours || found.mode() & 0o7777 != mode.bits(false) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file of ours"));
        }
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(open_plain(path)?))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn Directory>> {
        Ok(Box::new(Opened(rustix::fs::open(path, DIRECTORY, NO_RIGHTS)?)))
    }

    fn rename(&self, from: &Path, to: &Path, has_to_be_new: bool) -> io::Result<()> {
        if has_to_be_new {
            Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
        } else {
            fs::rename(from, to)
        }
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn make_dir(&self, path: &Path, mode: Mode) -> io::Result<()> {
        DirBuilder::new().mode(mode.bits(true)).create(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode.bits(true)))
    }

    fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn link(&self, target: &Path, link: &Path) -> io::Result<()> {
        symlink(target, link)
    }

    fn read_link(&self, link: &Path) -> io::Result<PathBuf> {
        fs::read_link(link)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if path.symlink_metadata()?.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
    }

    fn is_there(&self, path: &Path) -> bool {
        path.symlink_metadata().is_ok()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn lock(&self, directory: &Path) -> io::Result<Option<Lock>> {
        let path = directory.join(".lock");
        // Not through a link that somebody left there, and not waiting at a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600).custom_flags(flags.bits() as i32);
        let file = match options.clone().create_new(true).open(&path) {
            // Whoever made it, whose directory it is can lock it. What was there, and may be anything,
            // is nobody's to give away.
            Ok(made) => {
                let place = fs::metadata(directory)?;
                if made.metadata()?.uid() != place.uid() {
                    fchown(&made, Some(place.uid()), Some(place.gid())).ok();
                }
                made
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(&path)?,
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock::of(Locked(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Written for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    /// Linux begins to write back what it is told will not be needed soon, without waiting for it, and
    /// forgets only what is on the disk by then.
    fn begin_sync(&self, from: u64, length: u64) {
        if let Some(length) = NonZeroU64::new(length) {
            fadvise(self, from, Some(length), Advice::DontNeed).ok();
        }
    }

    fn take_rights_of(&self, other: &Path) -> io::Result<()> {
        let other = fs::metadata(other)?;
        if self.metadata()?.gid() != other.gid() {
            fchown(self, None, Some(other.gid()))?;
        }
        self.set_permissions(Permissions::from_mode(other.mode() & 0o777))
    }

    fn read_back(mut self: Box<Self>) -> io::Result<Box<dyn Source>> {
        self.rewind()?;
        Ok(self)
    }
}

/// An open directory of this machine. Things are made in it by single names and never through a
/// link, so nothing that is made below it is anywhere else. (`openat2` with `RESOLVE_BENEATH` says
/// the same of a whole path; it needs Linux 5.6, and sandboxes that do not know it refuse it.)
struct Opened(OwnedFd);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// For what is opened and not made.
const NO_RIGHTS: rustix::fs::Mode = rustix::fs::Mode::empty();

impl Directory for Opened {
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn Directory>> {
        let name = single(name)?;
        let rights = rustix::fs::Mode::from_raw_mode(mode.bits(true));
        mkdirat(&self.0, name, rights)?;
        let made = openat(&self.0, name, DIRECTORY, NO_RIGHTS)?;
        // Whatever the umask.
        rustix::fs::fchmod(&made, rights)?;
        Ok(Box::new(Opened(made)))
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn Directory>> {
        Ok(Box::new(Opened(openat(&self.0, single(name)?, DIRECTORY, NO_RIGHTS)?)))
    }

    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn Written>> {
        let rights = rustix::fs::Mode::from_raw_mode(mode.bits(false));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file = File::from(openat(&self.0, single(name)?, flags | OFlags::CLOEXEC, rights)?);
        // Whatever the umask.
        file.set_permissions(Permissions::from_mode(mode.bits(false)))?;
        Ok(Box::new(file))
    }

    fn link(&self, target: &str, name: &str) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, single(name)?)?)
    }

    /// One call for the whole file system: syncing ten thousand files one by one takes a disk
    /// minutes. Linux tells it of errors in writing back since 5.8.
    #[cfg(target_os = "linux")]
    fn sync_tree(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_tree(&self) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "trees can be installed on Linux only"))
    }
}

/// A name in a directory, and not a way out of it.
fn single(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a single name"));
    }
    Ok(name)
}

struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // Not left to closing the file: a process that is being started at this moment holds a
        // copy of it until it runs.
        self.0.unlock().ok();
    }
}
