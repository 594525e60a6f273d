//! Why what is remembered cannot be used.

use std::path::PathBuf;

use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

/// Why what is remembered cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or a damaged file.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another process is at work on it.
    #[error("another unanimity is using {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The state is of another log than the one configured.
    #[error("{} remembers another log than the one configured: choose another state directory for this log", .0.display())]
    OtherLog(PathBuf),
    /// There is no such evidence.
    #[error("no evidence {0:?} against this log is stored here")]
    NoEvidence(String),
    /// Somebody else moved the head in the meantime.
    #[error("the stored head is no longer the one that this decision was made on")]
    HeadMoved,
}

impl Classify for StoreError {
    fn exit(&self) -> Exit {
        match self {
            StoreError::NoEvidence(_) => Exit::Usage,
            StoreError::OtherLog(_) => Exit::Configuration,
            StoreError::Storage(_) | StoreError::Busy(_) | StoreError::HeadMoved => Exit::Disk,
        }
    }
}
