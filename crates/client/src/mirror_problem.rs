//! Refusals of what mirrors serve: an old log, or entries that are not the log's.

use unanimity_protocol::TreeHead;
use unanimity_report::{Classify, Condition, Exit};

/// Why the client refuses what mirrors, or other hosts of entries, serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorProblem {
    /// Even the newest mirror shows less of the log than the trusted head.
    #[error(
        "rollback: {mirror} shows a log of size {shown}, but the trusted head has size {known}"
    )]
    Rollback {
        /// The newest mirror.
        mirror: String,
        /// How many entries it shows.
        shown: u64,
        /// How many entries are below the trusted head.
        known: u64,
    },
    /// Every mirror lacks entries that peers show.
    #[error("stale: {mirror} shows a log of size {shown}, but peers show size {known}")]
    Stale {
        /// The newest mirror.
        mirror: String,
        /// How many entries it shows.
        shown: u64,
        /// How many entries the peers show.
        known: u64,
    },
    /// The served entries are not those below the log's head.
    #[error("not logged: {served} ({head})")]
    OtherEntries {
        /// A sentence that names the mirror or peer and the entries.
        served: String,
        /// The log's head.
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
