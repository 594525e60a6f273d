//! The pending head: the next head of a log, recorded before it is signed. Once it is recorded, no
//! other head of that size may be signed.

use std::path::Path;

use unanimity_protocol::log_path::CHECKPOINT;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{Checkpoint, Log, Note, TreeHead};
use unanimity_storage::{Storage, StorageError};

use crate::tile_store::{REMEDY, open_tiles};

/// The name of the file with the pending head, in the log's directory. The log's key signs this
/// file.
pub(crate) const PENDING: &str = ".pending";
/// The first line of `.pending`, before the checkpoint's text. Because of this line the signed text
/// is no checkpoint: no origin begins like this.
pub(crate) const PENDING_HEADER: &str = "unanimity/pending/v1\n";

/// The size of the recorded head, not verified. `None` if the record is missing or damaged.
pub(crate) fn recorded_size(directory: &Path) -> Result<Option<u64>, StorageError> {
    let bytes = unanimity_storage::read(&directory.join(PENDING), MAX_NOTE_BYTES)?;
    let note = bytes.and_then(|bytes| Note::parse(&bytes).ok());
    let text = note.as_ref().and_then(|note| note.text().strip_prefix(PENDING_HEADER));
    Ok(text.and_then(|text| Checkpoint::parse(text).ok()).map(|pending| pending.size))
}

/// Reads the recorded head. `None` if no head is recorded, or the recorded head is not larger than
/// the published `head`.
///
/// Refuses a record that the log's key did not sign, and tiles that do not link it to `head`.
pub(crate) fn read_pending(
    directory: &Path,
    log: &Log,
    head: &TreeHead,
) -> Result<Option<Checkpoint>, StorageError> {
    let path = directory.join(PENDING);
    let Some(bytes) = unanimity_storage::read(&path, MAX_NOTE_BYTES)? else { return Ok(None) };
    // Another user may be able to write to this directory. That user must not choose the head that
    // the log's key signs.
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
