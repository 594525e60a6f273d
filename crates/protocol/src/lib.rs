//! The formats and rules of the protocol, without I/O: notes, proofs, rounds, and the decision
//! whether a release may install.
//!
//! The functions take bytes and a time, and return a checked type or a refusal.
//!
//! # Verifying a proof bundle
//!
//! A [`ProofBundle`] convinces a third party without a network that the publisher signed a
//! release, that the log contains it, and that every peer confirmed it twice. The third party
//! needs the public keys of the log, the publisher and the peers, and the limits of a round.
//!
//! ```
//! # macro_rules! vector {
//! #     ($name:literal) => {
//! #         include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/", $name))
//! #     };
//! # }
//! # let log_key = vector!("keys/log.pub").trim_end();
//! # let publisher_key = vector!("keys/publisher.pub").trim_end();
//! # let alice_key = vector!("keys/alice.pub").trim_end();
//! # let bela_key = vector!("keys/bela.pub").trim_end();
//! # let text = vector!("proof-bundles/valid/two-peers-two-rounds.bundle");
//! use unanimity_protocol::decision::admission::RoundLimits;
//! use unanimity_protocol::{Log, Peer, PeerSet, Policy, ProofBundle};
//!
//! let log = Log { origin: "example.org/log".parse()?, key: log_key.parse()? };
//! let publishers = vec![publisher_key.parse()?];
//! let policy = Policy::new("hello".parse()?, "stable".parse()?, log, publishers, 1)?;
//! let (name, key) = ("alice".parse()?, alice_key.parse()?);
//! let alice = Peer { name, operator: "alice".parse()?, key };
//! let (name, key) = ("bela".parse()?, bela_key.parse()?);
//! let bela = Peer { name, operator: "bela".parse()?, key };
//! let peers = PeerSet::new(vec![alice, bela], 2)?;
//!
//! let confirmed = ProofBundle::parse(text)?.verify(&policy, &peers, &RoundLimits::default())?;
//! assert_eq!(confirmed.manifest().label(), "1-1.0.0");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Facts
//!
//! Nothing in this crate reads a clock, a file, a socket or a random number.
//!
//! A value of [`TreeHead`], [`CosignedHead`], [`Evidence`], [`SignedRelease`], [`LoggedRelease`] or
//! [`ConfirmedRelease`] proves a check: only functions that make the check construct it.
//! [`CosignedHead::sign`] is the exception: its caller must make the check before the call.
//!
//! Reading order: [`key`], [`note`], [`tree`], [`checkpoint`], [`cosigned_head`], [`consistency`],
//! [`round`], [`decision`], [`manifest`], [`withdrawal`], [`catalog`], [`pipeline`],
//! [`proof_bundle`].

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
pub use checkpoint::{Checkpoint, Log, Origin, TreeHead};
pub use consistency::ConsistentHeads;
pub use cosigned_head::CosignedHead;
pub use evidence::Evidence;
pub use hash::Hash;
pub use key::{CosignatureSigningKey, CosignatureVerifyingKey, NoteSigningKey, NoteVerifyingKey};
pub use log_mismatch::LogMismatch;
pub use manifest::Manifest;
pub use name::Name;
pub use note::Note;
pub use peer_failure::PeerFailure;
pub use peers::{Peer, PeerSet};
pub use pipeline::{ConfirmedRelease, LogEntry, LoggedRelease, SignedRelease};
pub use policy::Policy;
pub use proof_bundle::ProofBundle;
pub use public_key::PublicKeyBytes;
pub use refusal::Refusal;
pub use round::Round;
pub use signature_cache::SignatureCache;
pub use statement::Statement;
pub use tile::Tile;
pub use time::Timestamp;
pub use tlog_proof::TlogProof;
pub use withdrawal::Withdrawal;
