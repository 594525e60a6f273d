//! The reasons to refuse mirrors: they serve an old log, or entries that are not the log's.

use unanimity_protocol::TreeHead;
use unanimity_report::{Classify, Condition, Exit};

/// The reason why the client refuses the files of its mirrors, or of other hosts of entries.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorProblem {
    /// Even the newest mirror shows less of the log than the trusted head.
    #[error(
        "rollback: {mirror} shows a log of size {shown}, but the trusted head has size {known}"
    )]
    Rollback {
        /// The newest mirror.
        mirror: String,
        /// The size of the log that this mirror shows.
        shown: u64,
        /// The size of the trusted head.
        known: u64,
    },
    /// Every mirror lacks entries that peers show.
    #[error("stale: {mirror} shows a log of size {shown}, but peers show size {known}")]
    Stale {
        /// The newest mirror.
        mirror: String,
        /// The size of the log that this mirror shows.
        shown: u64,
        /// The size of the head that the client chose, which is larger than every mirror's head.
        known: u64,
    },
    /// A host serves entries that do not hash to the root of the log's head.
    #[error("not logged: {served} ({head})")]
    OtherEntries {
        /// A description that names the mirror or peer, and the entries.
        served: String,
        /// The head to which the entries should belong.
        head: TreeHead,
    },
}

impl Classify for MirrorProblem {
    fn exit(&self) -> Exit {
        match self {
            MirrorProblem::Rollback { .. } => Exit::Rollback,
            MirrorProblem::Stale { .. } => Exit::Stale,
            MirrorProblem::OtherEntries { .. } => Exit::NotLogged,
        }
    }

    fn condition(&self) -> Condition {
        match self {
            // The mirrors are behind. The log itself need not have been rolled back.
            MirrorProblem::Rollback { .. } => Condition::Stale,
            _ => self.exit().condition(),
        }
    }
}
