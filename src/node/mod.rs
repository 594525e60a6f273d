//! A node at work: its configuration, its witness role, its peers and its cycles.

mod mirrors;
pub(crate) mod runtime;

pub use mirrors::open_mirrors;
pub use runtime::{NodeError, NodeRuntime, PeerTest, ServiceAddresses, WitnessRole};
