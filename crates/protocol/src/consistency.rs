//! Consistent heads: a head of the log, and the heads that are proven to be prefixes of its tree.
//!
//! Peers need not show equal heads, because the log may grow between two answers. The client
//! chooses one head ([`head_choice`](crate::decision::head_choice)) as the largest head of
//! [`ConsistentHeads`]. A consistency path from the tiles of that head links each smaller head.
//!
//! So the tiles of one tree give all proofs, and any host may serve them. Of two linked heads, the
//! smaller one is a prefix of the larger.

use crate::tree::consistency_roots;
use crate::{Evidence, Hash, TreeHead};

/// A head, and all heads that are proven to be prefixes of it.
#[derive(Clone, Debug)]
pub struct ConsistentHeads {
    head: TreeHead,
    ancestors: Vec<TreeHead>,
}

/// The result of linking an older head to the largest head by a consistency path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The older head is a prefix of the largest head.
    Consistent,
    /// The log signed both heads, and they are not consistent.
    Fork(Box<Evidence>),
    /// The path is missing or not of the largest head's tree, or the older head is larger or of
    /// another log. Nothing is proven. Another host may serve the right path.
    Unproven,
}

impl ConsistentHeads {
    /// Starts with the largest head.
    ///
    /// The caller should have tiles that hash to the root of this head, because all paths come from
    /// them.
    pub fn new(head: TreeHead) -> ConsistentHeads {
        ConsistentHeads { ancestors: vec![head.clone()], head }
    }

    /// The largest head, which the client adopts.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Adds `older` if it is a prefix of the largest head.
    ///
    /// `path` has the hashes of [`consistency_ranges`](crate::tree::consistency_ranges) from the
    /// size of `older` to that of the largest head. The path is ignored if `older` has size 0 or
    /// the size of the largest head.
    pub fn add(&mut self, older: &TreeHead, path: &[Hash]) -> Consistency {
        if older.log() != self.head.log() || older.size() > self.head.size() {
            return Consistency::Unproven;
        }
        if self.contains(older) {
            return Consistency::Consistent;
        }
        if older.size() == self.head.size() {
            return Evidence::from_heads(older, &self.head, &[])
                .map_or(Consistency::Unproven, |evidence| Consistency::Fork(Box::new(evidence)));
        }
        match consistency_roots(older.size(), self.head.size(), path) {
            _ if older.size() == 0 => {}
            Some((old, new)) if (old, new) == (*older.root(), *self.head.root()) => {}
            _ => {
                return Evidence::from_heads(older, &self.head, path)
                    .map_or(Consistency::Unproven, |evidence| {
                        Consistency::Fork(Box::new(evidence))
                    });
            }
        }
        self.ancestors.push(older.clone());
        Consistency::Consistent
    }

    /// Whether `head` is the largest head or a head that was added.
    pub fn contains(&self, head: &TreeHead) -> bool {
        self.ancestors.contains(head)
    }
}
