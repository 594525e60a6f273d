//! A node's state as a peer and as a client.

use super::active_rounds::ActiveRoundId;
use super::kept_rounds::KeptRounds;
use super::packed_head::PackedHead;

/// The state of a node as a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedPeer {
    /// The largest head that the mirror showed.
    pub(super) head: PackedHead,
    /// When the mirror last showed a head at least as large as `head`, in seconds.
    pub(super) seen_at: u32,
    pub(super) polls: u32,
    /// Whether the mirror has shown a head at least as large as `head` since the node started.
    pub(super) is_fresh: bool,
    /// Whether the node's witness or client has stored evidence of a fork.
    pub(super) latched: bool,
}

impl Default for SimulatedPeer {
    fn default() -> Self {
        SimulatedPeer {
            head: PackedHead::NONE,
            seen_at: 0,
            polls: 0,
            is_fresh: false,
            latched: false,
        }
    }
}

/// The state of a node as a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedClient {
    /// The number of cycles that began or were skipped.
    pub(super) cycles: u32,
    /// The trusted head; [`PackedHead::NONE`] at first.
    pub(super) trusted: PackedHead,
    /// The installed sequence; at first 0.
    pub(super) installed_sequence: u32,
    /// Whether the client has read the withdrawal of the adversary's release.
    pub(super) knows_withdrawal: bool,
    /// The rounds from which pending releases settle, earliest first.
    pub(super) kept_rounds: KeptRounds,
    /// The round in progress.
    pub(super) active_round: Option<ActiveRoundId>,
}
