//! The trait that gives each error an exit code and a condition. Each crate implements [`Classify`]
//! beside its error types.

use unanimity_protocol::Refusal;
use unanimity_storage::{PrivateFileError, StorageError};

use crate::condition::Condition;
use crate::outcome::Exit;

/// A result, such as an error, that has a row in the table of outcomes.
pub trait Classify {
    /// The exit code of a command that ends with this result.
    fn exit(&self) -> Exit;

    /// The condition of a node whose last cycle ended with this result. By default, the condition
    /// of the exit code.
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
