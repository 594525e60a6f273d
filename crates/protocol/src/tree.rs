//! The Merkle tree of RFC 6962 and RFC 9162: planning and verifying proofs.
//!
//! This module stores no tree. A proof is made in three steps:
//!
//! 1. [`inclusion_ranges`] or [`consistency_ranges`] plans it as ranges of leaves.
//! 2. [`complete_subtrees`] cuts each range into complete subtrees, whose hashes the tiles have.
//! 3. [`range_root`] combines the hashes of a range into one.
//!
//! So one plan serves a local tree, a mirror's tiles and a test's array.
//!
//! Sizes and indexes are any `u64`. No function overflows, panics or fails to end.

use std::ops::Range;

use crate::Hash;

/// The most hashes in a proof over a tree of at most 2^63 leaves.
///
/// The number includes the first hash of a consistency path, which [`consistency_ranges`] always
/// has.
pub const MAX_PROOF: usize = 65;

/// A complete subtree: the leaves from `index << level` to just before `(index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subtree {
    /// The height above the leaves, 0 to 63.
    pub level: u8,
    /// The position among the nodes of this level, from 0.
    pub index: u64,
}

/// Cuts a range of leaves into complete subtrees, left to right.
///
/// The range must be a whole tree (`0..size`), or a range that [`inclusion_ranges`] or
/// [`consistency_ranges`] returned.
pub fn complete_subtrees(range: Range<u64>) -> Vec<Subtree> {
    let mut nodes = Vec::new();
    let mut begin = range.start;
    while begin < range.end {
        let fits = (range.end - begin).ilog2();
        let level = fits.min(begin.trailing_zeros());
        nodes.push(Subtree { level: level as u8, index: begin >> level });
        begin += 1 << level;
    }
    nodes
}

/// Computes the root over a range of leaves from the hashes of its complete subtrees.
///
/// # Errors
///
/// The first error of `hash_of`.
pub fn range_root<E>(
    range: Range<u64>,
    mut hash_of: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let hashes: Vec<Hash> =
        complete_subtrees(range).into_iter().map(&mut hash_of).collect::<Result<_, E>>()?;
    Ok(fold(&hashes))
}

/// Combines the roots of adjacent subtrees, left to right and descending in size, into one root.
fn fold(hashes: &[Hash]) -> Hash {
    let mut rest = hashes.iter().rev();
    let Some(&last) = rest.next() else { return Hash::empty_root() };
    rest.fold(last, |right, left| Hash::node(left, &right))
}

/// The ranges whose roots prove that leaf `index` is in the tree of `size` leaves.
///
/// The ranges are ordered from the leaf's sibling up (RFC 9162 section 2.1.3.1). The result is
/// empty unless `index < size`.
pub fn inclusion_ranges(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut tree = 0..size;
    while index < size && tree.end - tree.start > 1 {
        let middle = split(&tree);
        if index < middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    ranges.reverse();
    ranges
}

/// The ranges whose roots prove that the tree of `old` leaves is a prefix of the tree of `new`
/// leaves.
///
/// This is the path of RFC 9162 section 2.1.4.1, with one difference: the first range is always the
/// subtree that the path starts from. The RFC leaves that subtree out if `old` is a power of two.
/// With the subtree, the roots of both trees follow from the path alone ([`consistency_roots`]), so
/// a path can be evidence.
///
/// The result is empty unless `1 <= old < new`.
pub fn consistency_ranges(old: u64, new: u64) -> Vec<Range<u64>> {
    if old == 0 || old >= new {
        return Vec::new();
    }
    let mut ranges = Vec::new();
    let mut tree = 0..new;
    while tree.end != old {
        let middle = split(&tree);
        if old <= middle {
            ranges.push(middle..tree.end);
            tree.end = middle;
        } else {
            ranges.push(tree.start..middle);
            tree.start = middle;
        }
    }
    ranges.push(tree);
    ranges.reverse();
    ranges
}

/// Splits a tree of two or more leaves after the largest power of two below its size (RFC 9162
/// section 2.1.1).
fn split(tree: &Range<u64>) -> u64 {
    tree.start + (1 << (tree.end - tree.start - 1).ilog2())
}

/// Whether `proof` proves that `leaf` has number `index` in the tree with `size` leaves and `root`.
///
/// RFC 9162 section 2.1.3.2; variable names follow the RFC.
pub fn verify_inclusion(index: u64, size: u64, leaf: &Hash, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut fn_, mut sn, mut r) = (index, size - 1, *leaf);
    for p in proof {
        if sn == 0 {
            return false;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            r = Hash::node(p, &r);
            // A node at the right edge without a sibling rises to the level where it has one.
            let rise = if fn_ & 1 == 1 { 0 } else { fn_.trailing_zeros().min(63) };
            (fn_, sn) = (fn_ >> rise, sn >> rise);
        } else {
            r = Hash::node(&r, p);
        }
        (fn_, sn) = (fn_ >> 1, sn >> 1);
    }
    sn == 0 && r == *root
}

/// Computes the roots of the trees with `old` and with `new` leaves from a consistency path.
///
/// The path has the hashes of [`consistency_ranges`]. RFC 9162 section 2.1.4.2; variable names
/// follow the RFC.
///
/// `None` unless `1 <= old < new` and the path has exactly the length for these sizes. If the
/// second root is the true root of the larger tree, all hashes of the path are true, and so is the
/// first root.
pub fn consistency_roots(old: u64, new: u64, path: &[Hash]) -> Option<(Hash, Hash)> {
    if old == 0 || old >= new {
        return None;
    }
    let (first, path) = path.split_first()?;
    let (mut fn_, mut sn) = (old - 1, new - 1);
    let skip = fn_.trailing_ones().min(63);
    (fn_, sn) = (fn_ >> skip, sn >> skip);
    let (mut fr, mut sr) = (*first, *first);
    for c in path {
        if sn == 0 {
            return None;
        }
        if fn_ & 1 == 1 || fn_ == sn {
            (fr, sr) = (Hash::node(c, &fr), Hash::node(c, &sr));
            let rise = if fn_ & 1 == 1 { 0 } else { fn_.trailing_zeros().min(63) };
            (fn_, sn) = (fn_ >> rise, sn >> rise);
        } else {
            sr = Hash::node(&sr, c);
        }
        (fn_, sn) = (fn_ >> 1, sn >> 1);
    }
    (sn == 0).then_some((fr, sr))
}

/// Whether `proof` proves that the tree with `old_root` is a prefix of the tree with `new_root`.
///
/// The proof has the form of RFC 9162: without the first hash if `old` is a power of two. Always
/// false for `old == 0`: every tree extends the empty tree, and callers handle that case.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old == new {
        return old > 0 && proof.is_empty() && old_root == new_root;
    }
    let with_first;
    let path = if old.is_power_of_two() {
        with_first = [std::slice::from_ref(old_root), proof].concat();
        &with_first
    } else {
        proof
    };
    consistency_roots(old, new, path) == Some((*old_root, *new_root))
}

/// The right edge of a growing tree: the roots of its complete subtrees, at most 64 hashes.
///
/// A frontier is enough to append leaves and to compute the root, so a reader of all entries needs
/// no other state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Makes the frontier of a tree of `size` leaves whose [`complete_subtrees`] have these roots.
    ///
    /// `None` if the number of roots does not fit the size, or for 2^63 leaves and more.
    pub fn new(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let fits = size < 1 << 63 && peaks.len() == size.count_ones() as usize;
        fits.then_some(Frontier { size, peaks })
    }

    /// Appends one leaf, given as the result of [`Hash::leaf`].
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = Hash::node(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, left to right.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root of the whole tree.
    pub fn root(&self) -> Hash {
        fold(&self.peaks)
    }
}
