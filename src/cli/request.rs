//! The requests of commands to a node, answered by its daemon or by the command itself.

use serde::{Deserialize, Serialize};
use unanimity_client::CycleMode;

use super::peers;

/// An operator's request to a node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// `check`, `update`, `download`
    Cycle {
        /// What the cycles may do.
        mode: CycleMode,
        /// The paths of the configurations of more products: a path's bytes need not be text.
        products: Vec<Vec<u8>>,
    },
    /// `status`
    Status,
    /// `peers ...`
    Peers(peers::PeersCommand),
}

/// The line that a command sends to the daemon, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DaemonRequest {
    /// The path of the command's configuration. It must be that of the daemon.
    pub(super) config: Vec<u8>,
    pub(super) request: Request,
    /// Whether progress lines may precede the answer.
    #[serde(default)]
    pub(super) progress: bool,
}
