//! Errors of reading and writing files.

use std::io;
use std::path::{Path, PathBuf};

/// The reason why a file or directory cannot be used.
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
    /// The file's content is not in a form that this program writes.
    #[error("{} is damaged: {remedy}", path.display())]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// The advice to the operator on how to repair the file.
        remedy: &'static str,
    },
}

impl StorageError {
    /// Returns a function that adds `path` to an error of the operating system, for `map_err`.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
        let path = path.to_owned();
        move |source| StorageError::Io { path, source }
    }
}
