//! Why Tor cannot be used.

use unanimity_report::{Classify, Exit};

/// Why Tor cannot be used, in words that never read like a peer's disagreement.
#[derive(Debug, thiserror::Error)]
pub enum TorError {
    /// The settings do not make a configuration.
    #[error("[tor] {0}")]
    Settings(String),
    /// A private network that is not private.
    #[error("[tor] the private network names {0}, which is not on loopback: nothing was started")]
    NotPrivate(String),
    /// arti refused: locks, permissions, keys.
    #[error("Tor cannot start: {0}")]
    Start(String),
    /// No view of the network.
    #[error("Tor cannot be reached (bootstrap): {0}")]
    Bootstrap(String),
    /// Our own service.
    #[error("our onion service cannot start: {0}")]
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
