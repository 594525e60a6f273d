//! What a node remembers of the log, its peers and its mirrors, and its own keys.
//!
//! What was installed is in the journal of the install root, which the crate `unanimity-install` keeps.
//!
//! Everything signed is stored as the note it came as and opened again when it is read,
//! so a damaged or edited file is an error and never a fact. The client's head and the peer
//! role's are two things, in two places.

mod client_store;
mod error;
mod evidence_store;
mod identity;
mod log_forked;
mod mirror_backoff;

pub use client_store::{ClientState, ClientStore};
pub use error::StoreError;
pub use evidence_store::EvidenceStore;
pub use identity::{Identity, IdentityError};
pub use log_forked::LogForked;
pub use mirror_backoff::{MirrorBackoff, MirrorFailures};
