//! Reading the entries of a log, each bundle from the first host whose entries hash to what they must.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::note::MAX_ENTRY_BYTES;
use unanimity_protocol::tile::{TILE_WIDTH, width};
use unanimity_protocol::{Hash, Tile, TreeHead};

use crate::bounds::{MAX_IN_FLIGHT, check_growth, malformed};
use crate::hedge::hedged;
use crate::source::{EntrySource, TileSource};
use crate::tile_reader::TileReader;

/// What the entries of a bundle have to hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ExpectedHashes {
    /// A full bundle's: the root over its 256 leaves.
    Root(Hash),
    /// The last bundle's: each leaf.
    Leaves(Vec<Hash>),
}

impl ExpectedHashes {
    fn matches(&self, bundle: &[u8]) -> bool {
        let entries = split_bundle(bundle).unwrap_or_default();
        let leaves: Vec<Hash> = entries.iter().map(|entry| Hash::leaf(entry)).collect();
        match self {
            ExpectedHashes::Root(root) => {
                leaves.len() as u64 == TILE_WIDTH
                    && unanimity_protocol::tile::subtree_root(&leaves) == *root
            }
            ExpectedHashes::Leaves(expected) => leaves == *expected,
        }
    }
}

/// What the entries below a head hash to, by bundle, proven by its tiles. From it every bundle is
/// judged by itself, whoever served it.
#[derive(Clone, Debug)]
pub struct EntryReader {
    range: Range<u64>,
    expected: Vec<(u64, ExpectedHashes)>,
}

impl EntryReader {
    /// The bundles that hold the entries from `from` on, from a source that serves the tiles of
    /// `head`. At most [`MAX_GROWTH`](crate::MAX_GROWTH) entries.
    pub async fn from_tiles<T: TileSource>(
        tiles: &TileReader<T>,
        head: &TreeHead,
        from: u64,
    ) -> io::Result<EntryReader> {
        let (range, size) = (from..head.size(), head.size());
        check_growth(&range)?;
        let mut expected = Vec::new();
        if !range.is_empty() && !tiles.matches_head(head).await {
            return Err(malformed("the tiles of the head"));
        }
        let mut above: Option<(Tile, Vec<Hash>)> = None;
        for index in from / TILE_WIDTH..size.div_ceil(TILE_WIDTH) {
            let leaves = Tile::at(0, index, size).ok_or_else(|| malformed("tile"))?;
            if leaves != leaves.full() {
                expected.push((
                    index,
                    ExpectedHashes::Leaves(tiles.read_verified(leaves, size).await?),
                ));
                continue;
            }
            let roots = Tile::at(1, index / TILE_WIDTH, size).ok_or_else(|| malformed("tile"))?;
            let hashes = match above.take().filter(|(tile, _)| *tile == roots) {
                Some((_, hashes)) => hashes,
                None => tiles.read_verified(roots, size).await?,
            };
            expected.push((index, ExpectedHashes::Root(hashes[(index % TILE_WIDTH) as usize])));
            above = Some((roots, hashes));
        }
        Ok(EntryReader { range, expected })
    }

    /// Reads the entries, in order, each given to `take` with its index. Every bundle comes from
    /// the first host that has it and whose entries hash to what they must. Returns which hosts did not
    /// have one that they were asked for.
    pub async fn read(
        &self,
        sources: &[impl EntrySource],
        mut take: impl FnMut(u64, &[u8]),
    ) -> Result<Vec<usize>, Vec<EntryReadError>> {
        // Who has failed is asked last.
        let failed: Vec<AtomicBool> = sources.iter().map(|_| AtomicBool::new(false)).collect();
        let large = Semaphore::new(1);
        let mut reading = Vec::with_capacity(self.expected.len());
        for (index, expected) in &self.expected {
            reading.push(self.read_bundle(sources, &failed, &large, *index, expected).boxed());
        }
        let mut reading = stream::iter(reading).buffered(MAX_IN_FLIGHT);
        while let Some((index, bytes)) = reading.try_next().await? {
            let entries = split_bundle(&bytes).unwrap_or_default();
            for (position, entry) in (index * TILE_WIDTH..self.range.end).zip(entries) {
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

    async fn read_bundle(
        &self,
        sources: &[impl EntrySource],
        failed: &[AtomicBool],
        large: &Semaphore,
        index: u64,
        expected: &ExpectedHashes,
    ) -> Result<(u64, Vec<u8>), Vec<EntryReadError>> {
        let mut hosts: Vec<usize> = (0..sources.len()).collect();
        hosts.sort_by_key(|&host| failed[host].load(Ordering::Relaxed));
        let bytes = hedged(hosts, |host| {
            let read = async move {
                match request_bundle(&sources[host], index, self.range.end, USUAL_BUNDLE_BYTES)
                    .await
                {
                    Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                        let _one_at_a_time = large.acquire().await.map_err(io::Error::other)?;
                        request_bundle(&sources[host], index, self.range.end, u64::MAX).await
                    }
                    read => read,
                }
            };
            read.map(move |read| {
                let read = read.map(|bytes| expected.matches(&bytes).then_some(bytes));
                let error = match read {
                    Ok(Some(bytes)) => return Ok(bytes),
                    Ok(None) => None,
                    Err(error) => Some(error),
                };
                failed[host].store(true, Ordering::Relaxed);
                Err(EntryReadError { host_index: host, error })
            })
            .boxed()
        });
        Ok((index, bytes.await?))
    }
}

/// A bundle that one host did not serve.
#[derive(Debug)]
pub struct EntryReadError {
    /// Which, of those that were asked.
    pub host_index: usize,
    /// What was wrong; `None` if the entries are others than those below the head.
    pub error: Option<io::Error>,
}

impl EntryReadError {
    /// Who of `asked` it was, and what was wrong.
    pub fn describe(&self, asked: &[impl fmt::Display]) -> String {
        let host = &asked[self.host_index];
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
async fn request_bundle(
    source: &impl EntrySource,
    index: u64,
    size: u64,
    most: u64,
) -> io::Result<Vec<u8>> {
    let width = width(size, index).ok_or_else(|| malformed("entries"))?;
    let path = entries_path(index, width);
    let limit = |width: u16| most.min(u64::from(width) * (2 + MAX_ENTRY_BYTES as u64));
    let (mut bytes, holds) = match source.entries(&path, limit(width)).await {
        // A partial bundle may be gone once the full one exists.
        Err(error) if error.kind() == io::ErrorKind::NotFound && u64::from(width) < TILE_WIDTH => {
            let full = TILE_WIDTH as u16;
            (source.entries(&entries_path(index, full), limit(full)).await?, full)
        }
        read => (read?, width),
    };
    let entries = split_bundle(&bytes).filter(|all| all.len() == usize::from(holds));
    let entries = entries.ok_or_else(|| malformed(&path))?;
    let length = entries[..usize::from(width)].iter().map(|entry| 2 + entry.len()).sum();
    bytes.truncate(length);
    Ok(bytes)
}
