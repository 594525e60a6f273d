//! Checkpoints (C2SP tlog-checkpoint), and the tree heads that they become once they are verified.
//!
//! ```text
//! example.org/log
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! The lines are the origin, the size in decimal and the root in base64. Further lines, called
//! extension lines, are optional. They are signed and otherwise ignored.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::key::KeyError;
use crate::line_reader::LineReader;
use crate::note::{Note, NoteError};
use crate::{Hash, NoteSigningKey, NoteVerifyingKey, encoding};

/// The most bytes of a checkpoint's text: 2 KiB.
pub const MAX_CHECKPOINT_TEXT: usize = 2048;

/// The prefix of every statement's first line. No origin has this prefix, so no text is both a
/// statement and a checkpoint.
pub(crate) const OUR_KINDS: &str = "unanimity/";

/// The name of a log in its checkpoints and in manifests.
///
/// An origin has 1 to 255 bytes of printable ASCII with only single spaces inside, and does not
/// start with `unanimity/`. This is stricter than C2SP tlog-checkpoint, so that no origin can look
/// like another origin or like several lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin(String);

impl Origin {
    /// The origin as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let length = (1..=255).contains(&text.len());
        let plain = text.bytes().all(|c| matches!(c, b' '..=b'~'))
            && text.trim() == text
            && !text.contains("  ");
        if length && plain && !text.starts_with(OUR_KINDS) {
            Ok(Origin(text.to_owned()))
        } else {
            Err(CheckpointError::Origin)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a log: its origin *and* its key. The key's name may differ from the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The first line of the log's checkpoints.
    pub origin: Origin,
    /// The key that verifies the log's checkpoints.
    pub key: NoteVerifyingKey,
}

/// The SHA-256 digest of a log's origin and key, which identifies the log in 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId(pub [u8; 32]);

impl Log {
    /// The log's id: `SHA-256("unanimity/log/v1\n" ‖ origin ‖ "\n" ‖ verifier key line ‖ "\n")`.
    pub fn id(&self) -> LogId {
        LogId(
            Hash::digest(format!("unanimity/log/v1\n{}\n{}\n", self.origin, self.key).as_bytes()).0,
        )
    }
}

/// A checkpoint's text. It is parsed; no signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The claimed origin.
    pub origin: Origin,
    /// The claimed number of leaves, below 2^63.
    pub size: u64,
    /// The claimed root of the tree.
    pub root: Hash,
}

/// The reason why bytes are not a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The bytes are not a note, or the log has not signed it.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The verifier key was refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The text has more than [`MAX_CHECKPOINT_TEXT`] bytes.
    #[error("the checkpoint's text has more than {MAX_CHECKPOINT_TEXT} bytes")]
    TooLong,
    /// The first line is not an origin.
    #[error(
        "line 1: not a log origin (1 to 255 bytes of printable ASCII, \
         not starting with 'unanimity/')"
    )]
    Origin,
    /// The second line is not a size.
    #[error("line 2: expected the size, a decimal number below 2^63 without leading zeros")]
    Size,
    /// The third line is not a root.
    #[error("line 3: expected the root, the base64 of 32 bytes")]
    Root,
    /// An extension line is empty or has no newline. The number is that of the last line with a
    /// newline that was read.
    #[error("line {0}: an empty or unfinished line inside the text")]
    Extension(usize),
    /// The log's key signed a checkpoint whose origin is not the log's.
    #[error("the checkpoint is of the log {found:?}, and the log {wanted:?} is needed")]
    OtherLog {
        /// The origin in the text.
        found: String,
        /// The expected origin.
        wanted: String,
    },
    /// The size is 0, and the root is not that of the empty tree.
    #[error("the size is 0, but the root is not that of the empty tree")]
    EmptyRoot,
}

impl Checkpoint {
    /// Reads the text of a checkpoint. Extension lines must have a valid form and are dropped.
    pub fn parse(text: &str) -> Result<Checkpoint, CheckpointError> {
        if text.len() > MAX_CHECKPOINT_TEXT {
            return Err(CheckpointError::TooLong);
        }
        let mut lines = LineReader::new(text);
        let origin = lines.line().ok_or(CheckpointError::Origin)?.parse()?;
        let size = lines.line().and_then(encoding::decimal).filter(|&size| size < 1 << 63);
        let size = size.ok_or(CheckpointError::Size)?;
        let root = lines.line().and_then(Hash::from_base64).ok_or(CheckpointError::Root)?;
        if size == 0 && root != Hash::empty_root() {
            return Err(CheckpointError::EmptyRoot);
        }
        while !lines.is_at_end() {
            if lines.line().is_none_or(str::is_empty) {
                return Err(CheckpointError::Extension(lines.line_number()));
            }
        }
        Ok(Checkpoint { origin, size, root })
    }

    /// The text of the checkpoint, without extension lines.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.base64())
    }

    /// Signs the text with the log's key. A log that signs two roots for one size has forked.
    pub fn sign(&self, key: &NoteSigningKey) -> Note {
        let mut note = Note::unsigned(&self.text()).expect("an origin has no control characters");
        note.sign(key);
        note
    }
}

/// A log's size and root with a verified signature. Only [`TreeHead::verify`] makes one.
///
/// A tree head keeps the signed text and the log's signature line, so that two contradicting heads
/// are evidence for third parties.
#[derive(Clone)]
pub struct TreeHead {
    log: LogId,
    size: u64,
    root: Hash,
    note: Arc<str>,
}

impl TreeHead {
    /// Verifies a checkpoint of `log`. Signature lines of other keys are dropped.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the bytes are not a checkpoint of `log`, or if the log's signature is
    /// missing or does not verify.
    pub fn verify(bytes: &[u8], log: &Log) -> Result<TreeHead, CheckpointError> {
        TreeHead::verify_note(&Note::parse(bytes)?, log)
    }

    pub(crate) fn verify_note(note: &Note, log: &Log) -> Result<TreeHead, CheckpointError> {
        let line = note.line_by(&log.key)?.ok_or(NoteError::Unsigned)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != log.origin {
            return Err(CheckpointError::OtherLog {
                found: checkpoint.origin.to_string(),
                wanted: log.origin.to_string(),
            });
        }
        let mut kept = Note::unsigned(note.text())?;
        kept.push(line.clone());
        let Checkpoint { size, root, .. } = checkpoint;
        Ok(TreeHead { log: log.id(), size, root, note: kept.to_string().into() })
    }

    /// The number of leaves, below 2^63.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// The id of the log that signed this head.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The checkpoint with only the log's signature line. [`TreeHead::verify`] accepts it.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// Two heads are equal if log, size and root are equal. Extension lines do not count.
impl PartialEq for TreeHead {
    fn eq(&self, other: &Self) -> bool {
        (self.log, self.size, self.root) == (other.log, other.size, other.root)
    }
}

impl Eq for TreeHead {}

impl fmt::Debug for TreeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeHead({self})")
    }
}

impl fmt::Display for TreeHead {
    /// Writes `size 12, root 0123456789abcdef`, with the first 16 hex digits of the root.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {}, root {}", self.size, &self.root.hex()[..16])
    }
}
