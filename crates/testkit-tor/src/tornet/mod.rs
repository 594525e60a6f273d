//! The private Tor network: authorities and relays on loopback.

pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod package;
