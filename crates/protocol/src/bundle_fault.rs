//! What a proof bundle does not prove.

use crate::checkpoint::CheckpointError;
use crate::name::Name;
use crate::note::NoteError;
use crate::time::Timestamp;

/// What a bundle that was read does not prove.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleFault {
    /// Its head is not one of the log's.
    #[error("{0}")]
    Head(CheckpointError),
    /// The checkpoint of a view is not a note.
    #[error("{0}")]
    Note(NoteError),
    /// A peer's view does not verify.
    #[error("the view of {peer}: {why}")]
    CosignedHead {
        /// The peer's name.
        peer: Name,
        /// What is wrong with the view.
        why: CheckpointError,
    },
    /// A peer's view has no proof that its head contains the release.
    #[error("the view of {0} does not include the release")]
    NotIncluded(Name),
    /// A view's head is not proven to be a prefix of the bundle's head.
    #[error("a view is not tied to the head")]
    Unproven,
    /// One peer has more than one view in a roll.
    #[error("two views of one peer in one roll")]
    DuplicateCosigner,
    /// The peers cosigned at times that one roll cannot have.
    #[error("the views of one roll are more than 10 minutes apart")]
    SpreadTooWide,
    /// A cosignature of the latest roll, or the roll itself, is later than the present.
    #[error("it is from the future: cosigned at {0} (check the clock)")]
    Future(Timestamp),
}
