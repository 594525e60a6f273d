//! Why a log was not exported.

use std::path::PathBuf;

use unanimity_protocol::Evidence;
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::pending::PENDING;

/// Why a log was not published.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file could not be read or written, or is not what the log commits to.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another process is publishing there.
    #[error("another process is publishing to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// There is no log to publish.
    #[error("there is no checkpoint in {}", .0.display())]
    NoLog(PathBuf),
    /// The log's checkpoint is not signed by its key.
    #[error("{} does not open with this key", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// An artifact has other bytes than its name says.
    #[error("{} does not have the bytes that it is named by: replace it by the right file, or remove it", .0.display())]
    ArtifactMismatch(PathBuf),
    /// The two directories must be apart: a log's has files that nobody should serve.
    #[error("{} and the log in {} are not apart: choose a directory of its own for the site", site.display(), log.display())]
    OverlappingDirectories {
        /// The site's directory.
        site: PathBuf,
        /// The log's directory.
        log: PathBuf,
    },
    /// There a log is written.
    #[error("{} is the directory of a log that is appended to (it has {PENDING}): choose another one for the site", .0.display())]
    IsLog(PathBuf),
    /// Files that are no site.
    #[error("{} has files in it and no checkpoint: choose an empty directory for the site", .0.display())]
    Occupied(PathBuf),
    /// A site of some other log, or of the same under another key.
    #[error("{} is not of this log: choose another directory for the site", path.display())]
    OtherLog {
        /// The site's checkpoint.
        path: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// The site has more than the log: a backup was restored, or this is an old copy.
    #[error("{} is at size {size}, and the log in {} only at {held}: a site never goes back. Publish from the log that is ahead, or restore this one from the site", site.display(), log.display())]
    Rollback {
        /// The site's directory.
        site: PathBuf,
        /// Its size.
        size: u64,
        /// The log's directory.
        log: PathBuf,
        /// Its size.
        held: u64,
    },
    /// Two heads of one key that cannot both be true.
    #[error("{} and {} are two stories of one log, both signed by its key: evidence {}. Keep both directories, append to neither, and tell whoever follows the log", site.display(), log.display(), evidence.id())]
    Fork {
        /// The site's checkpoint.
        site: PathBuf,
        /// The log's checkpoint.
        log: PathBuf,
        /// What proves it.
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
