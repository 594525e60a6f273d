//! The steps of a durable write, and the type of the hook that is called before each step.

use std::io;
use std::path::PathBuf;

/// One change to the file system, as the hook sees it before the change is made.
///
/// The step of a temporary file has the path for which the temporary name was made, not the
/// temporary name itself. Only [`WriteStep::Remove`] has the actual path of the removed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteStep {
    /// Create a directory.
    MakeDir(PathBuf),
    /// Create a file: in a tree under its own name, elsewhere under its temporary name.
    Create(PathBuf),
    /// Write to a file that was created before.
    Write(PathBuf),
    /// Make the content of a file durable.
    SyncFile(PathBuf),
    /// Rename a file or directory to this path.
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
