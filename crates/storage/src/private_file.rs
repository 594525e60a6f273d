//! New files, and files that only their owner may read.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::error::StorageError;
use crate::mode::Mode;
use crate::storage::Storage;

/// Why a file was not written anew, or is not private.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Something would be overwritten.
    #[error("{} exists already, and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Others may read the file.
    #[error("{} can be read by others (mode {mode:03o}): run chmod 600 on it, and consider whether somebody has", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Writes a file that must not be there yet.
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

/// Refuses a file that anybody but its owner may read or write.
pub fn check_private(path: &Path) -> Result<(), PrivateFileError> {
    let metadata = fs::metadata(path).map_err(StorageError::at(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PrivateFileError::Exposed { path: path.to_owned(), mode });
    }
    Ok(())
}
