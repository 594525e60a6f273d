//! What the disk can refuse.

use std::io;
use std::path::{Path, PathBuf};

/// Something on the disk could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The operating system said no.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there, and it is not what this program once wrote.
    #[error("{} is damaged: {mend}", path.display())]
    Damaged {
        /// What.
        path: PathBuf,
        /// What a person can do.
        mend: &'static str,
    },
}

impl DiskError {
    /// Names the path that an error happened at.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> DiskError + use<> {
        let path = path.to_owned();
        move |source| DiskError::Io { path, source }
    }
}
