//! Errors of Tor and of onion services.

use unanimity_report::{Classify, Exit};

/// Why Tor cannot be used. The texts cannot be mistaken for the disagreement of a peer.
#[derive(Debug, thiserror::Error)]
pub enum TorError {
    /// The settings do not make a valid configuration of arti.
    #[error("[tor] {0}")]
    Settings(String),
    /// The private network names an address that is not on loopback.
    #[error("[tor] the private network names {0}, which is not on loopback: nothing was started")]
    NotPrivate(String),
    /// arti cannot open its state: a lock, permissions or keys.
    #[error("Tor cannot start: {0}")]
    Start(String),
    /// The client cannot connect to the network.
    #[error("Tor cannot be reached (bootstrap): {0}")]
    Bootstrap(String),
    /// An onion service of this node cannot start.
    #[error("this node's onion service cannot start: {0}")]
    Service(String),
}

impl Classify for TorError {
    fn exit(&self) -> Exit {
        match self {
            TorError::Settings(_) | TorError::NotPrivate(_) => Exit::Configuration,
            TorError::Bootstrap(_) => Exit::Network,
            TorError::Start(_) | TorError::Service(_) => Exit::Failed,
        }
    }
}
