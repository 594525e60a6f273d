//! A whole circle in one process: a publisher, a log, five peers and a client, over streams in
//! memory and files in a directory, with a clock that the caller moves.
//!
//! Everything inside is the code that ships. `unanimity demo` tells the story with it, and the
//! tests make their claims with it.

pub mod attacks;
pub mod story;
#[cfg(feature = "tor")]
pub mod tornet;
pub mod world;

pub use world::World;

/// What can go wrong while a circle is built or played: never part of what it shows.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;
