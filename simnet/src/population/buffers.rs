//! Buffers that the decisions of all cycles reuse.

use unanimity_protocol::decision::confirmation::Confirmation;

use super::kept_rounds::AnsweredHead;
use super::packed_head::PackedHead;

/// A release that could be installed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReleaseCandidate {
    pub(super) index: u32,
    pub(super) chain: u8,
}

/// Lists that every decision overwrites. Reusing them saves allocations.
#[derive(Default)]
pub(super) struct DecisionBuffers {
    /// Each peer's head in the current round; [`PackedHead::NONE`] for an answer that does not
    /// count.
    pub(super) latest: Vec<AnsweredHead>,
    pub(super) confirmations: Vec<Confirmation>,
    pub(super) earlier_confirmations: Vec<Confirmation>,
    pub(super) heads: Vec<PackedHead>,
    pub(super) peer_heads: Vec<PackedHead>,
    pub(super) candidates: Vec<ReleaseCandidate>,
}
