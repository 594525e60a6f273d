//! Choice of the head that a cycle adopts, among all heads of the log that the client knows.
//!
//! A host can serve enough tiles for a head's root and lack the tiles that tie it to other heads.
//! A head that looks served is therefore worth what it *holds*: the heads that its tiles prove to
//! be prefixes of it. The chooser prefers the head that holds:
//!
//! 1. the most of the heads that the client trusts;
//! 2. then the most of the heads that peers' views show;
//! 3. then the most of all heads;
//! 4. and of heads that hold equally many, the largest.
//!
//! The chooser does no I/O. It names one head after another, the largest first, and the caller
//! reports what it found out:
//!
//! ```text
//!                  +-- unserved ---> the next head
//! step --> Try ----+-- served -----> the next head, unless this one holds all smaller heads
//!   |              +-- fork -------> Fork, for good
//!   +----> Chosen ---- unreadable -> again without this head, unless it is trusted or in a view
//!   +----> NoneServed
//!   +----> Fork
//! ```

use std::cmp::Ordering;
use std::fmt::Debug;

use crate::{Evidence, TreeHead};

/// A head of the log, as the choice sees it. The client's heads are signed, the simulator's are numbers.
pub trait LogHead: PartialEq {
    /// What two heads that contradict each other amount to.
    type Evidence: Debug;

    /// Orders the larger head before the smaller. Heads of one size are ordered by their roots, so
    /// that every client tries the same heads in the same order.
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

/// The chooser. It works in its caller's lists and allocates nothing of its own.
#[derive(Debug)]
pub struct HeadChoice<'a, H: LogHead> {
    /// Without duplicates, the largest first.
    heads: &'a mut Vec<H>,
    trusted: &'a [H],
    peer_heads: &'a [H],
    /// The place of the head that is tried next.
    next: usize,
    /// The best served head so far: what it holds, and its place.
    best: Option<(Held, usize)>,
    fork: Option<H::Evidence>,
}

/// How many heads a head holds, in the order in which that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    trusted: usize,
    peer_heads: usize,
    heads: usize,
}

/// What the caller of a [`HeadChoice`] does next.
#[derive(Debug)]
#[must_use]
pub enum ChoiceStep<'c, 'a, H: LogHead> {
    /// Find out whether a head is served, and what it holds.
    Try(HeadCandidate<'c, 'a, H>),
    /// Adopt this head.
    Chosen(&'c H),
    /// End without a head: no host serves any of them.
    NoneServed,
    /// End with the evidence that two heads contradict each other.
    Fork(&'c H::Evidence),
}

/// One head that the caller tries. Without a report, the next step names this head again.
#[derive(Debug)]
#[must_use]
pub struct HeadCandidate<'c, 'a, H: LogHead>(&'c mut HeadChoice<'a, H>);

impl<'a, H: LogHead> HeadChoice<'a, H> {
    /// Begins a choice among `heads`, in whatever order they are.
    ///
    /// `trusted` and `cosigned_heads` say what the choice prefers. A head that several views show counts
    /// once for each of them.
    pub fn new(heads: &'a mut Vec<H>, trusted: &'a [H], views: &'a [H]) -> Self {
        heads.sort_by(H::largest_first);
        heads.dedup();
        let fork = heads.windows(2).find_map(|pair| pair[0].contradicts(&pair[1]));
        HeadChoice { heads, trusted, peer_heads: views, next: 0, best: None, fork }
    }

    /// All heads that the choice is among, the largest first.
    pub fn heads(&self) -> &[H] {
        self.heads
    }

    /// Says what the caller does next.
    pub fn step(&mut self) -> ChoiceStep<'_, 'a, H> {
        if self.fork.is_none() && self.next < self.heads.len() {
            return ChoiceStep::Try(HeadCandidate(self));
        }
        match (&self.fork, self.best) {
            (Some(evidence), _) => ChoiceStep::Fork(evidence),
            (None, Some((_, place))) => ChoiceStep::Chosen(&self.heads[place]),
            (None, None) => ChoiceStep::NoneServed,
        }
    }

    /// Reports that the entries of the chosen head cannot be read.
    ///
    /// Returns whether the choice begins again without that head. It drops the head only if that is
    /// neither trusted nor in a view. Otherwise a head that no peer has signed could block an update that
    /// every peer confirms.
    #[must_use]
    pub fn unreadable(&mut self) -> bool {
        let Some((_, place)) = self.best.filter(|_| self.next == self.heads.len()) else {
            return false;
        };
        let head = &self.heads[place];
        if self.trusted.contains(head) || self.peer_heads.contains(head) {
            return false;
        }
        self.heads.remove(place);
        (self.next, self.best) = (0, None);
        true
    }
}

impl<H: LogHead> HeadCandidate<'_, '_, H> {
    /// The head that is tried.
    pub fn head(&self) -> &H {
        &self.0.heads[self.0.next]
    }

    /// The heads that may be prefixes of it: all that come after it.
    pub fn smaller(&self) -> &[H] {
        &self.0.heads[self.0.next + 1..]
    }

    /// Reports that no host serves this head.
    pub fn unserved(self) {
        self.0.next += 1;
    }

    /// Reports that two heads contradict each other, which ends the choice.
    pub fn fork(self, evidence: H::Evidence) {
        self.0.fork = Some(evidence);
    }

    /// Reports that this head is served, and which heads it holds: itself, and those of the
    /// [`smaller`](Trial::smaller) heads that its tiles prove to be prefixes of it.
    ///
    /// Returns whether this head is the best so far.
    pub fn served(self, holds: impl Fn(&H) -> bool) -> bool {
        let choice = self.0;
        let count = |heads: &[H]| heads.iter().filter(|head| holds(head)).count();
        let held = Held {
            trusted: count(choice.trusted),
            peer_heads: count(choice.peer_heads),
            heads: count(choice.heads),
        };
        let place = choice.next;
        // A smaller head holds none but those that this head might hold. If this head holds them
        // all, a smaller one holds fewer.
        let holds_all = held.heads == choice.heads.len() - place;
        choice.next = if holds_all { choice.heads.len() } else { place + 1 };
        let is_best = choice.best.is_none_or(|(most, _)| most < held);
        if is_best {
            choice.best = Some((held, place));
        }
        is_best
    }
}
