//! Paths below a log's prefix, and the coordinates of tiles in trees of any size.
//!
//! A parsed path prints to its own text. A tile of a tree is within that tree, and not within a
//! tree that lacks the tile's last hash. Every complete subtree is in the tile that
//! [`Tile::containing`] names.

use arbitrary::Unstructured;
use unanimity_protocol::log_path::{LogPath, entries_path};
use unanimity_protocol::tile::{self, TILE_WIDTH, width};
use unanimity_protocol::tree::{Subtree, complete_subtrees};
use unanimity_protocol::{Hash, Tile};

/// Checks the input as a path, and as numbers that choose trees and tiles.
pub fn check(data: &[u8]) {
    if let Ok(path) = str::from_utf8(data)
        && let Some(parsed) = LogPath::parse(path)
    {
        let (printed, width) = match parsed {
            LogPath::Hashes(tile) => (tile.path(), tile.width),
            LogPath::Entries { index, width } => (entries_path(index, width), width),
        };
        assert_eq!(printed, path);
        assert!((1..=TILE_WIDTH).contains(&u64::from(width)));
    }
    numbers(Unstructured::new(data)).ok();
}

fn numbers(mut input: Unstructured<'_>) -> arbitrary::Result<()> {
    let size: u64 = input.arbitrary()?;
    // Sizes of every magnitude are equally likely.
    let size = size >> input.int_in_range(0..=63)?;
    let (level, index): (u8, u64) = (input.int_in_range(0..=70)?, input.arbitrary()?);
    let index: u64 = index >> input.int_in_range(0..=63)?;
    if let Some(tile) = Tile::at(level, index, size) {
        assert!(tile.is_within(size) && (1..=TILE_WIDTH).contains(&u64::from(tile.width)));
        // A tree without the tile's last hash does not contain the tile.
        let hashes = index * TILE_WIDTH + u64::from(tile.width);
        let smaller = (u128::from(hashes) << (8 * u32::from(level))) - 1;
        assert!(smaller < u128::from(size));
        assert!(!tile.is_within(smaller as u64));
        assert_eq!(tile.full().width, 256);
        if tile.level < 64 {
            let parsed = LogPath::parse(&tile.path());
            assert_eq!(parsed, Some(LogPath::Hashes(tile)));
        }
    }
    assert_eq!(width(size, index), Tile::at(0, index, size).map(|tile| tile.width));
    let mut covered: u64 = 0;
    for node in complete_subtrees(0..size) {
        assert_eq!(node.index << node.level, covered);
        covered += 1 << node.level;
        let (tile, range) = Tile::containing(node, size).expect("a node of the tree");
        assert!(tile.is_within(size) && range.end <= usize::from(tile.width));
    }
    assert_eq!(covered, size);
    let node = Subtree { level: input.int_in_range(0..=63)?, index };
    if let Some((tile, range)) = Tile::containing(node, size) {
        assert!(tile.is_within(size) && range.end <= usize::from(tile.width));
        let leaves = (u128::from(node.index) + 1) << node.level;
        assert!(leaves <= u128::from(size));
    }
    let bytes = input.take_rest();
    let width = (bytes.len() / 32) as u16;
    if let Some(hashes) = tile::parse(bytes, width) {
        assert_eq!(hashes.iter().flat_map(|hash: &Hash| hash.0).collect::<Vec<u8>>(), bytes);
    }
    Ok(())
}
