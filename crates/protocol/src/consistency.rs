//! Joining heads: which of the heads we heard of are prefixes of one tree.
//!
//! Heads are not compared for equality, because a log that grew between two answers is
//! no attack. Instead the largest head whose tree can be had becomes the [`ConsistentHeads`]'s
//! head, and every other head is linked to it by a consistency path computed from *its*
//! tiles. One tree serves all proofs, any host may serve its tiles, and two heads linked
//! to one chain are prefixes of each other.

use crate::tree::consistency_roots;
use crate::{Evidence, Hash, TreeHead};

/// A head, and all the heads proven to be prefixes of it.
#[derive(Clone, Debug)]
pub struct ConsistentHeads {
    head: TreeHead,
    ancestors: Vec<TreeHead>,
}

/// What a consistency path showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// The older head is a prefix of the chain.
    Consistent,
    /// Both heads are signed and they cannot both be true.
    Fork(Box<Evidence>),
    /// The path is missing, or not of the chain's tree: it shows nothing. Ask another source.
    Unproven,
}

impl ConsistentHeads {
    /// Starts a chain at a head. Choose the largest whose tiles hash up to its root: links are
    /// proven from that tree's hashes.
    pub fn new(head: TreeHead) -> ConsistentHeads {
        ConsistentHeads { ancestors: vec![head.clone()], head }
    }

    /// The largest head, which the client adopts.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Links `older`, with a path of [`consistency_ranges`](crate::tree::consistency_ranges) from
    /// its size to the chain's. The path is not looked at where none is needed: at size 0, and
    /// at the chain's own size.
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

    /// Whether `head` was linked.
    pub fn contains(&self, head: &TreeHead) -> bool {
        self.ancestors.contains(head)
    }
}
