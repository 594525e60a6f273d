//! The writer of a log: appends notes and publishes the tree head that contains them.
//!
//! The order of the writes makes an append safe:
//!
//! 1. The entries and tiles are written durably.
//! 2. The next head is recorded in `.pending`. The log's key signs this record, whose first line
//!    keeps it from being a checkpoint.
//! 3. The head is signed and published as the checkpoint.
//!
//! A crash at any point leaves the old head, or a recorded head that the next start must publish.
//! Two different heads of one size are never signed.

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

/// The writer of a log. It holds the lock of the log's directory, so no other process can append to
/// the log.
#[derive(Debug)]
pub struct LogWriter {
    directory: PathBuf,
    disk: Storage,
    log: Log,
    signing_key: NoteSigningKey,
    head: TreeHead,
    tiles: TileStore,
    /// The bytes of the last, partial entry bundle, as in its file.
    last_bundle: Vec<u8>,
    /// Whether an append failed halfway. The next append then first reads the stored log again.
    needs_recovery: bool,
    /// Whether `.pending` records a head of at least this size, a mirror has a head that is in this
    /// tree, or the log is empty. Otherwise the directory may be an old backup, and nothing is
    /// appended.
    is_head_newest: bool,
    _lock: Lock,
}

impl LogWriter {
    /// Creates a log of size 0. The directory has to be missing or empty, because every file in it
    /// will be served. Leftovers of an interrupted `init` are accepted.
    pub fn init(
        directory: &Path,
        origin: Origin,
        signing_key: NoteSigningKey,
        disk: Storage,
    ) -> Result<LogWriter, WriteError> {
        disk.make_dir(directory, Mode::Public).map_err(StorageError::at(directory))?;
        let lock = take_lock(directory)?;
        let names = std::fs::read_dir(directory).map_err(StorageError::at(directory))?;
        let is_leftover = |name: &std::ffi::OsStr| name == ".lock" || name == ".checkpoint.new";
        if names.filter_map(Result::ok).any(|name| !is_leftover(&name.file_name())) {
            return Err(WriteError::Exists(directory.to_owned()));
        }
        let empty = Checkpoint { origin, size: 0, root: Hash::empty_root() };
        publish_checkpoint(&disk, directory, &empty, &signing_key)?;
        drop(lock);
        LogWriter::open(directory, signing_key, disk)
    }

    /// Opens the log in a directory and takes its lock. Finishes an append that was interrupted
    /// after its head was recorded.
    pub fn open(
        directory: &Path,
        signing_key: NoteSigningKey,
        disk: Storage,
    ) -> Result<LogWriter, WriteError> {
        let lock = take_lock(directory)?;
        let path = directory.join(CHECKPOINT);
        let bytes = unanimity_storage::read_at_most(&path, MAX_NOTE_BYTES)?;
        let refused = |source| WriteError::Checkpoint { path: directory.to_owned(), source };
        let note = Note::parse(&bytes).map_err(|e| refused(e.into()))?;
        let origin = Checkpoint::parse(note.text()).map_err(refused)?.origin;
        let log = Log { origin, key: signing_key.public() };
        let (head, tiles, last_bundle) = recover(directory, &log, &signing_key, &disk)?;
        let is_head_newest = head.size() == 0 || recorded_size(directory)? >= Some(head.size());
        Ok(LogWriter {
            directory: directory.to_owned(),
            disk,
            log,
            signing_key,
            head,
            tiles,
            last_bundle,
            needs_recovery: false,
            is_head_newest,
            _lock: lock,
        })
    }

    /// The log's origin and key.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The newest tree head, which is published as the checkpoint.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// Compares a mirror's checkpoint with this log's tree, and refuses a head that is not in this
    /// tree. A mirror with the same head shows that no larger one was published. `mirror` is the
    /// mirror's name for errors.
    pub fn check_mirror(&mut self, mirror: &str, checkpoint: &[u8]) -> Result<(), WriteError> {
        let refused = |source| WriteError::Checkpoint { path: mirror.into(), source };
        let theirs = TreeHead::verify(checkpoint, &self.log).map_err(refused)?;
        let size = theirs.size();
        let ours = match size {
            _ if size > self.head.size() => None,
            _ => self.tiles.range_roots(std::slice::from_ref(&(0..size)))?.pop(),
        };
        if ours.as_ref() == Some(theirs.root()) {
            // A mirror that is behind does not show that nothing was signed after our head.
            self.is_head_newest |= size == self.head.size();
            return Ok(());
        }
        let (mirror, path) = (mirror.to_owned(), self.directory.clone());
        if size <= self.head.size() {
            return Err(WriteError::Forked { mirror, size, held: self.head.size(), path });
        }
        Err(WriteError::MirrorAhead { mirror, size, held: self.head.size(), path })
    }

    /// Refuses notes that are not entries of this log. Writes nothing.
    pub fn check_notes(&self, notes: &[Vec<u8>]) -> Result<(), WriteError> {
        for (i, note) in notes.iter().enumerate() {
            let entry = check_entry(note, &self.log.origin);
            entry.map_err(|why| WriteError::Entry { number: i + 1, why })?;
        }
        Ok(())
    }

    /// Appends notes and publishes one checkpoint that contains all of them. Returns their indexes.
    ///
    /// Fails with [`WriteError::Unrecorded`] if the directory may be an old backup: neither
    /// `.pending` nor a mirror shows that its head is the newest. After a storage error, the notes
    /// may be in the log or not: the next append first reads the stored log again.
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
        let mut record = Note::unsigned(&format!("{PENDING_HEADER}{}", next.text()))
            .expect("an origin has no control characters");
        record.sign(&self.signing_key);
        (self.disk.write(&pending, record.to_string().as_bytes(), Mode::Private))
            .map_err(StorageError::at(&pending))?;
        let note = publish_checkpoint(&self.disk, &self.directory, &next, &self.signing_key)?;
        self.last_bundle = last_bundle;
        self.head = TreeHead::verify(note.as_bytes(), &self.log)
            .map_err(|source| WriteError::Checkpoint { path: self.directory.clone(), source })?;
        self.needs_recovery = false;
        Ok(first..self.head.size())
    }

    /// Builds the entry bundles to which these notes are added, with their paths.
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

    /// Stores an artifact durably under its digest, where clients look for it. Returns the digest.
    pub fn add_artifact(&self, bytes: &[u8]) -> Result<Hash, WriteError> {
        let digest = Hash::digest(bytes);
        let path = self.directory.join(artifact_path(&digest));
        write_files(&self.disk, &self.directory, &[(path, bytes)], Mode::Public)?;
        Ok(digest)
    }
}

/// Refuses bytes that are not a signed note whose first line begins with `unanimity/` and whose
/// second line is `log ORIGIN`. Manifests and withdrawals must follow their formats.
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
    signing_key: &NoteSigningKey,
) -> Result<String, StorageError> {
    let note = checkpoint.sign(signing_key).to_string();
    let path = directory.join(CHECKPOINT);
    disk.write(&path, note.as_bytes(), Mode::Public).map_err(StorageError::at(&path))?;
    Ok(note)
}

/// Reads the stored log. If a newer head is recorded, signs and publishes that head first.
///
/// Signing another head of the recorded size would fork the log.
fn recover(
    directory: &Path,
    log: &Log,
    signing_key: &NoteSigningKey,
    disk: &Storage,
) -> Result<(TreeHead, TileStore, Vec<u8>), WriteError> {
    let refused = |source| WriteError::Checkpoint { path: directory.to_owned(), source };
    let path = directory.join(CHECKPOINT);
    let bytes = unanimity_storage::read_at_most(&path, MAX_NOTE_BYTES)?;
    let mut head = TreeHead::verify(&bytes, log).map_err(refused)?;
    // After a crash, the names of files in this directory may not be durable yet. They have to be
    // durable before anything else is written.
    disk.sync_dir(directory).map_err(StorageError::at(directory))?;
    if let Some(pending) = read_pending(directory, log, &head)? {
        let note = publish_checkpoint(disk, directory, &pending, signing_key)?;
        head = TreeHead::verify(note.as_bytes(), log).map_err(refused)?;
        tracing::info!(size = head.size(), "finished an append that was interrupted");
    }
    let tiles = open_tiles(directory, head.size(), head.root(), disk.clone())?;
    let last_bundle = read_last_bundle(directory, &tiles)?;
    Ok((head, tiles, last_bundle))
}

/// Reads the last, partial entry bundle, and compares its entries with the tree's leaves. Empty if
/// the last bundle is full.
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
