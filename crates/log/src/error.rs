//! Why a log was not written.

use std::path::PathBuf;

use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::note::{MAX_ENTRY_BYTES, NoteError};
use unanimity_protocol::subject::StatementError;
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

/// Why a log was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Its files could not be read or written.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another writer is at work.
    #[error("another process is writing the log in {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// There is something already: a log, or files that nobody should serve.
    #[error("{} is not empty: choose another directory for the log", .0.display())]
    Exists(PathBuf),
    /// The checkpoint is not one that our key signed.
    #[error("the checkpoint in {} does not open with this key", path.display())]
    Checkpoint {
        /// The log's directory.
        path: PathBuf,
        /// Why.
        source: CheckpointError,
    },
    /// What was signed last is not on record: somebody took the record away, or restored the log.
    #[error("{} does not say what was signed for it last: it was restored, or somebody changed it.\n  Nothing was signed", .0.display())]
    Unrecorded(PathBuf),
    /// Not a note that belongs in this log.
    #[error("entry {number} of this append: {why}")]
    Entry {
        /// Counting from 1.
        number: usize,
        /// What is wrong with it.
        why: EntryError,
    },
    /// A mirror holds another story than ours, and no longer one.
    #[error("{mirror} shows a checkpoint of this log with size {size} that is not in {}, which has size {held}: its key has signed two stories.\n  Nothing was signed. Keep both, append to neither, and tell whoever follows the log", path.display())]
    Forked {
        /// Which mirror.
        mirror: String,
        /// The size it shows.
        size: u64,
        /// Ours.
        held: u64,
        /// The log's directory.
        path: PathBuf,
    },
    /// A mirror holds a head of ours that we do not: we are a restored backup.
    #[error("{mirror} shows a checkpoint of this log with size {size} that is not in {}, which has size {held}.\n  Nothing was signed: signing now would fork the log. Restore the log from that mirror first", path.display())]
    MirrorAhead {
        /// Which mirror.
        mirror: String,
        /// The size it shows.
        size: u64,
        /// Ours.
        held: u64,
        /// The log's directory.
        path: PathBuf,
    },
}

/// Why a note is not an entry of this log.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not a signed note.
    #[error("not a signed note: {0}")]
    Note(#[from] NoteError),
    /// Too long for an entry's length field.
    #[error("{0} bytes, and a log entry has at most {MAX_ENTRY_BYTES}")]
    TooLong(usize),
    /// Says it is a manifest or a withdrawal, and is none.
    #[error("{0}")]
    Statement(#[from] StatementError),
    /// Made for some other log.
    #[error("it names the log {0:?}")]
    OtherLog(String),
    /// Neither a manifest nor another kind of ours.
    #[error(
        "its first line is not one of unanimity's kinds of note, such as unanimity/manifest/v1"
    )]
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
