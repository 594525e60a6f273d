//! Which outcome an error is: each crate says it beside its errors.

use unanimity_protocol::Refusal;
use unanimity_storage::{PrivateFileError, StorageError};

use crate::condition::Condition;
use crate::outcome::Exit;

/// An error, or another end, that has its row in the table of outcomes.
pub trait Classify {
    /// Its row.
    fn exit(&self) -> Exit;

    /// The condition of a node of which a cycle ended like this: the row's, unless it says more.
    fn condition(&self) -> Condition {
        self.exit().condition()
    }
}

impl Classify for StorageError {
    fn exit(&self) -> Exit {
        Exit::Disk
    }
}

impl Classify for PrivateFileError {
    fn exit(&self) -> Exit {
        match self {
            PrivateFileError::Disk(_) | PrivateFileError::Exists(_) => Exit::Disk,
            PrivateFileError::Exposed { .. } => Exit::Key,
        }
    }
}

impl Classify for Refusal {
    fn exit(&self) -> Exit {
        match self {
            Refusal::Fork(_) => Exit::Fork,
            Refusal::DuplicateSequence { .. } => Exit::Conflict,
            Refusal::Threshold { .. } | Refusal::BadSignature(_) => Exit::BadSignature,
            Refusal::Malformed(_) => Exit::BadInput,
            Refusal::NotLogged(_) | Refusal::OtherLog(_) => Exit::NotLogged,
            Refusal::SequenceRollback { .. } => Exit::Rollback,
            Refusal::Expired { .. } => Exit::Expired,
            Refusal::UnsupportedFormat { .. } => Exit::Outdated,
            Refusal::OtherProduct { .. } | Refusal::NoArtifactForPlatform { .. } => {
                Exit::Unsuitable
            }
            Refusal::Incomplete(_) | Refusal::RoundTooOld { .. } => Exit::Incomplete,
            Refusal::Settling { .. } => Exit::Settling,
            Refusal::Bundle(_) => Exit::BadProof,
            Refusal::Withdrawn { .. } => Exit::Withdrawn,
        }
    }
}
