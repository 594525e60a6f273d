//! The full tier: the shipped client and witness of every node, in virtual time.
//!
//! Every node has its own files, in the formats of a real node. Only the clock, the byte streams,
//! the mirrors and the file system are simulated.

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
