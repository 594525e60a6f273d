//! The testkit's group of peers as processes over a private Tor network on loopback.
//!
//! The attacks are the testkit's.

mod onion;
mod tornet;

pub use onion::backend::Daemons;
pub use onion::mirror::OnionMirror;
pub use onion::nodes::{Nodes, SETTLE};
pub use onion::process::{Ended, Process};
pub use onion::world::tell;
pub use tornet::network::{PAUSE, TorNetwork};
pub use tornet::package::{Package, Programs};
