//! A whole circle: a publisher, a log, five peers and a client.
//!
//! The [`Stage`] is what it is played with, keys and files; a [`Cast`] are those who act there, and
//! the attacks are played with any of them. [`World`] has everybody in one process, over streams
//! in memory, with a clock that the caller moves. `onion::Daemons` are a process each, over a
//! private Tor network on this machine. Everybody inside is the code that ships.
//!
//! `unanimity demo` tells the story with either, and the tests make their claims with them.

pub mod apart;
pub mod attacks;
pub mod cast;
pub mod circle;
pub mod folder;
#[cfg(feature = "tor")]
pub mod onion;
pub mod stage;
pub mod story;
mod told;
#[cfg(feature = "tor")]
pub mod tornet;
pub mod world;

pub use cast::Cast;
pub use circle::{PEER_NAMES, PEERS};
pub use stage::{Draft, Stage, copy_tree};
pub use world::{Reads, World};

/// What can go wrong while a circle is built or played: never part of what it shows.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;
