//! The requests of commands to a node, answered by its daemon or by the command itself.

use serde::{Deserialize, Serialize};
use unanimity_client::CycleMode;

use super::peers;

/// An operator's request to a node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// A request for cycles, from `check`, `update` or `download`.
    Cycle {
        /// How far the cycles may go towards an installation.
        mode: CycleMode,
        /// The paths of the configurations of further products, as bytes: a path need not be text.
        products: Vec<Vec<u8>>,
    },
    /// A request for the node's status, from `status`.
    Status,
    /// A request to show, test or change the peer list, from a verb of `peers`.
    Peers(peers::PeersCommand),
}

/// The line that a command sends to the daemon, as JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DaemonRequest {
    /// The path of the command's configuration. The daemon must run with the same one.
    pub(super) config: Vec<u8>,
    pub(super) request: Request,
    /// Whether progress lines may precede the answer.
    #[serde(default)]
    pub(super) progress: bool,
}
