//! Bounded reads of regular files.

use std::fs::File;
use std::io::Read;
use std::io::{self};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::StorageError;

/// Reads a regular file of at most `limit` bytes. `None` if it does not exist.
///
/// All other errors are those of [`read_at_most`].
pub fn read(path: &Path, limit: usize) -> Result<Option<Vec<u8>>, StorageError> {
    none_if_not_found(read_at_most(path, limit))
}

pub(crate) fn none_if_not_found(
    read: Result<Vec<u8>, StorageError>,
) -> Result<Option<Vec<u8>>, StorageError> {
    match read {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reads a regular file of at most `limit` bytes. Safe for a file that an attacker has made: the
/// call neither blocks on a pipe nor reads without end.
///
/// A larger file is an error of [`io::ErrorKind::FileTooLarge`], and a directory, device or pipe is
/// one of [`io::ErrorKind::InvalidInput`].
pub fn read_at_most(path: &Path, limit: usize) -> Result<Vec<u8>, StorageError> {
    open_regular_file(path)
        .and_then(|file| read_bounded(file, limit))
        .map_err(StorageError::at(path))
}

pub(crate) fn read_bounded(file: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        let message = format!("the file is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Opens a regular file for reading. Fails with [`io::ErrorKind::InvalidInput`] for every other
/// kind of file, because reading a pipe could block for ever.
pub fn open_regular_file(path: &Path) -> io::Result<File> {
    // Without NONBLOCK, opening a pipe would wait for its writer.
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}
