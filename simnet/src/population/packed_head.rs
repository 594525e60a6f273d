//! A tree head in 32 bits: its size and its chain.

use std::cmp::Ordering;

use unanimity_protocol::decision::head_choice::LogHead;

use crate::trace::TraceHead;

/// A [`TraceHead`], or none: the size, and in the highest bit the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackedHead(u32);

const FORKED: u32 = 1 << 31;

impl PackedHead {
    /// No head. Its size is 0, less than that of any head.
    pub(super) const NONE: PackedHead = PackedHead(0);

    /// Packs a head. A head of at most `split` entries always gets chain 0.
    pub(super) fn new(head: TraceHead, split: u32) -> PackedHead {
        let forked = head.chain == 1 && head.size > split;
        PackedHead(head.size | if forked { FORKED } else { 0 })
    }

    pub(super) fn size(self) -> u32 {
        self.0 & !FORKED
    }

    pub(super) fn chain(self) -> u8 {
        (self.0 >> 31) as u8
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn to_trace_head(self) -> Option<TraceHead> {
        (!self.is_none()).then(|| TraceHead { chain: self.chain(), size: self.size() })
    }

    /// Whether one of the two trees is a prefix of the other.
    pub(super) fn is_consistent_with(self, other: PackedHead, split: u32) -> bool {
        self.chain() == other.chain() || self.size() <= split || other.size() <= split
    }

    /// Whether the other tree is a prefix of this one.
    pub(super) fn contains(self, other: PackedHead, split: u32) -> bool {
        other.size() <= self.size() && self.is_consistent_with(other, split)
    }

    /// The head of the first `size` entries of this tree.
    pub(super) fn prefix(self, size: u32, split: u32) -> PackedHead {
        PackedHead::new(TraceHead { chain: self.chain(), size }, split)
    }
}

/// Evidence of a fork: two heads that contradict each other.
#[derive(Debug)]
pub(super) struct ForkEvidence;

impl LogHead for PackedHead {
    type Evidence = ForkEvidence;

    fn largest_first(&self, other: &PackedHead) -> Ordering {
        (other.size(), other.chain()).cmp(&(self.size(), self.chain()))
    }

    fn contradicts(&self, other: &PackedHead) -> Option<ForkEvidence> {
        // Two heads of one size are evidence by themselves, without tiles.
        (self.size() == other.size() && self != other).then_some(ForkEvidence)
    }
}
