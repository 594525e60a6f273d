//! Tiles: names, widths, and the nodes they hold (C2SP tlog-tiles).

use crate::Hash;
use crate::tree::Subtree;

/// Hashes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// A tile of hashes: level `8 * level` of the tree, hashes `256 * index` onwards, `width` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// 0 for leaf hashes; each next level holds roots of 256 of the level below. 0 to 63.
    pub level: u8,
    /// Position in its level.
    pub index: u64,
    /// 1 to 256 hashes; below 256 the tile is partial.
    pub width: u16,
}

impl Tile {
    /// The tile at this place in a tree of `size` leaves, as wide as it is there. `None` if it is not.
    pub fn at(level: u8, index: u64, size: u64) -> Option<Tile> {
        let width = width(hash_count(level, size), index)?;
        Some(Tile { level, index, width })
    }

    /// The tile of a tree with `size` leaves that a node's hash is computed from, and where in it.
    pub fn containing(node: Subtree, size: u64) -> Option<(Tile, std::ops::Range<usize>)> {
        let (level, height) = (node.level / 8, node.level % 8);
        let first = node.index.checked_mul(1 << height)?;
        let tile = Tile::at(level, first / TILE_WIDTH, size)?;
        let (start, count) = ((first % TILE_WIDTH) as usize, 1 << height);
        (start + count <= usize::from(tile.width)).then_some((tile, start..start + count))
    }

    /// Whether a tree of `size` leaves has this tile, in this width or as the beginning of a wider one.
    pub fn is_within(&self, size: u64) -> bool {
        self.width > 0
            && Tile::at(self.level, self.index, size).is_some_and(|t| t.width >= self.width)
    }

    /// The full tile at this place, which may have replaced a partial one.
    #[must_use]
    pub fn full(self) -> Tile {
        Tile { width: TILE_WIDTH as u16, ..self }
    }
}

/// How many hashes (or, at level 0, entries) a tree of `size` leaves has at a level.
fn hash_count(level: u8, size: u64) -> u64 {
    size.checked_shr(8 * u32::from(level)).unwrap_or(0)
}

/// How many of `count` things are in the group of 256 with this number.
pub fn width(count: u64, index: u64) -> Option<u16> {
    let left = count.checked_sub(index.checked_mul(TILE_WIDTH)?)?.min(TILE_WIDTH);
    (left > 0).then_some(left as u16)
}

/// The root over 2^n adjacent hashes of one tile.
pub fn subtree_root(hashes: &[Hash]) -> Hash {
    debug_assert!(hashes.len().is_power_of_two(), "a complete subtree");
    let mut layer = hashes.to_vec();
    while let [_, _, ..] = layer[..] {
        let (pairs, _) = layer.as_chunks::<2>();
        layer = pairs.iter().map(|[left, right]| Hash::node(left, right)).collect();
    }
    layer[0]
}

/// A tile's bytes as hashes; `None` if they are not exactly `width` of them.
pub fn parse(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == usize::from(width))
        .then(|| hashes.iter().map(|hash| Hash(*hash)).collect())
}
