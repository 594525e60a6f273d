//! A node at work: its configuration, its witness role, its peers and its cycles.

mod mirrors;
mod pairing;
pub(crate) mod runtime;

pub use mirrors::open_mirrors;
pub use pairing::PeerTest;
pub use runtime::{NodeError, NodeRuntime, ServiceAddresses, WitnessRole};
