//! Reading a log that somebody else serves. Nothing read is believed here: what comes back
//! are hashes and entries for `verify` to hold against a head.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Mutex;

use super::{MAX_GROWTH, Tiles};
use crate::net::Mirror;
use crate::verify::note::MAX_ENTRY_BYTES;
use crate::verify::tile::{self, FULL, entries_path, width};
use crate::verify::tree::{self, Node};
use crate::verify::{Hash, Head, Tile};

/// Asks each tile once, however many proofs need it.
pub struct Cached<T> {
    source: T,
    tiles: Mutex<BTreeMap<Tile, Vec<Hash>>>,
}

impl<T: Tiles> Cached<T> {
    /// Starts with nothing read.
    pub fn new(source: T) -> Self {
        Cached { source, tiles: Mutex::default() }
    }

    /// The roots of ranges of leaves in a tree of `size`, from its tiles.
    pub async fn range_roots(&self, size: u64, ranges: &[Range<u64>]) -> io::Result<Vec<Hash>> {
        let nodes = ranges.iter().flat_map(|range| tree::complete_subtrees(range.clone()));
        let needed: BTreeSet<Tile> =
            nodes.filter_map(|node| Tile::holding(node, size)).map(|(tile, _)| tile).collect();
        for tile in needed {
            if self.tiles().contains_key(&tile) {
                continue;
            }
            let bytes = self.source.tile(tile).await?;
            let hashes = tile::parse(&bytes, tile.width).ok_or_else(|| garbled(&tile.path()))?;
            self.tiles().insert(tile, hashes);
        }
        let tiles = self.tiles();
        let hash_of = |node: Node| {
            let (tile, range) = Tile::holding(node, size)?;
            Some(tile::subtree_root(tiles.get(&tile)?.get(range)?))
        };
        let hash_of = |node| hash_of(node).ok_or_else(|| garbled("a range beyond the tree"));
        ranges.iter().map(|range| tree::range_root(range.clone(), hash_of)).collect()
    }

    /// The proof that entry `index` is in the tree of `size`, where the source has a tree of `known` leaves.
    pub async fn inclusion(&self, index: u64, size: u64, known: u64) -> io::Result<Vec<Hash>> {
        self.range_roots(known, &tree::inclusion_ranges(index, size)).await
    }

    /// The path that ties a head of size `old` to `head`.
    pub async fn path(&self, old: u64, head: &Head) -> io::Result<Vec<Hash>> {
        self.range_roots(head.size(), &tree::consistency_ranges(old, head.size())).await
    }

    /// Whether the tiles for this head can be had here and hash up to its root.
    pub async fn serves(&self, head: &Head) -> bool {
        let whole = 0..head.size();
        let roots = self.range_roots(head.size(), std::slice::from_ref(&whole)).await;
        roots.is_ok_and(|roots| roots == [*head.root()])
    }

    fn tiles(&self) -> std::sync::MutexGuard<'_, BTreeMap<Tile, Vec<Hash>>> {
        self.tiles.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The leaf hashes of `range` in a tree of `range.end` leaves. At most [`MAX_GROWTH`].
pub async fn leaves(source: &impl Tiles, range: Range<u64>) -> io::Result<Vec<Hash>> {
    check_growth(&range)?;
    let mut leaves = Vec::new();
    for index in range.start / FULL..range.end.div_ceil(FULL) {
        let tile = Tile::at(0, index, range.end).ok_or_else(|| garbled("tile"))?;
        let bytes = source.tile(tile).await?;
        let hashes = tile::parse(&bytes, tile.width).ok_or_else(|| garbled(&tile.path()))?;
        let known = range.start.saturating_sub(index * FULL).min(FULL) as usize;
        leaves.extend_from_slice(&hashes[known.min(hashes.len())..]);
    }
    Ok(leaves)
}

/// Reads the entries of `range` in a log of `range.end` entries, in order, each given to `take`
/// with its index. At most [`MAX_GROWTH`].
pub async fn entries(
    mirror: &Mirror,
    range: Range<u64>,
    mut take: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    check_growth(&range)?;
    for index in range.start / FULL..range.end.div_ceil(FULL) {
        let width = width(range.end, index).ok_or_else(|| garbled("entries"))?;
        let path = entries_path(index, width);
        let limit = |width: u16| u64::from(width) * (2 + MAX_ENTRY_BYTES as u64);
        let (bytes, holds) = match mirror.read(&path, limit(width)).await {
            // A partial bundle may be gone once the full one exists.
            Err(error) if error.kind() == io::ErrorKind::NotFound && u64::from(width) < FULL => {
                let full = FULL as u16;
                (mirror.read(&entries_path(index, full), limit(full)).await?, full)
            }
            read => (read?, width),
        };
        let bundle = split_bundle(&bytes).filter(|all| all.len() == usize::from(holds));
        let bundle = bundle.ok_or_else(|| garbled(&path))?;
        for (position, entry) in (index * FULL..range.end).zip(bundle) {
            if position >= range.start {
                take(position, entry);
            }
        }
    }
    Ok(())
}

/// The entries in a bundle, each after its big-endian `u16` length; `None` if it does not end with one.
pub fn split_bundle(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

impl Tiles for &Mirror {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        let limit = |tile: Tile| 32 * u64::from(tile.width);
        match self.read(&tile.path(), limit(tile)).await {
            // A partial tile may be gone once the full one exists.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tile != tile.full() => {
                let mut bytes = self.read(&tile.full().path(), limit(tile.full())).await?;
                bytes.truncate(limit(tile) as usize);
                Ok(bytes)
            }
            read => read,
        }
    }
}

fn check_growth(range: &Range<u64>) -> io::Result<()> {
    if range.end.saturating_sub(range.start) <= MAX_GROWTH {
        return Ok(());
    }
    let grown = range.end - range.start;
    let message =
        format!("the log claims {grown} new entries, and at most {MAX_GROWTH} are read at once");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

fn garbled(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} has not the form it must have"))
}
