//! Why the entries of a spool do not lead to its proof.

use unanimity_protocol::TreeHead;
use unanimity_report::{Classify, Exit};

/// Why the entries of a spool do not lead from what the installer knows to the spool's proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayMismatch {
    /// The installer knows a longer log than the proof is of.
    #[error(
        "not logged: the proof is of a log of size {proven}, and the installer knows one of {known}"
    )]
    Behind {
        /// What every peer of the proof confirmed.
        proven: u64,
        /// The size of the installer's head.
        known: u64,
    },
    /// The entries do not hash to the proof's head.
    #[error(
        "not logged: the spool's entries, put on the {held} that were read before, do not hash to the proof's head ({head})"
    )]
    Entries {
        /// How many entries the installer had read before.
        held: u64,
        /// The proof's head.
        head: TreeHead,
    },
    /// A head that the installer trusts is not a prefix of the proof's head.
    #[error(
        "not logged: the proof's head ({head}) did not grow out of one that is trusted here ({trusted})"
    )]
    OtherLog {
        /// The proof's head.
        head: Box<TreeHead>,
        /// The trusted head.
        trusted: Box<TreeHead>,
    },
    /// No head that a peer confirmed is among the heads that were passed.
    #[error("not logged: no peer's head was passed")]
    NoPeerHead,
    /// The log has the release, and the installer's reading of it does not offer it.
    #[error("not logged: the log does not let {0} be installed")]
    NotOffered(String),
}

impl Classify for ReplayMismatch {
    fn exit(&self) -> Exit {
        Exit::NotLogged
    }
}
