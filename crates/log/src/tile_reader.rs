//! The reader of a log's tiles from an untrusted source, and the hashes that it computes from them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::tree::Subtree;
use unanimity_protocol::{
    Hash, Tile, TreeHead,
    tile::{self},
    tree::{self},
};

use crate::TileSource;
use crate::bounds::{MAX_IN_FLIGHT, check_growth, malformed};

/// A reader of one source's tiles. It requests each tile once, however many proofs need the tile.
pub struct TileReader<T> {
    source: T,
    cache: Mutex<BTreeMap<Tile, Vec<Hash>>>,
}

impl<T: TileSource> TileReader<T> {
    /// Makes a reader with an empty cache.
    pub fn new(source: T) -> Self {
        TileReader { source, cache: Mutex::default() }
    }

    /// Computes the roots of ranges of leaves in a tree of `size` leaves from the source's tiles.
    /// The tiles are not verified.
    pub async fn range_roots(&self, size: u64, ranges: &[Range<u64>]) -> io::Result<Vec<Hash>> {
        let nodes = ranges.iter().flat_map(|range| tree::complete_subtrees(range.clone()));
        let needed: BTreeSet<Tile> =
            nodes.filter_map(|node| Tile::containing(node, size)).map(|(tile, _)| tile).collect();
        for tile in needed {
            self.read_tile(tile).await?;
        }
        let tiles = self.lock_cache();
        let hash_of = |node: Subtree| {
            let (tile, range) = Tile::containing(node, size)?;
            Some(tile::subtree_root(tiles.get(&tile)?.get(range)?))
        };
        let hash_of = |node| hash_of(node).ok_or_else(|| malformed("a range beyond the tree"));
        ranges.iter().map(|range| tree::range_root(range.clone(), hash_of)).collect()
    }

    /// Computes the proof that entry `index` is in the tree of `size` leaves. The source serves the
    /// tiles of a tree of `known` leaves, at least `size`.
    pub async fn inclusion_proof(
        &self,
        index: u64,
        size: u64,
        known: u64,
    ) -> io::Result<Vec<Hash>> {
        self.range_roots(known, &tree::inclusion_ranges(index, size)).await
    }

    /// Computes the consistency proof from a head of size `old` to `head`. The source's tiles are
    /// not verified.
    pub async fn consistency_path(&self, old: u64, head: &TreeHead) -> io::Result<Vec<Hash>> {
        self.range_roots(head.size(), &tree::consistency_ranges(old, head.size())).await
    }

    /// Whether the source serves the partial tiles of `head`, and they hash up to its root.
    pub async fn matches_head(&self, head: &TreeHead) -> bool {
        let whole = 0..head.size();
        let roots = self.range_roots(head.size(), std::slice::from_ref(&whole)).await;
        roots.is_ok_and(|roots| roots == [*head.root()])
    }

    /// Reads a tile in a tree of `size` leaves, and verifies it by the tiles above it.
    ///
    /// [`TileReader::matches_head`] must have returned true before: it verifies the partial tiles.
    pub(crate) async fn read_verified(&self, tile: Tile, size: u64) -> io::Result<Vec<Hash>> {
        // The partial tiles hash up to the root. The root of a full tile is a hash in the tile
        // above.
        let mut above = vec![tile];
        while let Some(last) = above.last()
            && *last == last.full()
        {
            let next = Tile::at(last.level + 1, last.index / TILE_WIDTH, size);
            above.push(next.ok_or_else(|| malformed("tile"))?);
        }
        let mut hashes = Vec::new();
        for tile in above.into_iter().rev() {
            let below = self.read_tile(tile).await?;
            if tile == tile.full()
                && hashes.get((tile.index % TILE_WIDTH) as usize)
                    != Some(&tile::subtree_root(&below))
            {
                return Err(malformed(&tile.path()));
            }
            hashes = below;
        }
        Ok(hashes)
    }

    async fn read_tile(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        if let Some(known) = self.lock_cache().get(&tile) {
            return Ok(known.clone());
        }
        let bytes = self.source.tile(tile).await?;
        let hashes = tile::parse(&bytes, tile.width).ok_or_else(|| malformed(&tile.path()))?;
        self.lock_cache().insert(tile, hashes.clone());
        Ok(hashes)
    }

    fn lock_cache(&self) -> std::sync::MutexGuard<'_, BTreeMap<Tile, Vec<Hash>>> {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Reads the leaf hashes of `range` in a tree of `range.end` leaves. The hashes are not verified. A
/// range of more than [`MAX_GROWTH`](crate::MAX_GROWTH) leaves is an error.
pub async fn read_leaves(source: &impl TileSource, range: Range<u64>) -> io::Result<Vec<Hash>> {
    check_growth(&range)?;
    let mut tiles = Vec::new();
    for index in range.start / TILE_WIDTH..range.end.div_ceil(TILE_WIDTH) {
        let tile = Tile::at(0, index, range.end).ok_or_else(|| malformed("tile"))?;
        tiles.push(read_leaf_tile(source, tile).boxed());
    }
    let tiles: Vec<Vec<Hash>> = stream::iter(tiles).buffered(MAX_IN_FLIGHT).try_collect().await?;
    let mut leaves = tiles.concat();
    leaves.drain(..leaves.len() - range.end.saturating_sub(range.start) as usize);
    Ok(leaves)
}

async fn read_leaf_tile(source: &impl TileSource, tile: Tile) -> io::Result<Vec<Hash>> {
    let bytes = source.tile(tile).await?;
    tile::parse(&bytes, tile.width).ok_or_else(|| malformed(&tile.path()))
}
