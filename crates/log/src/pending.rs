//! The pending head: recorded before it is signed. No other head of its size may be signed then.

use std::path::Path;

use unanimity_protocol::log_path::CHECKPOINT;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{Checkpoint, Log, Note, TreeHead};
use unanimity_storage::{Storage, StorageError};

use crate::tile_store::{REMEDY, open_tiles};

/// The file of the pending head, in the log's directory. It has the log's signature.
pub(crate) const PENDING: &str = ".pending";
/// The first line of `.pending`, before the checkpoint's text. It keeps the signed text from being
/// a checkpoint: no origin begins like this.
pub(crate) const PENDING_HEADER: &str = "unanimity/pending/v1\n";

/// The size of the recorded head, not verified. `None` if there is no record, or it is damaged.
pub(crate) fn recorded_size(directory: &Path) -> Result<Option<u64>, StorageError> {
    let bytes = unanimity_storage::read(&directory.join(PENDING), MAX_NOTE_BYTES)?;
    let note = bytes.and_then(|bytes| Note::parse(&bytes).ok());
    let text = note.as_ref().and_then(|note| note.text().strip_prefix(PENDING_HEADER));
    Ok(text.and_then(|text| Checkpoint::parse(text).ok()).map(|pending| pending.size))
}

/// The recorded head, if it is larger than the published `head`.
///
/// Refuses a record that the log's key did not sign, and tiles that do not link it to `head`.
pub(crate) fn read_pending(
    directory: &Path,
    log: &Log,
    head: &TreeHead,
) -> Result<Option<Checkpoint>, StorageError> {
    let path = directory.join(PENDING);
    let Some(bytes) = unanimity_storage::read(&path, MAX_NOTE_BYTES)? else { return Ok(None) };
    // Another user who may write here must not choose what the log's key signs.
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
