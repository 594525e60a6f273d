//! Why a peer's answer does not count.

use crate::checkpoint::CheckpointError;
use crate::evidence::EvidenceError;
use crate::time::Timestamp;

/// Why a peer's answer does not count. None of these is consent, and none is disagreement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFailure {
    /// No answer was recorded.
    #[error("was not asked")]
    NotAsked,
    /// No connection.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// Connected, and the connection ended before a whole answer.
    #[error("the connection broke before a whole answer: {0}")]
    Disconnected(String),
    /// Connected, and no whole answer in time.
    #[error("no answer within the deadline")]
    TimedOut,
    /// Something other than an answer.
    #[error("answered with something that is no answer: {0}")]
    Malformed(String),
    /// The view does not open.
    #[error("its view does not verify: {0}")]
    Invalid(#[from] CheckpointError),
    /// Sent evidence that proves nothing.
    #[error("sent evidence that proves nothing: {0}")]
    BadEvidence(#[from] EvidenceError),
    /// Says itself that its mirrors show it nothing fresh.
    #[error("blind since {0}: its own mirrors have shown it nothing")]
    NoFreshHead(Timestamp),
    /// Does not follow our log.
    #[error("does not follow this log")]
    OtherLog,
    /// Cosigned too long ago: a replay, or a clock that is behind.
    #[error("its view is old: cosigned at {0}")]
    TooOld(Timestamp),
    /// Cosigned in our future: one of the two clocks is wrong.
    #[error("its view is from the future: cosigned at {0} (check both clocks)")]
    InFuture(Timestamp),
    /// A smaller head than it cosigned before.
    #[error("regressed: shows size {size} after it had shown size {before}")]
    Regressed {
        /// What it shows now.
        size: u64,
        /// The largest it showed before.
        before: u64,
    },
}
