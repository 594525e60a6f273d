//! Errors of the stored state.

use std::path::PathBuf;

use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

/// The reason why the stored state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written, or is damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Another process holds the lock of the state directory.
    #[error("another unanimity is using {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The state belongs to another log than the configured one.
    #[error(
        "{} belongs to another log than the configured one: \
         choose another state directory for this log",
        .0.display()
    )]
    OtherLog(PathBuf),
    /// No evidence against this log is stored under this id.
    #[error("no evidence {0:?} against this log is stored here")]
    NoEvidence(String),
    /// The new trusted head is smaller than the stored one.
    #[error("the new head is smaller than the stored one, so the state was not saved")]
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
