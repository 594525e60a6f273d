//! A node's state as a peer and as a client.

use super::calls::Id;
use super::kept::Kept;
use super::tree::Tree;

/// A node as a peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The largest tree that its mirror served.
    pub(super) head: Tree,
    /// When the mirror last showed one at least that large, in seconds.
    pub(super) seen: u32,
    pub(super) polls: u32,
    /// Whether the mirror has shown anything since the node came.
    pub(super) fresh: bool,
    /// Whether evidence of a fork is stored, by either role.
    pub(super) latched: bool,
}

impl Default for Peer {
    fn default() -> Self {
        Peer { head: Tree::NONE, seen: 0, polls: 0, fresh: false, latched: false }
    }
}

/// What a node remembers as a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// Cycles begun, or skipped.
    pub(super) cycles: u32,
    /// The trusted head; at first none.
    pub(super) trusted: Tree,
    /// The installed sequence; at first 0.
    pub(super) floor: u32,
    /// Whether it has read that the adversary's release was taken back.
    pub(super) withdrawn: bool,
    /// The rolls that pending releases wait with, earliest first.
    pub(super) kept: Kept,
    /// The roll that is being called.
    pub(super) call: Option<Id>,
}
