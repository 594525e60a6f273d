//! Reading a log that somebody else serves. Nothing read is believed here: what comes back
//! are hashes and entries for `verify` to hold against a head.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use super::{MAX_GROWTH, Tiles};
use crate::net::Mirror;
use crate::net::mirror::race;
use unanimity_protocol::note::MAX_ENTRY_BYTES;
use unanimity_protocol::tree::{self, Node};
use unanimity_protocol::{Hash, Head, Tile};
use unanimity_protocol::{
    log_path::entries_path,
    tile::{self, FULL, width},
};

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
            self.tile(tile).await?;
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

    /// A tile below a head whose right edge this source serves, as the tiles above it have it.
    async fn proven(&self, tile: Tile, size: u64) -> io::Result<Vec<Hash>> {
        // A root is made of the partial tiles. Each full one is a hash of the tile above it.
        let mut above = vec![tile];
        while let Some(last) = above.last()
            && *last == last.full()
        {
            let next = Tile::at(last.level + 1, last.index / FULL, size);
            above.push(next.ok_or_else(|| garbled("tile"))?);
        }
        let mut hashes = Vec::new();
        for tile in above.into_iter().rev() {
            let below = self.tile(tile).await?;
            if tile == tile.full()
                && hashes.get((tile.index % FULL) as usize) != Some(&tile::subtree_root(&below))
            {
                return Err(garbled(&tile.path()));
            }
            hashes = below;
        }
        Ok(hashes)
    }

    async fn tile(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        if let Some(known) = self.tiles().get(&tile) {
            return Ok(known.clone());
        }
        let bytes = self.source.tile(tile).await?;
        let hashes = tile::parse(&bytes, tile.width).ok_or_else(|| garbled(&tile.path()))?;
        self.tiles().insert(tile, hashes.clone());
        Ok(hashes)
    }

    fn tiles(&self) -> std::sync::MutexGuard<'_, BTreeMap<Tile, Vec<Hash>>> {
        self.tiles.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The leaf hashes of `range` in a tree of `range.end` leaves. At most [`MAX_GROWTH`].
pub async fn leaves(source: &impl Tiles, range: Range<u64>) -> io::Result<Vec<Hash>> {
    check_growth(&range)?;
    let mut tiles = Vec::new();
    for index in range.start / FULL..range.end.div_ceil(FULL) {
        let tile = Tile::at(0, index, range.end).ok_or_else(|| garbled("tile"))?;
        tiles.push(leaf_tile(source, tile).boxed());
    }
    let tiles: Vec<Vec<Hash>> = stream::iter(tiles).buffered(IN_FLIGHT).try_collect().await?;
    let mut leaves = tiles.concat();
    leaves.drain(..leaves.len() - range.end.saturating_sub(range.start) as usize);
    Ok(leaves)
}

async fn leaf_tile(source: &impl Tiles, tile: Tile) -> io::Result<Vec<Hash>> {
    let bytes = source.tile(tile).await?;
    tile::parse(&bytes, tile.width).ok_or_else(|| garbled(&tile.path()))
}

/// Files that are asked for at once: a round trip through Tor takes as long as hashing thousands of
/// entries.
const IN_FLIGHT: usize = 8;

/// What the entries of a bundle have to hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    /// A full bundle's: the root over its 256 leaves.
    Root(Hash),
    /// The last bundle's: each leaf.
    Leaves(Vec<Hash>),
}

impl Expected {
    fn is_of(&self, bundle: &[u8]) -> bool {
        let entries = split_bundle(bundle).unwrap_or_default();
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
        match self {
            Expected::Root(root) => {
                leaves.len() as u64 == FULL && tile::subtree_root(&leaves) == *root
            }
            Expected::Leaves(expected) => leaves == *expected,
        }
    }
}

/// What the entries below a head hash to, by bundle, proven by its tiles. From it every bundle is
/// judged by itself, whoever served it.
#[derive(Clone, Debug)]
pub struct Bundles {
    range: Range<u64>,
    expected: Vec<(u64, Expected)>,
}

impl Bundles {
    /// The bundles that hold the entries from `from` on, from a source that serves the tiles of
    /// `head`. At most [`MAX_GROWTH`] entries.
    pub async fn below<T: Tiles>(tiles: &Cached<T>, head: &Head, from: u64) -> io::Result<Bundles> {
        let (range, size) = (from..head.size(), head.size());
        check_growth(&range)?;
        let mut expected = Vec::new();
        if !range.is_empty() && !tiles.serves(head).await {
            return Err(garbled("the tiles of the head"));
        }
        let mut above: Option<(Tile, Vec<Hash>)> = None;
        for index in from / FULL..size.div_ceil(FULL) {
            let leaves = Tile::at(0, index, size).ok_or_else(|| garbled("tile"))?;
            if leaves != leaves.full() {
                expected.push((index, Expected::Leaves(tiles.proven(leaves, size).await?)));
                continue;
            }
            let roots = Tile::at(1, index / FULL, size).ok_or_else(|| garbled("tile"))?;
            let hashes = match above.take().filter(|(tile, _)| *tile == roots) {
                Some((_, hashes)) => hashes,
                None => tiles.proven(roots, size).await?,
            };
            expected.push((index, Expected::Root(hashes[(index % FULL) as usize])));
            above = Some((roots, hashes));
        }
        Ok(Bundles { range, expected })
    }

    /// Reads the entries, in order, each given to `take` with its index. Every bundle comes from
    /// the first host that has it and whose entries hash to what they must. Returns which hosts did not
    /// have one that they were asked for.
    pub async fn read(
        &self,
        mirrors: &[&Mirror],
        mut take: impl FnMut(u64, &[u8]),
    ) -> Result<Vec<usize>, Vec<Unread>> {
        // Who has failed is asked last.
        let failed: Vec<AtomicBool> = mirrors.iter().map(|_| AtomicBool::new(false)).collect();
        let large = Semaphore::new(1);
        let mut reading = Vec::with_capacity(self.expected.len());
        for (index, expected) in &self.expected {
            reading.push(self.bundle(mirrors, &failed, &large, *index, expected).boxed());
        }
        let mut reading = stream::iter(reading).buffered(IN_FLIGHT);
        while let Some((index, bytes)) = reading.try_next().await? {
            let entries = split_bundle(&bytes).unwrap_or_default();
            for (position, entry) in (index * FULL..self.range.end).zip(entries) {
                if position >= self.range.start {
                    take(position, entry);
                }
            }
        }
        drop(reading);
        let failed =
            failed.into_iter().enumerate().filter(|(_, failed)| failed.load(Ordering::Relaxed));
        Ok(failed.map(|(host, _)| host).collect())
    }

    async fn bundle(
        &self,
        mirrors: &[&Mirror],
        failed: &[AtomicBool],
        large: &Semaphore,
        index: u64,
        expected: &Expected,
    ) -> Result<(u64, Vec<u8>), Vec<Unread>> {
        let mut hosts: Vec<usize> = (0..mirrors.len()).collect();
        hosts.sort_by_key(|&host| failed[host].load(Ordering::Relaxed));
        let bytes = race(hosts, |host| {
            let read = async move {
                match bundle(mirrors[host], index, self.range.end, USUAL_BUNDLE_BYTES).await {
                    Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                        let _one_at_a_time = large.acquire().await.map_err(io::Error::other)?;
                        bundle(mirrors[host], index, self.range.end, u64::MAX).await
                    }
                    read => read,
                }
            };
            read.map(move |read| {
                let read = read.map(|bytes| expected.is_of(&bytes).then_some(bytes));
                let error = match read {
                    Ok(Some(bytes)) => return Ok(bytes),
                    Ok(None) => None,
                    Err(error) => Some(error),
                };
                failed[host].store(true, Ordering::Relaxed);
                Err(Unread { host, error })
            })
            .boxed()
        });
        Ok((index, bytes.await?))
    }
}

/// A bundle that one host did not serve.
#[derive(Debug)]
pub struct Unread {
    /// Which, of those that were asked.
    pub host: usize,
    /// What was wrong; `None` if the entries are others than those below the head.
    pub error: Option<io::Error>,
}

impl Unread {
    /// Who of `asked` it was, and what was wrong.
    pub fn of(&self, asked: &[&Mirror]) -> String {
        let host = asked[self.host];
        match &self.error {
            Some(error) => format!("{host}: {error}"),
            None => format!("{host} serves entries that are not those of the log's head"),
        }
    }
}

/// What a bundle has at most, where entries are as long as manifests are. A longer one may have 16 MiB, and
/// hosts that send as much and never end could make us hold that many times: those come one at a time.
const USUAL_BUNDLE_BYTES: u64 = 1 << 20;

/// The bundle at `index` of a log with `size` entries, whatever is in it, of at most `most` bytes.
async fn bundle(mirror: &Mirror, index: u64, size: u64, most: u64) -> io::Result<Vec<u8>> {
    let width = width(size, index).ok_or_else(|| garbled("entries"))?;
    let path = entries_path(index, width);
    let limit = |width: u16| most.min(u64::from(width) * (2 + MAX_ENTRY_BYTES as u64));
    let (mut bytes, holds) = match mirror.read(&path, limit(width)).await {
        // A partial bundle may be gone once the full one exists.
        Err(error) if error.kind() == io::ErrorKind::NotFound && u64::from(width) < FULL => {
            let full = FULL as u16;
            (mirror.read(&entries_path(index, full), limit(full)).await?, full)
        }
        read => (read?, width),
    };
    let entries = split_bundle(&bytes).filter(|all| all.len() == usize::from(holds));
    let entries = entries.ok_or_else(|| garbled(&path))?;
    let length = entries[..usize::from(width)].iter().map(|entry| 2 + entry.len()).sum();
    bytes.truncate(length);
    Ok(bytes)
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

pub(super) fn check_growth(range: &Range<u64>) -> io::Result<()> {
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
