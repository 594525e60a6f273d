//! Mismatches between the entries of a spool, its proof, and the installer's own state.

use unanimity_protocol::TreeHead;
use unanimity_report::{Classify, Exit};

/// Why the entries of a spool do not lead from the installer's head to the head of the spool's
/// proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayMismatch {
    /// The installer knows a longer log than the one that every peer of the proof confirmed.
    #[error(
        "not logged: the peers of the proof confirmed a log of size {proven}, but the installer already knows size {known}"
    )]
    Behind {
        /// Size of the smallest head that a peer of the proof confirmed.
        proven: u64,
        /// Size of the installer's head.
        known: u64,
    },
    /// The entries do not hash to the proof's head.
    #[error(
        "not logged: the {held} entries that were read before, followed by the spool's entries, do not hash to the proof's head ({head})"
    )]
    Entries {
        /// Number of entries that the installer has read before.
        held: u64,
        /// Head of the proof.
        head: TreeHead,
    },
    /// The proof's head does not extend a head that the installer trusts.
    #[error(
        "not logged: the proof's head ({head}) does not extend a head that is trusted here ({trusted})"
    )]
    OtherLog {
        /// Head of the proof.
        head: Box<TreeHead>,
        /// The trusted head.
        trusted: Box<TreeHead>,
    },
    /// The entries do not pass the smallest head that a peer confirmed.
    #[error("not logged: the spool's entries do not pass the head that every peer confirmed")]
    NoPeerHead,
    /// The log has the release, but the log's entries do not make the release a candidate.
    #[error("not logged: according to the log's entries, release {0} is not one to install here")]
    NotOffered(String),
}

impl Classify for ReplayMismatch {
    fn exit(&self) -> Exit {
        Exit::NotLogged
    }
}
