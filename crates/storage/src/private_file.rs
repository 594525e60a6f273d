//! Writes of files that must not exist yet, and the check that only its owner can read a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::StorageError;
use crate::mode::Mode;
use crate::storage::Storage;

/// The reason why a new file was not written, or why a private file is refused.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// The file exists already, and is not overwritten.
    #[error("{} exists already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Other users can read, write or execute the file.
    #[error(
        "{} can be read by other users (mode {mode:03o}). Run chmod 600 on it, \
         and treat its secrets as compromised",
        path.display()
    )]
    Exposed {
        /// The exposed file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
    },
}

/// Writes a new file durably. Fails with [`PrivateFileError::Exists`] if the file exists.
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
