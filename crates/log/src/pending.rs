//! The head that was written down to be signed: nothing else of its size may be signed after it.

use std::path::Path;

use unanimity_protocol::log_path::CHECKPOINT;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{Checkpoint, Log, Note, TreeHead};
use unanimity_storage::{Storage, StorageError};

use crate::tile_store::{REMEDY, open_tiles};

pub(crate) const PENDING: &str = ".pending";
/// Before the checkpoint's text in `.pending`. Signed, it is no checkpoint: no origin begins so.
pub(crate) const PENDING_HEADER: &str = "unanimity/pending/v1\n";

/// The size of the newest head that was written down to be signed.
pub(crate) fn recorded_size(directory: &Path) -> Result<Option<u64>, StorageError> {
    let bytes = unanimity_storage::read(&directory.join(PENDING), MAX_NOTE_BYTES)?;
    let note = bytes.and_then(|bytes| Note::parse(&bytes).ok());
    let text = note.as_ref().and_then(|note| note.text().strip_prefix(PENDING_HEADER));
    Ok(text.and_then(|text| Checkpoint::parse(text).ok()).map(|pending| pending.size))
}

/// The head that was written down to be signed, if it is newer than the published one.
pub(crate) fn read_pending(
    directory: &Path,
    log: &Log,
    head: &TreeHead,
) -> Result<Option<Checkpoint>, StorageError> {
    let path = directory.join(PENDING);
    let Some(bytes) = unanimity_storage::read(&path, MAX_NOTE_BYTES)? else { return Ok(None) };
    // Our own signature: whoever else may write here must not choose what the log's key signs.
    let note =
        Note::parse(&bytes).ok().filter(|note| note.open(std::slice::from_ref(&log.key)).is_ok());
    let text = note.as_ref().and_then(|note| note.text().strip_prefix(PENDING_HEADER));
    let pending = text.and_then(|text| Checkpoint::parse(text).ok());
    let pending = pending.filter(|pending| pending.origin == log.origin);
    let pending = pending.ok_or(StorageError::Corrupt { path, remedy: REMEDY })?;
    if pending.size <= head.size() {
        return Ok(None);
    }
    let tiles = open_tiles(directory, pending.size, &pending.root, Storage::default())?;
    let prefix = tiles.range_roots(std::slice::from_ref(&(0..head.size())))?;
    if prefix != [*head.root()] {
        return Err(StorageError::Corrupt { path: directory.join(CHECKPOINT), remedy: REMEDY });
    }
    Ok(Some(pending))
}
