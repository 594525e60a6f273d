//! The persistent state of a node: the trusted head, evidence, the peers' heads, failed mirrors,
//! and the node's own keys.
//!
//! Every signed value is stored as its original note and verified again when it is read. So a
//! damaged or edited file is an error. The client and the witness each keep their own head, in
//! separate files.
//!
//! The record of installed versions is the journal in the install root (crate `unanimity-install`).

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
