//! Tier 1: the client and the peer that ship, in virtual time.
//!
//! Every node has files of its own, with nothing in them that a real one would not have. Only the
//! clock, the byte streams, the mirrors and the disk are played.

mod adversaries;
mod clock;
mod crash_injector;
mod delayed_stream;
mod honest_peer;
mod logs;
mod network;
mod node;
mod peer_process;
mod run;
mod tor;
mod world;

pub use run::{FullRunError, run};
