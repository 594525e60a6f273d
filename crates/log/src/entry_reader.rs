//! The entries of a log, read from several untrusted hosts and verified against a tree head.

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

/// The hash or hashes that the entries of a bundle must have, proven by the tiles of a head.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ExpectedHashes {
    /// For a full bundle: the root over its 256 leaves.
    Root(Hash),
    /// For the last, partial bundle: the hash of each leaf.
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

/// A reader of the entries below a tree head. It has the proven hashes of every bundle, so each
/// bundle can come from any host.
#[derive(Clone, Debug)]
pub struct EntryReader {
    range: Range<u64>,
    expected: Vec<(u64, ExpectedHashes)>,
}

impl EntryReader {
    /// Makes a reader of the entries from index `from` to the end of `head`. Reads the tiles that
    /// prove the hashes of these entries, and reads no entry.
    ///
    /// Fails if there are more than [`MAX_GROWTH`](crate::MAX_GROWTH) entries, or if the source
    /// does not serve tiles that hash up to `head`.
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

    /// Reads the entries in order, and passes each to `take` with its index.
    ///
    /// Each bundle comes from the first source that serves it with the proven hashes. Returns the
    /// indexes of the sources that failed to serve a bundle.
    ///
    /// Fails if every source failed for one bundle. The error has the failure of each source.
    pub async fn read(
        &self,
        sources: &[impl EntrySource],
        mut take: impl FnMut(u64, &[u8]),
    ) -> Result<Vec<usize>, Vec<EntryReadError>> {
        // For each bundle, the hosts that have failed before are asked last.
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

/// The failure of one host to serve a bundle of entries.
#[derive(Debug)]
pub struct EntryReadError {
    /// The index of the host among the sources that were asked.
    pub host_index: usize,
    /// The error of the request. `None` if the host served entries that do not have the proven
    /// hashes.
    pub error: Option<io::Error>,
}

impl EntryReadError {
    /// Formats the host's name, which is in `asked`, and its failure.
    pub fn describe(&self, asked: &[impl fmt::Display]) -> String {
        let host = &asked[self.host_index];
        match &self.error {
            Some(error) => format!("{host}: {error}"),
            None => format!("{host} serves entries that are not those of the log's head"),
        }
    }
}

/// The most bytes of a bundle whose entries are as long as manifests usually are: 1 MiB.
///
/// A longer bundle may have 16 MiB. Hostile hosts could make the client hold that many bytes for
/// every request in flight, so longer bundles are read one at a time.
const USUAL_BUNDLE_BYTES: u64 = 1 << 20;

/// Requests the bundle at `index` of a log with `size` entries. Its hashes are not verified. A
/// bundle of more than `max_bytes` is an error of [`io::ErrorKind::FileTooLarge`].
async fn request_bundle(
    source: &impl EntrySource,
    index: u64,
    size: u64,
    max_bytes: u64,
) -> io::Result<Vec<u8>> {
    let width = width(size, index).ok_or_else(|| malformed("entries"))?;
    let path = entries_path(index, width);
    let limit = |width: u16| max_bytes.min(u64::from(width) * (2 + MAX_ENTRY_BYTES as u64));
    let (mut bytes, entry_count) = match source.entries(&path, limit(width)).await {
        // A partial bundle may be gone once the full one exists.
        Err(error) if error.kind() == io::ErrorKind::NotFound && u64::from(width) < TILE_WIDTH => {
            let full = TILE_WIDTH as u16;
            (source.entries(&entries_path(index, full), limit(full)).await?, full)
        }
        read => (read?, width),
    };
    let entries = split_bundle(&bytes).filter(|all| all.len() == usize::from(entry_count));
    let entries = entries.ok_or_else(|| malformed(&path))?;
    let length = entries[..usize::from(width)].iter().map(|entry| 2 + entry.len()).sum();
    bytes.truncate(length);
    Ok(bytes)
}
