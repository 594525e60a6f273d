//! What `unanimity` verifies: bytes and a time go in, a checked type or a refusal comes out.
//!
//! Nothing in this crate reads a clock, a file, a socket or a random number. A type whose name is
//! a fact ([`Head`], [`View`], [`Evidence`], [`Signed`], [`Logged`], [`Agreed`]) can only be made
//! by the function that checks the fact, so to hold one is to have checked it.
//!
//! Reading order: [`key`], [`note`], [`tree`], [`checkpoint`], [`cosigned_head`], [`consistency`],
//! [`round`], [`decision`], [`manifest`], [`withdrawal`], [`catalog`], [`pipeline`], [`proof_bundle`].

mod bundle_fault;
pub mod catalog;
pub mod checkpoint;
pub mod consistency;
pub mod cosigned_head;
pub mod decision;
mod encoding;
pub mod entry_bundle;
pub mod evidence;
pub mod hash;
pub mod key;
mod line_reader;
pub mod log_mismatch;
pub mod log_path;
pub mod manifest;
pub mod name;
pub mod note;
pub mod peer_failure;
pub mod peers;
pub mod pipeline;
pub mod policy;
pub mod proof_bundle;
mod public_key;
pub mod refusal;
pub mod round;
mod signature_cache;
pub mod statement;
pub mod subject;
pub mod tile;
pub mod time;
pub mod tlog_proof;
pub mod tree;
pub mod withdrawal;

pub use bundle_fault::BundleFault;
pub use catalog::Catalog;
pub use checkpoint::{Checkpoint, Head, Log, Origin};
pub use consistency::Chain;
pub use cosigned_head::View;
pub use evidence::Evidence;
pub use hash::Hash;
pub use key::{CosignerKey, CosignerSecret, NoteKey, NoteSecret};
pub use log_mismatch::LogMismatch;
pub use manifest::Manifest;
pub use name::Name;
pub use note::Note;
pub use peer_failure::Silence;
pub use peers::{Peer, PeerSet};
pub use pipeline::{Agreed, Fetched, Logged, Signed};
pub use policy::Policy;
pub use proof_bundle::Bundle;
pub use public_key::RawKey;
pub use refusal::Refusal;
pub use round::Roll;
pub use signature_cache::Known;
pub use statement::Statement;
pub use tile::Tile;
pub use time::Timestamp;
pub use tlog_proof::TlogProof;
pub use withdrawal::Withdrawal;
