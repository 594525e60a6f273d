//! The Merkle tree of RFC 6962 / RFC 9162: which hashes prove what, and whether they do.
//!
//! Nothing here stores a tree. Proofs are *planned* as ranges of leaves
//! ([`inclusion_ranges`], [`consistency_ranges`]); each range is cut into complete
//! subtrees ([`complete_subtrees`]), which is what tiles hold; [`range_root`] folds
//! their hashes. So one plan serves a local tree, a mirror's tiles and a test's array.
//!
//! Sizes and indexes are any `u64`: no function here overflows, loops or panics.

use std::ops::Range;

use crate::Hash;

/// The most hashes in a proof over a tree of at most 2^63 leaves, with room for
/// the first hash that [`consistency_ranges`] always includes.
pub const MAX_PROOF: usize = 65;

/// A complete subtree: the leaves `index << level` up to `(index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subtree {
    /// Height above the leaves, 0 to 63.
    pub level: u8,
    /// Position among the nodes of this level.
    pub index: u64,
}

/// Cuts a range of leaves into complete subtrees, left to right.
///
/// The range is a whole tree (`0..size`) or a subtree of one, as the two planners make them.
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

/// The root over a range of leaves, from its complete subtrees.
pub fn range_root<E>(
    range: Range<u64>,
    mut hash_of: impl FnMut(Subtree) -> Result<Hash, E>,
) -> Result<Hash, E> {
    let hashes: Vec<Hash> =
        complete_subtrees(range).into_iter().map(&mut hash_of).collect::<Result<_, E>>()?;
    Ok(fold(&hashes))
}

/// Roots of adjacent subtrees, left to right and falling in size, as one root.
fn fold(hashes: &[Hash]) -> Hash {
    let mut rest = hashes.iter().rev();
    let Some(&last) = rest.next() else { return Hash::empty_root() };
    rest.fold(last, |right, left| Hash::node(left, &right))
}

/// The ranges whose roots prove that leaf `index` is in the tree of `size` leaves,
/// from the leaf's sibling up (RFC 9162 section 2.1.3.1). Empty if it is not below `size`.
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

/// The ranges whose roots prove that the tree of `old` leaves is a prefix of that of `new`.
///
/// This is the path of RFC 9162 section 2.1.4.1 with the subtree it starts from always
/// first, also when `old` is a power of two and the RFC leaves it out: with it both
/// roots follow from the path alone ([`consistency_roots`]), which is what makes a
/// path evidence. Empty unless `1 <= old < new`.
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

/// Where RFC 9162 splits a tree of two leaves or more: after the largest power of two below its size.
fn split(tree: &Range<u64>) -> u64 {
    tree.start + (1 << (tree.end - tree.start - 1).ilog2())
}

/// Whether `proof` shows that `leaf` is number `index` of the tree with `size` leaves
/// and this root (RFC 9162 section 2.1.3.2; variable names follow the RFC).
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
            // A right edge without a sibling rises until it has one.
            let rise = if fn_ & 1 == 1 { 0 } else { fn_.trailing_zeros().min(63) };
            (fn_, sn) = (fn_ >> rise, sn >> rise);
        } else {
            r = Hash::node(&r, p);
        }
        (fn_, sn) = (fn_ >> 1, sn >> 1);
    }
    sn == 0 && r == *root
}

/// The two roots, of the tree with `old` leaves and of that with `new`, that a path of
/// [`consistency_ranges`] yields (RFC 9162 section 2.1.4.2; variable names follow the RFC).
///
/// `None` if the path has not exactly the length for these sizes, or unless `1 <= old < new`.
/// If the second root is right, the path's hashes are true, and so is the first root.
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

/// Whether `proof`, in the form of RFC 9162 (without the first hash when `old` is a power
/// of two), shows that the tree with `old_root` is a prefix of the tree with `new_root`.
///
/// A proof from size 0 is refused: everything extends nothing, and callers decide that case.
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
/// Enough to append to the tree and to know its root, so a reader of all entries keeps nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The edge of a tree of `size` leaves whose [`complete_subtrees`] have these roots;
    /// `None` if their number does not fit the size, or for 2^63 leaves and more.
    pub fn new(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let fits = size < 1 << 63 && peaks.len() == size.count_ones() as usize;
        fits.then_some(Frontier { size, peaks })
    }

    /// Appends one leaf, given as its [`Hash::leaf`].
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

    /// How many leaves.
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
