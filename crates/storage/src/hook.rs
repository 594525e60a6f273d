//! The steps on the disk, and the hook that sees each of them first.

use std::io;
use std::path::PathBuf;

/// One step on the disk, about to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// Make a directory.
    MakeDir(PathBuf),
    /// Create a file under its temporary name.
    Create(PathBuf),
    /// Write its bytes.
    Write(PathBuf),
    /// Sync its bytes.
    SyncFile(PathBuf),
    /// Give a file or directory its name, replacing what was there.
    Rename(PathBuf),
    /// Sync the names in a directory.
    SyncDir(PathBuf),
    /// Sync a directory with all that is in it.
    SyncTree(PathBuf),
    /// Make a symbolic link.
    Symlink(PathBuf),
    /// Remove a file, or a directory with all that is in it.
    Remove(PathBuf),
}

pub(crate) type WriteHook = dyn Fn(&WriteStep) -> io::Result<()> + Send + Sync;
