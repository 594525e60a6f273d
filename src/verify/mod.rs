//! What is true, decided without asking anybody: bytes and a time go in, a
//! checked type or a refusal comes out.
//!
//! Nothing here reads a clock, a file, a socket or a random number, and nothing
//! here imports another room of this crate. A type whose name is a fact
//! ([`Head`], [`View`], [`Evidence`], [`Signed`], [`Logged`], [`Agreed`]) can only
//! be made by the function that checks the fact, so to hold one is to have
//! checked it.
//!
//! Reading order: [`key`], [`note`], [`tree`], [`checkpoint`], [`view`],
//! [`join`], [`roll`], [`manifest`], [`withdrawal`], [`catalog`], [`stage`], [`bundle`].

pub mod bundle;
pub mod catalog;
pub mod checkpoint;
pub mod evidence;
pub mod hash;
pub mod join;
pub mod key;
mod known;
pub mod manifest;
pub mod name;
pub mod note;
pub mod proof;
pub mod refusal;
pub mod roll;
pub mod stage;
pub mod statement;
mod text;
pub mod tile;
pub mod time;
pub mod tree;
pub mod view;
pub mod withdrawal;

pub use bundle::Bundle;
pub use catalog::Catalog;
pub use checkpoint::{Checkpoint, Head, Log, Origin};
pub use evidence::Evidence;
pub use hash::Hash;
pub use join::Chain;
pub use key::{CosignerKey, CosignerSecret, NoteKey, NoteSecret, RawKey};
pub use known::Known;
pub use manifest::Manifest;
pub use name::Name;
pub use note::Note;
pub use proof::TlogProof;
pub use refusal::Refusal;
pub use roll::{Peer, PeerSet, Roll, Silence};
pub use stage::{Agreed, Fetched, Logged, Policy, Signed};
pub use statement::Statement;
pub use tile::Tile;
pub use time::Timestamp;
pub use view::View;
pub use withdrawal::Withdrawal;
