//! What a command asks of a node: of the daemon, or of a run by itself.

use serde::{Deserialize, Serialize};
use unanimity_client::CycleMode;

use super::peers;

/// What a node is asked to do, by its operator.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// `check`, `update`, `update --stage`
    Cycle {
        /// Which of them.
        mode: CycleMode,
        /// The configurations of more products.
        products: Vec<Vec<u8>>,
    },
    /// `status`
    Status,
    /// `peers ...`
    Peers(peers::PeersCommand),
}

/// A command on its way to the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DaemonRequest {
    /// The configuration that the command was given: a path's bytes need not be text.
    pub(super) config: Vec<u8>,
    pub(super) request: Request,
    /// Whether lines that say how far it is may come before the answer.
    #[serde(default)]
    pub(super) progress: bool,
}
