//! Choice of the head that a cycle adopts, among all heads of the log that the client knows.
//!
//! A host can serve the tiles that give a head's root, and lack the tiles that link that head to
//! other heads. A served head *holds* itself and the heads that its tiles prove to be prefixes of
//! it. The choice prefers, in this order, the head that holds
//!
//! 1. the most of the heads that the client trusts;
//! 2. the most of the peers' cosigned heads;
//! 3. the most of all heads.
//!
//! Of heads that hold equally many, the largest is chosen.
//!
//! [`HeadChoice`] does no I/O. It names one head after another, the largest first, and the caller
//! reports what the hosts serve:
//!
//! ```text
//!                  +-- unserved ---> the next head
//! step --> Try ----+-- served -----> the next head, unless this one holds all smaller heads
//!   |              +-- fork -------> Fork, for good
//!   +----> Chosen ---- unreadable -> again without this head, unless trusted or cosigned by a peer
//!   +----> NoneServed
//!   +----> Fork
//! ```

use std::cmp::Ordering;
use std::fmt::Debug;

use crate::{Evidence, TreeHead};

/// A head of the log that can be chosen: a signed head in the client, a number in the simulator.
pub trait LogHead: PartialEq {
    /// The evidence that two heads contradict each other.
    type Evidence: Debug;

    /// Orders the larger head before the smaller.
    ///
    /// Heads of one size are ordered by their roots, so that every client tries heads in one order.
    fn largest_first(&self, other: &Self) -> Ordering;

    /// Returns evidence if the two heads have one size and different roots.
    fn contradicts(&self, other: &Self) -> Option<Self::Evidence>;
}

impl LogHead for TreeHead {
    type Evidence = Box<Evidence>;

    fn largest_first(&self, other: &TreeHead) -> Ordering {
        other.size().cmp(&self.size()).then_with(|| self.root().cmp(other.root()))
    }

    fn contradicts(&self, other: &TreeHead) -> Option<Box<Evidence>> {
        Evidence::from_heads(self, other, &[]).map(Box::new)
    }
}

/// A choice in progress. It works in the caller's lists and allocates nothing.
#[derive(Debug)]
pub struct HeadChoice<'a, H: LogHead> {
    /// The heads to choose from, without duplicates, the largest first.
    heads: &'a mut Vec<H>,
    trusted: &'a [H],
    peer_heads: &'a [H],
    /// The position of the head that is tried next.
    next: usize,
    /// The best served head so far: the counts of the heads that it holds, and its position.
    best: Option<(Held, usize)>,
    fork: Option<H::Evidence>,
}

/// The counts of the heads that one served head holds, the most important count first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    trusted: usize,
    peer_heads: usize,
    heads: usize,
}

/// The next step of the caller of a [`HeadChoice`].
#[derive(Debug)]
#[must_use]
pub enum ChoiceStep<'c, 'a, H: LogHead> {
    /// Find out whether a host serves this head, and which heads it holds.
    Try(HeadCandidate<'c, 'a, H>),
    /// Adopt this head.
    Chosen(&'c H),
    /// End without a head: no host serves any head of the choice.
    NoneServed,
    /// End with the evidence that two heads contradict each other.
    Fork(&'c H::Evidence),
}

/// A head for which the caller must report whether a host serves it. Without a report, the next
/// step names this head again.
#[derive(Debug)]
#[must_use]
pub struct HeadCandidate<'c, 'a, H: LogHead>(&'c mut HeadChoice<'a, H>);

impl<'a, H: LogHead> HeadChoice<'a, H> {
    /// Begins a choice among `heads`, which may be in any order and have duplicates.
    ///
    /// `trusted` and `peer_heads` are the heads that the choice prefers. A head that several peers
    /// cosigned is in `peer_heads` once for each peer.
    pub fn new(heads: &'a mut Vec<H>, trusted: &'a [H], peer_heads: &'a [H]) -> Self {
        heads.sort_by(H::largest_first);
        heads.dedup();
        let fork = heads.windows(2).find_map(|pair| pair[0].contradicts(&pair[1]));
        HeadChoice { heads, trusted, peer_heads, next: 0, best: None, fork }
    }

    /// The heads to choose from, the largest first.
    pub fn heads(&self) -> &[H] {
        self.heads
    }

    /// Returns the next step of the caller.
    pub fn step(&mut self) -> ChoiceStep<'_, 'a, H> {
        if self.fork.is_none() && self.next < self.heads.len() {
            return ChoiceStep::Try(HeadCandidate(self));
        }
        match (&self.fork, self.best) {
            (Some(evidence), _) => ChoiceStep::Fork(evidence),
            (None, Some((_, position))) => ChoiceStep::Chosen(&self.heads[position]),
            (None, None) => ChoiceStep::NoneServed,
        }
    }

    /// Reports that the entries of the chosen head cannot be read.
    ///
    /// Returns whether the choice begins again without that head. A head stays if it is trusted or
    /// if a peer cosigned it. Any other head is dropped, so that a head that no peer has cosigned
    /// cannot block an update that every peer confirms.
    #[must_use]
    pub fn unreadable(&mut self) -> bool {
        let Some((_, position)) = self.best.filter(|_| self.next == self.heads.len()) else {
            return false;
        };
        let head = &self.heads[position];
        if self.trusted.contains(head) || self.peer_heads.contains(head) {
            return false;
        }
        self.heads.remove(position);
        (self.next, self.best) = (0, None);
        true
    }
}

impl<H: LogHead> HeadCandidate<'_, '_, H> {
    /// The head that the caller tries.
    pub fn head(&self) -> &H {
        &self.0.heads[self.0.next]
    }

    /// The smaller heads, which may be prefixes of this one.
    pub fn smaller(&self) -> &[H] {
        &self.0.heads[self.0.next + 1..]
    }

    /// Reports that no host serves this head.
    pub fn unserved(self) {
        self.0.next += 1;
    }

    /// Reports that two heads contradict each other. This ends the choice.
    pub fn fork(self, evidence: H::Evidence) {
        self.0.fork = Some(evidence);
    }

    /// Reports that this head is served, and which heads it holds. Returns whether it is the best
    /// head so far.
    ///
    /// `holds` must be true for this head, and for every [`smaller`](HeadCandidate::smaller) head
    /// that the tiles of this head prove to be a prefix of it.
    pub fn served(self, holds: impl Fn(&H) -> bool) -> bool {
        let choice = self.0;
        let count = |heads: &[H]| heads.iter().filter(|head| holds(head)).count();
        let held = Held {
            trusted: count(choice.trusted),
            peer_heads: count(choice.peer_heads),
            heads: count(choice.heads),
        };
        let position = choice.next;
        // A smaller head can hold only heads at later positions than this head. If this head holds
        // all of them, every smaller head holds fewer.
        let holds_all = held.heads == choice.heads.len() - position;
        choice.next = if holds_all { choice.heads.len() } else { position + 1 };
        let is_best = choice.best.is_none_or(|(most, _)| most < held);
        if is_best {
            choice.best = Some((held, position));
        }
        is_best
    }
}
