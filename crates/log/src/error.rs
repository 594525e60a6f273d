//! Errors of writing a log.

use std::path::PathBuf;

use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::note::{MAX_ENTRY_BYTES, NoteError};
use unanimity_protocol::subject::StatementError;
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

/// Why creating, opening or appending to a log failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A file of the log could not be read or written, or contradicts the log's head.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another process holds the lock of the log's directory.
    #[error("another process is writing the log in {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The directory of a new log is not empty. Every file in it would be served.
    #[error("{} is not empty: choose another directory for the log", .0.display())]
    Exists(PathBuf),
    /// The checkpoint of the log or of a mirror does not verify with the log's key.
    #[error("the checkpoint in {} does not open with this key", path.display())]
    Checkpoint {
        /// The log's directory, or the mirror's name.
        path: PathBuf,
        /// Why the checkpoint does not verify.
        source: CheckpointError,
    },
    /// The record of the newest signed head is missing, damaged or older than the published head:
    /// the log's directory was restored from a backup, or changed.
    #[error("{} has no record of the newest head that was signed: it was restored from a backup, or changed.\n  Nothing was signed", .0.display())]
    Unrecorded(PathBuf),
    /// A note is not an entry of this log.
    #[error("entry {number} of this append: {why}")]
    Entry {
        /// The note's number in this append, from 1.
        number: usize,
        /// Why the note is not an entry.
        why: EntryError,
    },
    /// A mirror has a head that is no larger than this log's head, and this log's tree does not
    /// contain it.
    #[error("{mirror} shows a checkpoint of this log with size {size} that is not in {}, which has size {held}: the log's key has signed two tree heads that are not consistent.\n  Nothing was signed. Keep both, append to neither, and tell the clients and witnesses of the log", path.display())]
    Forked {
        /// The mirror's name.
        mirror: String,
        /// The size of the mirror's head.
        size: u64,
        /// The size of this log's head.
        held: u64,
        /// The log's directory.
        path: PathBuf,
    },
    /// A mirror has a larger head of this log: the log's directory is a restored backup.
    #[error("{mirror} shows a checkpoint of this log with size {size} that is not in {}, which has size {held}.\n  Nothing was signed: signing now would fork the log. Restore the log from that mirror first", path.display())]
    MirrorAhead {
        /// The mirror's name.
        mirror: String,
        /// The size of the mirror's head.
        size: u64,
        /// The size of this log's head.
        held: u64,
        /// The log's directory.
        path: PathBuf,
    },
}

/// Why a note is not an entry of this log.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not a signed note.
    #[error("not a signed note: {0}")]
    Note(#[from] NoteError),
    /// The note has more bytes than an entry's length field can say.
    #[error("{0} bytes, and a log entry has at most {MAX_ENTRY_BYTES}")]
    TooLong(usize),
    /// The note begins like a manifest or a withdrawal, and breaks a rule of that format.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// The note names another log, or names no log.
    #[error("it names the log {0:?}")]
    OtherLog(String),
    /// The note's first line does not begin with `unanimity/`, like all of this project's notes.
    #[error("its first line names no known kind of note, such as unanimity/manifest/v1")]
    Kind,
}

impl Classify for WriteError {
    fn exit(&self) -> Exit {
        match self {
            WriteError::Disk(_) | WriteError::Busy(_) | WriteError::Exists(_) => Exit::Disk,
            WriteError::Checkpoint { .. } => Exit::Key,
            WriteError::Entry { .. } => Exit::BadInput,
            WriteError::Forked { .. } => Exit::Fork,
            WriteError::MirrorAhead { .. } | WriteError::Unrecorded(_) => Exit::Rollback,
        }
    }
}
