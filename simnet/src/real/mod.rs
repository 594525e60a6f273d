//! Tier 1: the client and the peer that ship, in virtual time.
//!
//! Every node has files of its own, with nothing in them that a real one would not have. Only the
//! clock, the byte streams, the mirrors and the disk are played.

mod actors;
mod clock;
mod fuse;
mod honest;
mod hub;
mod line;
mod logs;
mod node;
mod process;
mod run;
mod tor;
mod world;

pub use run::{FullRunError, run};
