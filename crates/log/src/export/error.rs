//! Errors of exporting a log.

use std::path::PathBuf;

use unanimity_protocol::Evidence;
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::pending::PENDING;

/// Why a log was not exported to a site.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be read or written, or contradicts the log's head.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another process holds the lock of the site.
    #[error("another process is exporting to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The directory has no checkpoint, so it is not a log.
    #[error("there is no checkpoint in {}", .0.display())]
    NoLog(PathBuf),
    /// The log's checkpoint does not verify with the log's key.
    #[error("{} does not open with this key", path.display())]
    Checkpoint {
        /// The log's checkpoint.
        path: PathBuf,
        /// Why the checkpoint does not verify.
        source: CheckpointError,
    },
    /// The content of an artifact's file does not have the digest that is the file's name.
    #[error("{} does not have the SHA-256 in its name: replace it by the right file, or remove it", .0.display())]
    ArtifactMismatch(PathBuf),
    /// The directories of log and site are equal, or one contains the other. A log's directory has
    /// files that must not be served.
    #[error("{} and the log in {} overlap: choose a separate directory for the site", site.display(), log.display())]
    OverlappingDirectories {
        /// The site's directory.
        site: PathBuf,
        /// The log's directory.
        log: PathBuf,
    },
    /// The site's directory is the directory of a log to which a log writer appends.
    #[error("{} is the directory of a log that is appended to (it has {PENDING}): choose another one for the site", .0.display())]
    IsLog(PathBuf),
    /// The site's directory has files and no checkpoint, so it is not a site.
    #[error("{} has files in it and no checkpoint: choose an empty directory for the site", .0.display())]
    Occupied(PathBuf),
    /// The site has another log, or this log under another key.
    #[error("{} is not of this log: choose another directory for the site", path.display())]
    OtherLog {
        /// The site's checkpoint.
        path: PathBuf,
        /// Why the checkpoint does not verify.
        source: CheckpointError,
    },
    /// The site is ahead of the log: the log's directory is a restored backup, or an old copy.
    #[error("{} is at size {size}, and the log in {} only at {held}: a site never goes back. Export from the log that is ahead, or restore this one from the site", site.display(), log.display())]
    Rollback {
        /// The site's directory.
        site: PathBuf,
        /// The size of the site's head.
        size: u64,
        /// The log's directory.
        log: PathBuf,
        /// The size of the log's head.
        held: u64,
    },
    /// The log's key has signed two tree heads that are not consistent.
    #[error("{} and {} are two tree heads that are not consistent, both signed by the log's key: evidence {}. Keep both directories, append to neither, and tell the clients and witnesses of the log", site.display(), log.display(), evidence.id())]
    Fork {
        /// The site's checkpoint.
        site: PathBuf,
        /// The log's checkpoint.
        log: PathBuf,
        /// The proof of the fork.
        evidence: Box<Evidence>,
    },
}

impl Classify for ExportError {
    fn exit(&self) -> Exit {
        match self {
            ExportError::Disk(_)
            | ExportError::Busy(_)
            | ExportError::NoLog(_)
            | ExportError::Occupied(_) => Exit::Disk,
            ExportError::Checkpoint { .. } | ExportError::OtherLog { .. } => Exit::BadSignature,
            ExportError::ArtifactMismatch(_) => Exit::BadArtifact,
            ExportError::OverlappingDirectories { .. } | ExportError::IsLog(_) => Exit::Usage,
            ExportError::Rollback { .. } => Exit::Rollback,
            ExportError::Fork { .. } => Exit::Fork,
        }
    }
}
