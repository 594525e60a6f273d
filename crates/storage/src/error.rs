//! Errors of reading and writing files.

use std::io;
use std::path::{Path, PathBuf};

/// A file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system reported an error.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file's content differs from everything that this program writes.
    #[error("{} is damaged: {remedy}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// The operator's way to repair it.
        remedy: &'static str,
    },
}

impl StorageError {
    /// Adds the path to an error of the operating system, for `map_err`.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
        let path = path.to_owned();
        move |source| StorageError::Io { path, source }
    }
}
