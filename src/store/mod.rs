//! What a node remembers: the head it trusts, evidence, what its peers showed, and which mirrors failed.
//!
//! Everything signed is stored as the note it came as and opened again when it is read,
//! so a damaged or edited file is an error and never a fact. The client's head and the peer
//! role's are two things, in two places.

mod client;
mod evidence;
mod health;

pub use client::{ClientState, ClientStore};
pub use evidence::EvidenceStore;
pub use health::{Failures, Health};

use std::path::PathBuf;

use unanimity_storage::DiskError;

/// Why what is remembered cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, or a damaged file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Another process is at work on it.
    #[error("another unanimity is using {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The state is of another log than the one configured.
    #[error("{} remembers another log than the one configured: choose another state directory for this log", .0.display())]
    OtherLog(PathBuf),
    /// There is no such evidence.
    #[error(
        "no evidence {0:?} against this log is stored here: `unanimity evidence show` lists what there is, with --installer the installer's"
    )]
    NoEvidence(String),
    /// Somebody else moved the head in the meantime.
    #[error("the stored head is no longer the one that this decision was made on")]
    HeadMoved,
}
