//! Storage of the entries below the witness's head, for clients that use the witness as a mirror.
//!
//! The witness fetches the entries bundle by bundle from the first one. It checks each entry
//! against its own tree before it writes the bundle. The witness cosigns a head without waiting for
//! the entries.

use std::io;

use rand::Rng;
use unanimity_log::{EntryReader, TileReader, TileSource, write_files};
use unanimity_protocol::Tile;
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::note::MAX_ENTRY_BYTES;
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_storage::{Clock, Mode, StorageError};

use crate::entry_files::{partial_bundle_dir, partial_bundles};
use crate::witness::{Witness, WitnessError};

/// Bytes of entries after which a batch is written and synced.
const BATCH_BYTES: usize = 4 << 20;
/// The most bytes of one bundle.
const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);
/// Remedy for a damaged bundle.
const REMEDY: &str =
    "stop the node and remove this file: the entries from there on are fetched again";

/// The witness's own tree as a source of tiles.
struct OwnTiles<'a, C>(&'a Witness<C>);

impl<C: Clock> TileSource for OwnTiles<'_, C> {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        let tile = self.0.read_tile(tile).map_err(io::Error::other)?;
        tile.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Bundles that are fetched but not written yet.
#[derive(Default)]
struct BundleBatch {
    files: Vec<(u64, u16, Vec<u8>)>,
    bytes: usize,
    /// The first entries of the bundle that is still being received.
    open: Vec<u8>,
}

impl<C: Clock> Witness<C> {
    /// Fetches the entries below the head that are not stored yet. Each bundle comes from any
    /// mirror that serves it correctly.
    ///
    /// # Errors
    ///
    /// No mirror serves the next entries, or the storage fails. If a mirror fails, the bundles that
    /// were fetched before are stored.
    pub async fn fetch_entries(&self, rng: &mut impl Rng) -> Result<(), WitnessError> {
        let (head, held) = {
            let state = self.state();
            (state.head.clone(), state.entries)
        };
        let Some(head) = head.filter(|head| held < head.size()) else { return Ok(()) };
        let unread = |error: io::Error| WitnessError::Entries(vec![error.to_string()]);
        let own = TileReader::new(OwnTiles(self));
        let bundles =
            EntryReader::from_tiles(&own, &head, held - held % TILE_WIDTH).await.map_err(unread)?;
        let mirrors = self.shuffled_mirrors(rng);
        let mirrors: Vec<_> = mirrors.iter().collect();
        let (mut batch, mut written) = (BundleBatch::default(), Ok(()));
        let read = bundles.read(&mirrors, |index, entry| {
            batch.open.extend((entry.len() as u16).to_be_bytes());
            batch.open.extend(entry);
            let next = index + 1;
            if next % TILE_WIDTH == 0 || next == head.size() {
                let bundle = std::mem::take(&mut batch.open);
                batch.bytes += bundle.len();
                batch.files.push((index / TILE_WIDTH, (index % TILE_WIDTH) as u16 + 1, bundle));
                if written.is_ok() && (batch.bytes >= BATCH_BYTES || next == head.size()) {
                    written = self.write_bundles(std::mem::take(&mut batch));
                }
            }
        });
        let read = read.await;
        written?;
        // Bundles that arrived before a failure need not be fetched again.
        self.write_bundles(batch)?;
        read.map(drop).map_err(|unread| {
            WitnessError::Entries(unread.iter().map(|unread| unread.describe(&mirrors)).collect())
        })
    }

    /// Writes bundles durably, counts their entries as stored, and removes the smaller partial
    /// bundles that they replace. The last bundle may be partial.
    fn write_bundles(&self, batch: BundleBatch) -> Result<(), StorageError> {
        let Some((last, width, _)) = batch.files.last() else { return Ok(()) };
        let held = last * TILE_WIDTH + u64::from(*width);
        let path = |index: u64, width: u16| self.directory.join(entries_path(index, width));
        let files: Vec<_> =
            batch.files.iter().map(|(i, width, bytes)| (path(*i, *width), &bytes[..])).collect();
        write_files(&self.disk, &self.directory, &files, Mode::Private)?;
        {
            let mut state = self.state();
            state.entries = state.entries.max(held);
        }
        for (index, width, _) in &batch.files {
            if u64::from(*width) == TILE_WIDTH {
                let partial_dir = partial_bundle_dir(&self.directory, *index);
                self.disk.remove(&partial_dir).map_err(StorageError::at(&partial_dir))?;
                continue;
            }
            for (smaller, path) in partial_bundles(&self.directory, *index, &self.disk)? {
                if smaller < *width {
                    self.disk.remove(&path).map_err(StorageError::at(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Reads the first `width` entries of the bundle at `index`. `None` if fewer are stored.
    pub(crate) fn read_bundle(
        &self,
        index: u64,
        width: u16,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        // A larger bundle may replace this one after the count is read and before the file is read.
        for _ in 0..2 {
            let held = self.state().entries;
            let Some(stored) = unanimity_protocol::tile::width(held, index).filter(|w| *w >= width)
            else {
                return Ok(None);
            };
            let path = self.directory.join(entries_path(index, stored));
            if let Some(mut bytes) = self.disk.read(&path, MAX_BUNDLE_BYTES)? {
                let entries = split_bundle(&bytes).filter(|all| all.len() == usize::from(stored));
                let entries = entries.ok_or(StorageError::Corrupt { path, remedy: REMEDY })?;
                let length = entries[..width.into()].iter().map(|entry| 2 + entry.len()).sum();
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }
}
