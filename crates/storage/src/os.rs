//! The implementation of [`FileSystem`] for the operating system's files.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::Seek as _;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};
use std::{
    fs::{self},
    io::{self},
};

use rustix::fs::{
    Advice, CWD, OFlags, RenameFlags, fadvise, mkdirat, openat, renameat_with, symlinkat,
};

use crate::filesystem::{DirHandle, FileSystem, Lock, ReadableFile, WritableFile};
use crate::mode::Mode;
use crate::read::open_regular_file;

/// The file system of the operating system.
pub(crate) struct OsFileSystem;

impl FileSystem for OsFileSystem {
    fn create(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode.bits(false));
        let file = options.open(path)?;
        if mode != Mode::Private {
            // The umask may have removed permissions that the mode promises.
            file.set_permissions(Permissions::from_mode(mode.bits(false)))?;
        }
        Ok(Box::new(file))
    }

    fn append(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn WritableFile>> {
        // The open does not follow a link, and does not wait for the other end of a pipe.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32;
        let file = OpenOptions::new().read(true).append(true).custom_flags(flags).open(path)?;
        let found = file.metadata()?;
        let is_single_file = found.is_file() && found.nlink() == 1;
        if !is_single_file || found.mode() & 0o7777 != mode.bits(false) {
            let message = "not a file that this program left";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Box::new(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadableFile>> {
        Ok(Box::new(open_regular_file(path)?))
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DirHandle>> {
        Ok(Box::new(OsDirHandle(rustix::fs::open(path, DIRECTORY, NO_RIGHTS)?)))
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

    fn list_dir(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    fn symlink(&self, target: &Path, link: &Path) -> io::Result<()> {
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

    fn symlink_exists(&self, path: &Path) -> bool {
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
        // The open does not follow a planted link, and does not wait for the other end of a pipe.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600).custom_flags(flags.bits() as i32);
        let file = match options.clone().create_new(true).open(&path) {
            // The owner of the directory must be able to lock it, so a new lock file gets that
            // owner. An existing file keeps its owner: it may be a hard link to something else.
            Ok(created) => {
                let parent = fs::metadata(directory)?;
                if created.metadata()?.uid() != parent.uid() {
                    fchown(&created, Some(parent.uid()), Some(parent.gid())).ok();
                }
                created
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(&path)?,
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock::from_guard(LockFile(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

impl WritableFile for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    /// Calls `posix_fadvise` with `DONTNEED`: Linux starts the writeback and does not wait for it.
    /// The call drops only cached pages that are on the disk already.
    fn start_writeback(&self, from: u64, length: u64) {
        if let Some(length) = NonZeroU64::new(length) {
            fadvise(self, from, Some(length), Advice::DontNeed).ok();
        }
    }

    fn copy_permissions_from(&self, other: &Path) -> io::Result<()> {
        let other = fs::metadata(other)?;
        if self.metadata()?.gid() != other.gid() {
            fchown(self, None, Some(other.gid()))?;
        }
        self.set_permissions(Permissions::from_mode(other.mode() & 0o777))
    }

    fn read_back(mut self: Box<Self>) -> io::Result<Box<dyn ReadableFile>> {
        self.rewind()?;
        Ok(self)
    }
}

/// An open directory of the operating system.
///
/// Entries are created by single names and never through a link, so all of them are below this
/// directory. `openat2` with `RESOLVE_BENEATH` would guarantee this for a whole path. But it needs
/// Linux 5.6, and sandboxes that do not know the call refuse it.
struct OsDirHandle(OwnedFd);

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The mode argument of an `open` that creates no file. It is ignored.
const NO_RIGHTS: rustix::fs::Mode = rustix::fs::Mode::empty();

impl DirHandle for OsDirHandle {
    fn make_dir(&self, name: &str, mode: Mode) -> io::Result<Box<dyn DirHandle>> {
        let name = check_single_name(name)?;
        let rights = rustix::fs::Mode::from_raw_mode(mode.bits(true));
        mkdirat(&self.0, name, rights)?;
        let created = openat(&self.0, name, DIRECTORY, NO_RIGHTS)?;
        // The umask may have removed permissions.
        rustix::fs::fchmod(&created, rights)?;
        Ok(Box::new(OsDirHandle(created)))
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn DirHandle>> {
        Ok(Box::new(OsDirHandle(openat(&self.0, check_single_name(name)?, DIRECTORY, NO_RIGHTS)?)))
    }

    fn create(&self, name: &str, mode: Mode) -> io::Result<Box<dyn WritableFile>> {
        let rights = rustix::fs::Mode::from_raw_mode(mode.bits(false));
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let file =
            File::from(openat(&self.0, check_single_name(name)?, flags | OFlags::CLOEXEC, rights)?);
        // The umask may have removed permissions.
        file.set_permissions(Permissions::from_mode(mode.bits(false)))?;
        Ok(Box::new(file))
    }

    fn symlink(&self, target: &str, name: &str) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, check_single_name(name)?)?)
    }

    /// Syncs the whole file system in one call: a disk needs minutes to sync ten thousand files one
    /// by one. Since Linux 5.8 the call reports writeback errors.
    #[cfg(target_os = "linux")]
    fn sync_tree(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync_tree(&self) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "trees can be installed on Linux only"))
    }
}

/// Refuses a text that is not a single name, such as a path with a slash, or `..`.
fn check_single_name(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a single file name"));
    }
    Ok(name)
}

/// The open lock file. Dropping it releases the lock.
struct LockFile(File);

impl Drop for LockFile {
    fn drop(&mut self) {
        // Closing the file is not enough: a child process that is starting at this moment has a
        // copy of the descriptor until `exec`.
        self.0.unlock().ok();
    }
}
