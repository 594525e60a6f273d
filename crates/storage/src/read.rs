//! Bounded reads of plain files.

use std::fs::File;
use std::io::Read;
use std::io::{self};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::StorageError;

/// Reads a file like [`read_at_most`]; `None` if there is none.
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

/// Reads a file that somebody else may have written: not more than `limit` bytes, and plain.
pub fn read_at_most(path: &Path, limit: usize) -> Result<Vec<u8>, StorageError> {
    open_regular_file(path)
        .and_then(|file| read_bounded(file, limit))
        .map_err(StorageError::at(path))
}

pub(crate) fn read_bounded(file: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        let message = format!("more than the {limit} bytes that are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Opens a plain file and nothing else: a pipe could hold us up for ever.
pub fn open_regular_file(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its writer, so open without waiting and look first.
    let without_waiting = OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(without_waiting).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    Ok(file)
}
