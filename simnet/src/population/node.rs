//! A node's state as a peer and as a client.

use super::active_rounds::ActiveRoundId;
use super::kept_rounds::KeptRounds;
use super::packed_head::PackedHead;

/// A node as a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedPeer {
    /// The largest tree that its mirror served.
    pub(super) head: PackedHead,
    /// When the mirror last showed one at least that large, in seconds.
    pub(super) seen_at: u32,
    pub(super) polls: u32,
    /// Whether the mirror has shown anything since the node came.
    pub(super) is_fresh: bool,
    /// Whether evidence of a fork is stored, by either role.
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

/// What a node remembers as a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimulatedClient {
    /// Cycles begun, or skipped.
    pub(super) cycles: u32,
    /// The trusted head; at first none.
    pub(super) trusted: PackedHead,
    /// The installed sequence; at first 0.
    pub(super) installed_sequence: u32,
    /// Whether it has read that the adversary's release was taken back.
    pub(super) knows_withdrawal: bool,
    /// The rolls that pending releases wait with, earliest first.
    pub(super) kept_rounds: KeptRounds,
    /// The roll that is being called.
    pub(super) active_round: Option<ActiveRoundId>,
}
