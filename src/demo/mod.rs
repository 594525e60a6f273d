//! A whole circle in one process: a publisher, a log, five peers and a client, over streams in
//! memory and files in a directory, with a clock that the caller moves.
//!
//! Everything inside is the code that ships. `unanimity demo` tells the story with it, and the
//! tests make their claims with it.

pub mod attacks;
pub mod story;
pub mod world;

pub use world::World;
