//! A verified snapshot of a log's directory, the source of every export.

use std::collections::BTreeMap;
use std::io::Read;
use std::io::{self};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use unanimity_protocol::entry_bundle::split_bundle;
use unanimity_protocol::log_path::{CHECKPOINT, artifact_path, entries_path};
use unanimity_protocol::note::{MAX_ENTRY_BYTES, MAX_NOTE_BYTES};
use unanimity_protocol::tile::TILE_WIDTH;
use unanimity_protocol::{
    Checkpoint, Hash, Log, Manifest, Note, NoteVerifyingKey, Statement, Tile, TreeHead,
    tile::{self},
};
use unanimity_storage::{Mode, Storage, StorageError};

use crate::bounds::check_growth;
use crate::export::ExportError;
use crate::tile_store::{REMEDY, TileStore};

/// A log that was read completely and verified. Only [`LogSnapshot::read`] makes one.
///
/// The log's key has signed the checkpoint. Every tile and entry hashes up to the checkpoint. Every
/// artifact that a release names has the digest in its file name, or is missing.
pub struct LogSnapshot {
    pub(crate) directory: PathBuf,
    pub(crate) log: Log,
    pub(crate) head: TreeHead,
    /// The bytes of the checkpoint, with all signatures on it.
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) store: TileStore,
    pub(crate) tiles: BTreeMap<Tile, Vec<Hash>>,
    pub(crate) releases: Vec<LoggedVersion>,
    /// The largest length that a release names for each digest. At most one byte more of the
    /// artifact's file is read.
    pub(crate) max_lengths: BTreeMap<Hash, u64>,
    /// The digests of the artifacts that a release names and the directory has.
    pub(crate) artifacts: Vec<Hash>,
}

/// A release that an entry of the log describes. The publishers' signatures on it are not verified:
/// clients verify them.
pub struct LoggedVersion {
    /// The entry's index in the log, from 0.
    pub index: u64,
    /// The manifest of the release.
    pub manifest: Manifest,
    /// The reason in the release's first withdrawal. `None`: the release is not withdrawn.
    pub withdrawn: Option<String>,
}

impl LogSnapshot {
    /// Reads the directory of a log, or a copy of it. Writes nothing and takes no lock: entries
    /// that are appended meanwhile are not in the snapshot.
    ///
    /// Refuses a log with a missing or damaged tile or entry, with a damaged artifact, or with more
    /// than [`MAX_GROWTH`](crate::MAX_GROWTH) entries.
    pub fn read(directory: &Path, key: &NoteVerifyingKey) -> Result<LogSnapshot, ExportError> {
        let path = directory.join(CHECKPOINT);
        let checkpoint = unanimity_storage::read(&path, MAX_NOTE_BYTES)?;
        let checkpoint = checkpoint.ok_or_else(|| ExportError::NoLog(directory.to_owned()))?;
        let refused = |source| ExportError::Checkpoint { path: path.clone(), source };
        let note = Note::parse(&checkpoint).map_err(|error| refused(error.into()))?;
        let origin = Checkpoint::parse(note.text()).map_err(refused)?.origin;
        let log = Log { origin, key: key.clone() };
        let head = TreeHead::verify(&checkpoint, &log).map_err(refused)?;
        check_growth(&(0..head.size())).map_err(StorageError::at(&path))?;
        let (store, tiles) = read_tiles(directory, &head)?;
        let directory = directory.to_owned();
        let (releases, max_lengths, artifacts) = Default::default();
        let mut source = LogSnapshot {
            directory,
            log,
            head,
            checkpoint,
            store,
            tiles,
            releases,
            max_lengths,
            artifacts,
        };
        source.read_entries()?;
        source.read_artifacts()?;
        Ok(source)
    }

    /// The log's origin and key.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The verified head that all tiles and entries hash up to.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// The releases whose manifests name this log, in the order of their entries.
    pub fn releases(&self) -> &[LoggedVersion] {
        &self.releases
    }

    /// The tiles of leaves, in order. Each tile has the leaf hashes of one bundle of entries.
    pub(crate) fn leaf_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let tiles = self.tiles.iter().take_while(|(tile, _)| tile.level == 0);
        tiles.map(|(tile, leaves)| (*tile, &leaves[..]))
    }

    fn read_entries(&mut self) -> Result<(), ExportError> {
        let (mut releases, mut max_lengths) = (Vec::new(), BTreeMap::new());
        let mut withdrawals = Vec::new();
        for (tile, leaves) in self.leaf_tiles() {
            let bundle = self.read_bundle(tile, leaves)?;
            let entries = split_bundle(&bundle).unwrap_or_default();
            for (index, entry) in (tile.index * TILE_WIDTH..).zip(entries) {
                let note = Note::parse(entry).ok();
                match note.and_then(|note| Statement::parse(note.text()).ok()) {
                    Some(Statement::Release(manifest)) if manifest.log == self.log.origin => {
                        for artifact in &manifest.artifacts {
                            let longest = max_lengths.entry(artifact.sha256).or_insert(0);
                            *longest = artifact.length.max(*longest);
                        }
                        releases.push(LoggedVersion { index, manifest, withdrawn: None });
                    }
                    Some(Statement::Withdrawal(withdrawal))
                        if withdrawal.log == self.log.origin =>
                    {
                        withdrawals.push(withdrawal);
                    }
                    _ => {}
                }
            }
        }
        for LoggedVersion { manifest, withdrawn, .. } in &mut releases {
            let release = (&manifest.product, &manifest.channel, manifest.sequence);
            let first = withdrawals
                .iter()
                .find(|other| (&other.product, &other.channel, other.sequence) == release);
            *withdrawn = first.map(|withdrawal| withdrawal.reason.clone());
        }
        (self.releases, self.max_lengths) = (releases, max_lengths);
        Ok(())
    }

    /// Reads the bundle of entries below a tile of leaves, and compares its hashes with the leaves.
    pub(crate) fn read_bundle(&self, tile: Tile, leaves: &[Hash]) -> Result<Vec<u8>, StorageError> {
        let path = self.directory.join(entries_path(tile.index, tile.width));
        let mut bytes = unanimity_storage::read(&path, MAX_BUNDLE_BYTES)?;
        if bytes.is_none() && tile != tile.full() {
            // A partial bundle may be gone once the full one exists.
            let full = self.directory.join(entries_path(tile.index, TILE_WIDTH as u16));
            bytes = unanimity_storage::read(&full, MAX_BUNDLE_BYTES)?
                .map(|bytes| truncate_bundle(bytes, tile));
        }
        let remedy = if bytes.is_some() { REMEDY } else { REMEDY_IF_MISSING };
        let bytes = bytes.filter(|bytes| is_bundle_of(bytes, leaves));
        bytes.ok_or(StorageError::Corrupt { path, remedy })
    }

    fn read_artifacts(&mut self) -> Result<(), ExportError> {
        for (digest, max_length) in &self.max_lengths {
            let path = self.artifact_file(digest);
            let file = match unanimity_storage::open_regular_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(StorageError::at(&path))?,
            };
            if hash_file(file, &path, *max_length, |_| Ok(()))?.1 != *digest {
                return Err(ExportError::ArtifactMismatch(path));
            }
            self.artifacts.push(*digest);
        }
        Ok(())
    }

    pub(crate) fn artifact_file(&self, digest: &Hash) -> PathBuf {
        self.directory.join(artifact_path(digest))
    }
}

/// The most bytes of a bundle of entries.
pub(crate) const MAX_BUNDLE_BYTES: usize = TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES);

const REMEDY_IF_MISSING: &str = "it is missing; restore it from a mirror of this log";

/// Reads every tile of a tree. Each full tile is verified by the tile above it, so an error names
/// the full tile that is damaged.
fn read_tiles(
    directory: &Path,
    head: &TreeHead,
) -> Result<(TileStore, BTreeMap<Tile, Vec<Hash>>), StorageError> {
    let store = TileStore::open(directory, head.size(), Mode::Public, Storage::default());
    let store = store.map_err(not_found_to_corrupt)?;
    if store.root() != *head.root() {
        return Err(StorageError::Corrupt { path: directory.join("tile"), remedy: REMEDY });
    }
    let mut tiles: BTreeMap<Tile, Vec<Hash>> = BTreeMap::new();
    for level in (0..8).rev() {
        for index in 0.. {
            let Some(tile) = Tile::at(level, index, head.size()) else { break };
            let hashes = if tile == tile.full() {
                let hashes = store.read(tile).map_err(not_found_to_corrupt)?;
                let above = Tile::at(level + 1, index / TILE_WIDTH, head.size());
                let above =
                    above.and_then(|above| tiles.get(&above)?.get((index % TILE_WIDTH) as usize));
                if above != Some(&tile::subtree_root(&hashes)) {
                    let path = directory.join(tile.path());
                    return Err(StorageError::Corrupt { path, remedy: REMEDY });
                }
                hashes
            } else {
                // The partial tiles hash up to the root, which was compared above.
                store.frontier()[usize::from(level)].clone()
            };
            tiles.insert(tile, hashes);
        }
    }
    Ok((store, tiles))
}

/// Turns the error "not found" into [`StorageError::Corrupt`], for a file that every log of this
/// size has.
fn not_found_to_corrupt(error: StorageError) -> StorageError {
    match error {
        StorageError::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            StorageError::Corrupt { path, remedy: REMEDY_IF_MISSING }
        }
        error => error,
    }
}

/// Cuts a full bundle to as many entries as the tile has leaves.
fn truncate_bundle(mut bundle: Vec<u8>, tile: Tile) -> Vec<u8> {
    let entries = split_bundle(&bundle).unwrap_or_default().into_iter();
    let length = entries.take(usize::from(tile.width)).map(|entry| 2 + entry.len()).sum();
    bundle.truncate(length);
    bundle
}

/// Whether the entries in a bundle hash to these leaves.
pub(crate) fn is_bundle_of(bundle: &[u8], leaves: &[Hash]) -> bool {
    let entries = split_bundle(bundle);
    entries.is_some_and(|all| all.iter().map(|entry| Hash::leaf(entry)).eq(leaves.iter().copied()))
}

/// Reads a file of any size in pieces, and passes each piece to `take`. Reads at most one byte more
/// than `max_length`. Returns the number of bytes that were read, and their digest.
pub(crate) fn hash_file(
    file: impl Read,
    path: &Path,
    max_length: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), StorageError>,
) -> Result<(u64, Hash), StorageError> {
    let mut file = file.take(max_length.saturating_add(1));
    let (mut hasher, mut length, mut buffer) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok((length, Hash(hasher.finalize().into()))),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(StorageError::at(path))?,
        };
        hasher.update(&buffer[..count]);
        take(&buffer[..count])?;
        length += count as u64;
    }
}

const PIECE_BYTES: usize = 128 * 1024;
