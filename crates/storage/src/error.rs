//! What the disk can refuse.

use std::io;
use std::path::{Path, PathBuf};

/// Something on the disk could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system said no.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, and it is not what this program once wrote.
    #[error("{} is damaged: {remedy}", path.display())]
    Corrupt {
        /// What.
        path: PathBuf,
        /// What a person can do.
        remedy: &'static str,
    },
}

impl StorageError {
    /// Names the path that an error happened at.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> StorageError + use<> {
        let path = path.to_owned();
        move |source| StorageError::Io { path, source }
    }
}
