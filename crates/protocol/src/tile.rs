//! Tiles of the Merkle tree: positions, widths and hashes (C2SP tlog-tiles).

use crate::Hash;
use crate::tree::Subtree;

/// The number of hashes in a full tile, and of entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// A tile's position and width: it has `width` hashes of the tree's level `8 * level`, from number
/// `256 * index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// The tile level, 0 to 63. Level 0 has leaf hashes; a hash of any other level is the root of
    /// 256 hashes of the level below.
    pub level: u8,
    /// The position among the tiles of this level, from 0.
    pub index: u64,
    /// The number of hashes, 1 to 256. A tile with fewer than 256 is partial.
    pub width: u16,
}

impl Tile {
    /// The tile at a position in a tree of `size` leaves, with its width in that tree.
    ///
    /// `None` if the tree has no such tile.
    pub fn at(level: u8, index: u64, size: u64) -> Option<Tile> {
        let width = width(hash_count(level, size), index)?;
        Some(Tile { level, index, width })
    }

    /// The tile from which the hash of `node` is computed, and the range of the hashes in that tile
    /// that are needed.
    ///
    /// `None` if a tree of `size` leaves does not have all of these hashes.
    pub fn containing(node: Subtree, size: u64) -> Option<(Tile, std::ops::Range<usize>)> {
        let (level, height) = (node.level / 8, node.level % 8);
        let first = node.index.checked_mul(1 << height)?;
        let tile = Tile::at(level, first / TILE_WIDTH, size)?;
        let (start, count) = ((first % TILE_WIDTH) as usize, 1 << height);
        (start + count <= usize::from(tile.width)).then_some((tile, start..start + count))
    }

    /// Whether a tree of `size` leaves has this tile with this width or a greater one.
    pub fn is_within(&self, size: u64) -> bool {
        self.width > 0
            && Tile::at(self.level, self.index, size).is_some_and(|t| t.width >= self.width)
    }

    /// The full tile at the position of this tile. A log may serve only the full tile once the
    /// partial tile has grown into it.
    #[must_use]
    pub fn full(self) -> Tile {
        Tile { width: TILE_WIDTH as u16, ..self }
    }
}

/// The number of hashes at a tile level of a tree with `size` leaves. At level 0, that is `size`.
fn hash_count(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// The number of items in group `index` when `count` items are cut into groups of 256.
///
/// `None` if there is no group with this index.
pub fn width(count: u64, index: u64) -> Option<u16> {
    let left = count.checked_sub(index.checked_mul(TILE_WIDTH)?)?.min(TILE_WIDTH);
    (left > 0).then_some(left as u16)
}

/// Computes the root over 2^n adjacent hashes of one tile.
pub fn subtree_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two(), "a complete subtree");
    let mut layer = hashes.to_vec();
    while let [_, _, ..] = layer[..] {
        let (pairs, _) = layer.as_chunks::<2>();
        layer = pairs.iter().map(|[left, right]| Hash::node(left, right)).collect();
    }
    layer[0]
}

/// Reads the bytes of a tile as hashes. `None` unless they are exactly `width` hashes.
pub fn parse(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == usize::from(width))
        .then(|| hashes.iter().map(|hash| Hash(*hash)).collect())
}
