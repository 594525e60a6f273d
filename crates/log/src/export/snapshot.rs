//! A log's directory, read from end to end. What is published from it is what was verified here.

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

/// A log that was read whole: its checkpoint opens, every tile and entry hashes up to it, and every
/// artifact that is there has the digest it is named by. Only [`LogSnapshot::read`] makes one.
pub struct LogSnapshot {
    pub(crate) directory: PathBuf,
    pub(crate) log: Log,
    pub(crate) head: TreeHead,
    /// The checkpoint as it stands there, signatures of others included.
    pub(crate) checkpoint: Vec<u8>,
    pub(crate) store: TileStore,
    pub(crate) tiles: BTreeMap<Tile, Vec<Hash>>,
    pub(crate) releases: Vec<LoggedVersion>,
    /// The longest length that a release gives for each digest: no more is read of a file.
    pub(crate) max_lengths: BTreeMap<Hash, u64>,
    /// The artifacts that are there.
    pub(crate) artifacts: Vec<Hash>,
}

/// An entry that describes a release for this log. Who signed it is for clients to judge.
pub struct LoggedVersion {
    /// Its number in the log.
    pub index: u64,
    /// What it says.
    pub manifest: Manifest,
    /// Why it was taken back, if it was.
    pub withdrawn: Option<String>,
}

impl LogSnapshot {
    /// Reads a log's directory, the one that is appended to or any copy. Nothing is written there,
    /// and nobody is kept from appending: what is added meanwhile is not seen.
    pub fn read(directory: &Path, key: &NoteVerifyingKey) -> Result<LogSnapshot, ExportError> {
        let path = directory.join(CHECKPOINT);
        let checkpoint = unanimity_storage::read(&path, MAX_NOTE_BYTES)?;
        let checkpoint = checkpoint.ok_or_else(|| ExportError::NoLog(directory.to_owned()))?;
        let wrong = |source| ExportError::Checkpoint { path: path.clone(), source };
        let note = Note::parse(&checkpoint).map_err(|error| wrong(error.into()))?;
        let origin = Checkpoint::parse(note.text()).map_err(wrong)?.origin;
        let log = Log { origin, key: key.clone() };
        let head = TreeHead::verify(&checkpoint, &log).map_err(wrong)?;
        check_growth(&(0..head.size())).map_err(StorageError::at(&path))?;
        let (store, tiles) = read_tiles(directory, &head)?;
        let directory = directory.to_owned();
        let (releases, named, artifacts) = Default::default();
        let mut source = LogSnapshot {
            directory,
            log,
            head,
            checkpoint,
            store,
            tiles,
            releases,
            max_lengths: named,
            artifacts,
        };
        source.read_entries()?;
        source.read_artifacts()?;
        Ok(source)
    }

    /// Which log it is.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The head that all of it hashes up to.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Its releases, in the order of the log.
    pub fn releases(&self) -> &[LoggedVersion] {
        &self.releases
    }

    /// The tiles of leaves: each also says what its bundle of entries has to be.
    pub(crate) fn leaf_tiles(&self) -> impl Iterator<Item = (Tile, &[Hash])> {
        let tiles = self.tiles.iter().take_while(|(tile, _)| tile.level == 0);
        tiles.map(|(tile, leaves)| (*tile, &leaves[..]))
    }

    fn read_entries(&mut self) -> Result<(), ExportError> {
        let (mut releases, mut named) = (Vec::new(), BTreeMap::new());
        let mut withdrawals = Vec::new();
        for (tile, leaves) in self.leaf_tiles() {
            let bundle = self.read_bundle(tile, leaves)?;
            let entries = split_bundle(&bundle).unwrap_or_default();
            for (index, entry) in (tile.index * TILE_WIDTH..).zip(entries) {
                let note = Note::parse(entry).ok();
                match note.and_then(|note| Statement::parse(note.text()).ok()) {
                    Some(Statement::Release(manifest)) if manifest.log == self.log.origin => {
                        for target in &manifest.artifacts {
                            let longest = named.entry(target.sha256).or_insert(0);
                            *longest = target.length.max(*longest);
                        }
                        releases.push(LoggedVersion { index, manifest, withdrawn: None });
                    }
                    Some(Statement::Withdrawal(other)) if other.log == self.log.origin => {
                        withdrawals.push(other);
                    }
                    _ => {}
                }
            }
        }
        for LoggedVersion { manifest, withdrawn, .. } in &mut releases {
            let of = (&manifest.product, &manifest.channel, manifest.sequence);
            let mut those = withdrawals.iter();
            let first = those.find(|other| (&other.product, &other.channel, other.sequence) == of);
            *withdrawn = first.map(|other| other.reason.clone());
        }
        (self.releases, self.max_lengths) = (releases, named);
        Ok(())
    }

    /// The entries below a tile of leaves, hashed again.
    pub(crate) fn read_bundle(&self, tile: Tile, leaves: &[Hash]) -> Result<Vec<u8>, StorageError> {
        let path = self.directory.join(entries_path(tile.index, tile.width));
        let mut bytes = unanimity_storage::read(&path, MAX_BUNDLE_BYTES)?;
        if bytes.is_none() && tile != tile.full() {
            // A partial bundle may be gone once the full one exists.
            let full = self.directory.join(entries_path(tile.index, TILE_WIDTH as u16));
            bytes = unanimity_storage::read(&full, MAX_BUNDLE_BYTES)?
                .map(|bytes| truncate_bundle(bytes, tile));
        }
        let mend = if bytes.is_some() { REMEDY } else { REMEDY_IF_MISSING };
        let bytes = bytes.filter(|bytes| is_bundle_of(bytes, leaves));
        bytes.ok_or(StorageError::Corrupt { path, remedy: mend })
    }

    fn read_artifacts(&mut self) -> Result<(), ExportError> {
        for (digest, length) in &self.max_lengths {
            let path = self.artifact_file(digest);
            let file = match unanimity_storage::open_regular_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                file => file.map_err(StorageError::at(&path))?,
            };
            if hash_file(file, &path, *length, |_| Ok(()))?.1 != *digest {
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

const REMEDY_IF_MISSING: &str = "it is not there; restore it from a mirror of this log";

/// Every tile of a tree, each proven by those above it, so that the one that is wrong is the one
/// that is named.
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
                // The root is made of these.
                store.frontier()[usize::from(level)].clone()
            };
            tiles.insert(tile, hashes);
        }
    }
    Ok((store, tiles))
}

/// Of a file that a log cannot be without.
fn not_found_to_corrupt(error: StorageError) -> StorageError {
    match error {
        StorageError::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            StorageError::Corrupt { path, remedy: REMEDY_IF_MISSING }
        }
        error => error,
    }
}

/// As many of a full bundle's entries as the tile has leaves.
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

/// Reads a file of any size, at most one byte more than `most`, piece by piece. Returns how many
/// bytes these were, and their digest.
pub(crate) fn hash_file(
    file: impl Read,
    path: &Path,
    most: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), StorageError>,
) -> Result<(u64, Hash), StorageError> {
    let mut file = file.take(most.saturating_add(1));
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
