//! Files that must be new, and files that only their owner may read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::StorageError;
use crate::mode::Mode;
use crate::storage::Storage;

/// A new file was not written, or a private file can be read by other users.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// The file exists, and would be overwritten.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Other users can read or write the file.
    #[error(
        "{} can be read by other users (mode {mode:03o}). Run chmod 600 on it, \
         and treat its secrets as compromised",
        path.display()
    )]
    Exposed {
        /// The exposed file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Writes a file durably that must not exist yet. [`PrivateFileError::Exists`] if it does.
pub fn write_new(
    path: &Path,
    bytes: &[u8],
    mode: Mode,
    disk: &Storage,
) -> Result<(), PrivateFileError> {
    disk.write_new(path, bytes, mode).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => PrivateFileError::Exists(path.to_owned()),
        _ => StorageError::at(path)(error).into(),
    })
}

/// Refuses a file that other users than its owner can read, write or execute (mode bits 077).
pub fn check_private(path: &Path) -> Result<(), PrivateFileError> {
    let metadata = fs::metadata(path).map_err(StorageError::at(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}
