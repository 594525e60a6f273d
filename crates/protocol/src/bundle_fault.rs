//! The faults for which a well-formed proof bundle does not prove its release.

use crate::checkpoint::CheckpointError;
use crate::name::Name;
use crate::note::NoteError;
use crate::time::Timestamp;

/// The reason why a parsed proof bundle does not prove its release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// The bundle's head is not a checkpoint of the log.
    #[error("{0}")]
    Head(CheckpointError),
    /// The checkpoint of a cosigned head is not a note.
    #[error("{0}")]
    Note(NoteError),
    /// A peer's cosigned head does not verify.
    #[error("the cosigned head of {peer}: {why}")]
    CosignedHead {
        /// The peer's name.
        peer: Name,
        /// The reason why the cosigned head does not verify.
        why: CheckpointError,
    },
    /// The inclusion proof of a peer's cosigned head does not show that the head contains the
    /// release.
    #[error("the cosigned head of {0} does not include the release")]
    NotIncluded(Name),
    /// The bundle has no path that proves a cosigned head to be a prefix of the bundle's head.
    #[error("a cosigned head is not proven to be a prefix of the bundle's head")]
    Unproven,
    /// A peer has more than one cosigned head in a round.
    #[error("two heads of one peer in one round")]
    DuplicateCosigner,
    /// The cosignatures of one round are more than 10 minutes apart.
    #[error("the cosigned heads of one round are more than 10 minutes apart")]
    SpreadTooWide,
    /// The latest round, or a cosignature in it, is more than 60 s ahead of the installer's clock.
    #[error("it is from the future: cosigned at {0} (check the clock)")]
    Future(Timestamp),
}
