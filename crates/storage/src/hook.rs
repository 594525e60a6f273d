//! The steps of a durable write, and the type of the hook that sees each step first.

use std::io;
use std::path::PathBuf;

/// One change to the file system, shortly before it is made. The path is the final one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// Create a directory.
    MakeDir(PathBuf),
    /// Create a file under its temporary name.
    Create(PathBuf),
    /// Write to a file under its temporary name.
    Write(PathBuf),
    /// Make the content of a file durable.
    SyncFile(PathBuf),
    /// Rename a file or directory to this path. An existing file is replaced.
    Rename(PathBuf),
    /// Make the names in a directory durable.
    SyncDir(PathBuf),
    /// Make a directory and its whole content durable.
    SyncTree(PathBuf),
    /// Create a symbolic link.
    Symlink(PathBuf),
    /// Remove a file, or a directory with its content.
    Remove(PathBuf),
}

pub(crate) type WriteHook = dyn Fn(&WriteStep) -> io::Result<()> + Send + Sync;
