//! The reasons why a peer's answer does not count.

use crate::checkpoint::CheckpointError;
use crate::evidence::EvidenceError;
use crate::time::Timestamp;

/// The reason why a peer's answer does not count. No failure confirms or contradicts a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// The peer was not asked in the round, or the answer under its key is of another cosigner.
    #[error("was not asked")]
    NotAsked,
    /// The client could not connect to the peer.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The connection ended before the client had received a whole answer.
    #[error("the connection broke before a whole answer: {0}")]
    Disconnected(String),
    /// The peer sent no whole answer before the deadline.
    #[error("no answer within the deadline")]
    TimedOut,
    /// The peer sent bytes that are not an answer.
    #[error("sent a malformed answer: {0}")]
    Malformed(String),
    /// The peer's cosigned head does not verify.
    #[error("its head does not verify: {0}")]
    Invalid(#[from] CheckpointError),
    /// The peer sent evidence that proves nothing.
    #[error("sent evidence that proves nothing: {0}")]
    BadEvidence(#[from] EvidenceError),
    /// The peer answers that its own mirrors have served it no fresh head since this time.
    #[error("no fresh head since {0}: its own mirrors serve it none")]
    NoFreshHead(Timestamp),
    /// The peer follows another log.
    #[error("does not follow this log")]
    OtherLog,
    /// The cosignature is older than `max_cosignature_age`: the answer is a replay, or the peer's
    /// clock is behind.
    #[error("its head is too old: cosigned at {0}")]
    TooOld(Timestamp),
    /// The cosignature is later than the client's clock allows: one of the two clocks is wrong.
    #[error("its head is from the future: cosigned at {0} (check both clocks)")]
    InFuture(Timestamp),
    /// The peer's head is smaller than a head that the peer cosigned before.
    #[error("regressed: shows size {size} after it had shown size {before}")]
    Regressed {
        /// The size of the peer's head now.
        size: u64,
        /// The largest size that the peer had cosigned before.
        before: u64,
    },
}
