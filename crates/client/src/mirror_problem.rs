//! What the mirrors show that must not be believed.

use unanimity_protocol::TreeHead;
use unanimity_report::{Classify, Condition, Exit};

/// What the mirrors, or those that serve the log's entries, show that must not be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorProblem {
    /// The newest of the mirrors shows less of the log than the client has verified before.
    #[error("rollback: {mirror} shows a log of size {shown}, and size {known} was verified before")]
    Rollback {
        /// The mirror.
        mirror: String,
        /// How many entries it shows.
        shown: u64,
        /// How many entries the client knows of.
        known: u64,
    },
    /// Every mirror hides entries that others have verified.
    #[error("stale: {mirror} shows a log of size {shown}, and others have verified size {known}")]
    Stale {
        /// The newest of the mirrors.
        mirror: String,
        /// How many entries it shows.
        shown: u64,
        /// How many entries there are.
        known: u64,
    },
    /// What was served as the log's entries is something else.
    #[error("not logged: {served} ({head})")]
    OtherEntries {
        /// The mirror or peer that served them, in a sentence.
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
            // Other mirrors may show more: it is this one that is behind.
            MirrorProblem::Rollback { .. } => Condition::Stale,
            _ => self.exit().condition(),
        }
    }
}
