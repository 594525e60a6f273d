//! Writing a log: append notes, publish the tree that has them.
//!
//! The order is the safety. Entries and tiles are durable first; then the head that is
//! about to be signed is written down in `.pending` (under the log's signature, but not as a
//! checkpoint); then it is signed and published. So a
//! crash at any point leaves either the old head, or one that the next start must finish,
//! and no second head of one size is ever signed.

use std::ops::Range;
use std::path::{Path, PathBuf};

use unanimity_protocol::log_path::{CHECKPOINT, artifact_path, entries_path};
use unanimity_protocol::note::{MAX_ENTRY_BYTES, MAX_NOTE_BYTES};
use unanimity_protocol::tile::{TILE_WIDTH, width};
use unanimity_protocol::{
    Checkpoint, Hash, Log, Manifest, Note, NoteSigningKey, Origin, Statement, TreeHead, Withdrawal,
};
use unanimity_storage::{Lock, Mode, Storage, StorageError};

use crate::error::{EntryError, WriteError};
use crate::pending::{PENDING, PENDING_HEADER, read_pending, recorded_size};
use crate::tile_store::{REMEDY, TileStore, open_tiles, write_files};

/// The one process that may append to a log.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    disk: Storage,
    log: Log,
    signing_key: NoteSigningKey,
    head: TreeHead,
    tiles: TileStore,
    /// The entries of the last, partial bundle, as they stand in its file.
    last_bundle: Vec<u8>,
    /// An append failed on the way: what came of it is on the disk, and read before the next.
    needs_recovery: bool,
    /// Nothing newer than `head` was ever signed, as far as `.pending` or a mirror knows.
    is_head_newest: bool,
    _lock: Lock,
}

impl LogWriter {
    /// Starts a log of size 0 in an empty directory: all that is in it will be served.
    pub fn init(
        directory: &Path,
        origin: Origin,
        secret: NoteSigningKey,
        disk: Storage,
    ) -> Result<LogWriter, WriteError> {
        disk.make_dir(directory, Mode::Public).map_err(StorageError::at(directory))?;
        let lock = take_lock(directory)?;
        let names = std::fs::read_dir(directory).map_err(StorageError::at(directory))?;
        let ours = |name: &std::ffi::OsStr| name == ".lock" || name == ".checkpoint.new";
        if names.filter_map(Result::ok).any(|name| !ours(&name.file_name())) {
            return Err(WriteError::Exists(directory.to_owned()));
        }
        let empty = Checkpoint { origin, size: 0, root: Hash::empty_root() };
        publish_checkpoint(&disk, directory, &empty, &secret)?;
        drop(lock);
        LogWriter::open(directory, secret, disk)
    }

    /// Opens the log in a directory, takes its lock, and finishes an append that was interrupted
    /// after its head was written down.
    pub fn open(
        directory: &Path,
        secret: NoteSigningKey,
        disk: Storage,
    ) -> Result<LogWriter, WriteError> {
        let lock = take_lock(directory)?;
        let path = directory.join(CHECKPOINT);
        let bytes = unanimity_storage::read_at_most(&path, MAX_NOTE_BYTES)?;
        let wrong = |source| WriteError::Checkpoint { path: directory.to_owned(), source };
        let note = Note::parse(&bytes).map_err(|e| wrong(e.into()))?;
        let origin = Checkpoint::parse(note.text()).map_err(wrong)?.origin;
        let log = Log { origin, key: secret.public() };
        let (head, tiles, last_bundle) = recover(directory, &log, &secret, &disk)?;
        let newest = head.size() == 0 || recorded_size(directory)? >= Some(head.size());
        let (directory, unsettled) = (directory.to_owned(), false);
        Ok(LogWriter {
            directory,
            disk,
            log,
            signing_key: secret,
            head,
            tiles,
            last_bundle,
            needs_recovery: unsettled,
            is_head_newest: newest,
            _lock: lock,
        })
    }

    /// Which log this is.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The newest head, published.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Refuses if a mirror's checkpoint is one that our key signed and our tree does not have.
    pub fn check_mirror(&mut self, mirror: &str, checkpoint: &[u8]) -> Result<(), WriteError> {
        let wrong = |source| WriteError::Checkpoint { path: mirror.into(), source };
        let theirs = TreeHead::verify(checkpoint, &self.log).map_err(wrong)?;
        let size = theirs.size();
        let ours = match size {
            _ if size > self.head.size() => None,
            _ => self.tiles.range_roots(std::slice::from_ref(&(0..size)))?.pop(),
        };
        if ours.as_ref() == Some(theirs.root()) {
            self.is_head_newest = true;
            return Ok(());
        }
        let (mirror, path) = (mirror.to_owned(), self.directory.clone());
        if size <= self.head.size() {
            return Err(WriteError::Forked { mirror, size, held: self.head.size(), path });
        }
        Err(WriteError::MirrorAhead { mirror, size, held: self.head.size(), path })
    }

    /// Refuses notes that are no entries of this log, without touching anything.
    pub fn check_notes(&self, notes: &[Vec<u8>]) -> Result<(), WriteError> {
        for (i, note) in notes.iter().enumerate() {
            let entry = check_entry(note, &self.log.origin);
            entry.map_err(|why| WriteError::Entry { number: i + 1, why })?;
        }
        Ok(())
    }

    /// Appends notes and publishes one checkpoint that has them all. Returns their indexes.
    ///
    /// After an error of the disk they may be in the log or not; the next append finds out.
    pub fn append(&mut self, notes: &[Vec<u8>]) -> Result<Range<u64>, WriteError> {
        self.check_notes(notes)?;
        if !self.is_head_newest {
            return Err(WriteError::Unrecorded(self.directory.clone()));
        }
        if self.needs_recovery {
            (self.head, self.tiles, self.last_bundle) =
                recover(&self.directory, &self.log, &self.signing_key, &self.disk)?;
        }
        let first = self.head.size();
        if notes.is_empty() {
            return Ok(first..first);
        }
        let bundles = self.build_bundles(notes);
        let last_bundle = match bundles.last() {
            Some((_, bytes)) if !(first + notes.len() as u64).is_multiple_of(TILE_WIDTH) => {
                bytes.clone()
            }
            _ => Vec::new(),
        };
        let growth = self.tiles.grow(notes.iter().map(|note| Hash::leaf(note)));
        let files: Vec<(PathBuf, &[u8])> =
            bundles.iter().map(|(path, bytes)| (self.directory.join(path), &bytes[..])).collect();
        self.needs_recovery = true;
        write_files(&self.disk, &self.directory, &files, Mode::Public)?;
        let origin = self.log.origin.clone();
        let next = Checkpoint { origin, size: growth.size(), root: growth.root() };
        self.tiles.commit(growth)?;
        let pending = self.directory.join(PENDING);
        let mut intent = Note::unsigned(&format!("{PENDING_HEADER}{}", next.text()))
            .expect("an origin has no control characters");
        intent.sign(&self.signing_key);
        (self.disk.write(&pending, intent.to_string().as_bytes(), Mode::Private))
            .map_err(StorageError::at(&pending))?;
        let note = publish_checkpoint(&self.disk, &self.directory, &next, &self.signing_key)?;
        self.last_bundle = last_bundle;
        self.head = TreeHead::verify(note.as_bytes(), &self.log)
            .map_err(|source| WriteError::Checkpoint { path: self.directory.clone(), source })?;
        self.needs_recovery = false;
        Ok(first..self.head.size())
    }

    /// The entry bundles that these notes fill or begin, with their paths.
    fn build_bundles(&self, notes: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
        let total = self.head.size() + notes.len() as u64;
        let mut bundles = Vec::new();
        let mut bytes = self.last_bundle.clone();
        for (position, note) in (self.head.size()..).zip(notes) {
            bytes.extend((note.len() as u16).to_be_bytes());
            bytes.extend(note);
            if (position + 1).is_multiple_of(TILE_WIDTH) || position + 1 == total {
                let index = position / TILE_WIDTH;
                let width = width(total, index).unwrap_or(TILE_WIDTH as u16);
                bundles.push((entries_path(index, width), std::mem::take(&mut bytes)));
            }
        }
        bundles
    }

    /// Puts an artifact where manifests of its digest find it, durably.
    pub fn add_artifact(&self, bytes: &[u8]) -> Result<Hash, WriteError> {
        let digest = Hash::digest(bytes);
        let path = self.directory.join(artifact_path(&digest));
        write_files(&self.disk, &self.directory, &[(path, bytes)], Mode::Public)?;
        Ok(digest)
    }
}

/// An entry is a signed note of one of our kinds that names this log.
fn check_entry(bytes: &[u8], origin: &Origin) -> Result<(), EntryError> {
    if bytes.len() > MAX_ENTRY_BYTES {
        return Err(EntryError::TooLong(bytes.len()));
    }
    let note = Note::parse(bytes)?;
    let mut lines = note.text().lines();
    let kind = lines.next().unwrap_or_default();
    if [Manifest::HEADER, Withdrawal::HEADER].contains(&kind) {
        Statement::parse(note.text())?;
    } else if !kind.starts_with("unanimity/") {
        return Err(EntryError::Kind);
    }
    match lines.next().and_then(|line| line.strip_prefix("log ")) {
        Some(log) if log == origin.as_str() => Ok(()),
        other => Err(EntryError::OtherLog(other.unwrap_or_default().to_owned())),
    }
}

fn take_lock(directory: &Path) -> Result<Lock, WriteError> {
    let lock = unanimity_storage::lock(directory).map_err(StorageError::at(directory))?;
    lock.ok_or_else(|| WriteError::Busy(directory.to_owned()))
}

fn publish_checkpoint(
    disk: &Storage,
    directory: &Path,
    checkpoint: &Checkpoint,
    secret: &NoteSigningKey,
) -> Result<String, StorageError> {
    let note = checkpoint.sign(secret).to_string();
    let path = directory.join(CHECKPOINT);
    disk.write(&path, note.as_bytes(), Mode::Public).map_err(StorageError::at(&path))?;
    Ok(note)
}

/// Takes up what is on the disk: the published head, or the one that was written down to be
/// signed, which is then finished; signing anything else of that size would fork the log.
fn recover(
    directory: &Path,
    log: &Log,
    secret: &NoteSigningKey,
    disk: &Storage,
) -> Result<(TreeHead, TileStore, Vec<u8>), WriteError> {
    let wrong = |source| WriteError::Checkpoint { path: directory.to_owned(), source };
    let path = directory.join(CHECKPOINT);
    let bytes = unanimity_storage::read_at_most(&path, MAX_NOTE_BYTES)?;
    let mut head = TreeHead::verify(&bytes, log).map_err(wrong)?;
    // A crash may have left what is here without its name being durable: nothing may follow
    // before it is.
    disk.sync_dir(directory).map_err(StorageError::at(directory))?;
    if let Some(pending) = read_pending(directory, log, &head)? {
        let note = publish_checkpoint(disk, directory, &pending, secret)?;
        head = TreeHead::verify(note.as_bytes(), log).map_err(wrong)?;
        tracing::info!(size = head.size(), "finished an append that was interrupted");
    }
    let tiles = open_tiles(directory, head.size(), head.root(), disk.clone())?;
    let last_bundle = read_last_bundle(directory, &tiles)?;
    Ok((head, tiles, last_bundle))
}

/// The bytes of the last, partial entry bundle, checked against the tree.
fn read_last_bundle(directory: &Path, tiles: &TileStore) -> Result<Vec<u8>, StorageError> {
    let leaves = tiles.last_leaves();
    if leaves.is_empty() {
        return Ok(Vec::new());
    }
    let path = directory.join(entries_path(tiles.size() / TILE_WIDTH, leaves.len() as u16));
    let bytes =
        unanimity_storage::read_at_most(&path, TILE_WIDTH as usize * (2 + MAX_ENTRY_BYTES))?;
    let entries = unanimity_protocol::entry_bundle::split_bundle(&bytes);
    let good = entries.is_some_and(|entries| {
        entries.iter().map(|entry| Hash::leaf(entry)).eq(leaves.iter().copied())
    });
    if good { Ok(bytes) } else { Err(StorageError::Corrupt { path, remedy: REMEDY }) }
}
