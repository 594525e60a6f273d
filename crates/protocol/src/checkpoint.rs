//! Checkpoints (C2SP tlog-checkpoint): what a log says of itself, and the head it
//! becomes once the log's signature is checked.
//!
//! ```text
//! example.org/log
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//! ```
//!
//! Origin, size in decimal, root in base64; then optional lines that are signed and otherwise ignored.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::key::KeyError;
use crate::line_reader::LineReader;
use crate::note::{Note, NoteError};
use crate::{Hash, NoteSigningKey, NoteVerifyingKey, encoding};

/// The most bytes of a checkpoint's text.
pub const MAX_CHECKPOINT_TEXT: usize = 2048;

/// Every text of ours starts with this, and no origin does, so no note passes for another kind.
pub(crate) const OUR_KINDS: &str = "unanimity/";

/// A log's name as its checkpoints and our manifests carry it: 1 to 255 bytes of printable
/// ASCII, single spaces inside only, not starting with `unanimity/`. Stricter than the C2SP
/// specification, so that no origin can look like another one or like further lines.
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

/// Which log: an origin *and* the key that signs it. The key's own name may differ from the origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The first line of its checkpoints.
    pub origin: Origin,
    /// Who signs them.
    pub key: NoteVerifyingKey,
}

/// SHA-256 over origin and key: names one log in 32 bytes, whatever the length of its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogId(pub [u8; 32]);

impl Log {
    /// `SHA-256("unanimity/log/v1\n" ‖ origin ‖ "\n" ‖ verifier key line ‖ "\n")`.
    pub fn id(&self) -> LogId {
        LogId(
            Hash::digest(format!("unanimity/log/v1\n{}\n{}\n", self.origin, self.key).as_bytes()).0,
        )
    }
}

/// A checkpoint's text, read and not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log it claims to be of.
    pub origin: Origin,
    /// The number of leaves it claims, below 2^63.
    pub size: u64,
    /// The root it claims.
    pub root: Hash,
}

/// Why bytes are not a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a note, or not one that the log signed.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The verifier key was refused.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Longer than the bound.
    #[error("the checkpoint's text has more than {MAX_CHECKPOINT_TEXT} bytes")]
    TooLong,
    /// The first line cannot be an origin.
    #[error("line 1: not a log origin (1 to 255 bytes, and not one of our own kinds of note)")]
    Origin,
    /// The second line is not a size.
    #[error("line 2: the size is a decimal number below 2^63 without leading zeros")]
    Size,
    /// The third line is not a root.
    #[error("line 3: the root is the base64 of 32 bytes")]
    Root,
    /// An extension line is empty.
    #[error("line {0}: an empty line inside the text")]
    Extension(usize),
    /// Signed by the right key, but for a log of another name.
    #[error("a checkpoint of {found:?}, and one of {wanted:?} is needed")]
    OtherLog {
        /// The origin in the text.
        found: String,
        /// The origin we follow.
        wanted: String,
    },
    /// Size 0 with a root other than that of the empty tree.
    #[error("size 0 with the root of some other tree")]
    EmptyRoot,
}

impl Checkpoint {
    /// Reads the text of a checkpoint.
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

    /// The text, without extension lines.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.base64())
    }

    /// Signs the text as the log. A log that signs two roots for one size has forked.
    pub fn sign(&self, secret: &NoteSigningKey) -> Note {
        let mut note = Note::unsigned(&self.text()).expect("an origin has no control characters");
        note.sign(secret);
        note
    }
}

/// A log's size and root, its signature checked. Only [`TreeHead::verify`] makes one.
///
/// It keeps the signed text and the log's line, so two heads that cannot both be
/// true can be shown to anybody.
#[derive(Clone)]
pub struct TreeHead {
    log: LogId,
    size: u64,
    root: Hash,
    note: Arc<str>,
}

impl TreeHead {
    /// Opens a checkpoint of `log`; other signatures on it are dropped.
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

    /// Number of leaves, below 2^63.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// Which log signed it.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// The checkpoint with the log's signature line and no other: [`TreeHead::verify`] reads it again.
    pub fn note(&self) -> &str {
        &self.note
    }
}

/// Equal if they say the same of the same log, whatever their extension lines.
impl PartialEq for TreeHead {
    fn eq(&self, other: &Self) -> bool {
        (self.log, self.size, self.root) == (other.log, other.size, other.root)
    }
}

impl Eq for TreeHead {}

impl fmt::Debug for TreeHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({self})")
    }
}

impl fmt::Display for TreeHead {
    /// `size 12, root 0123456789abcdef`: enough to read aloud.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "size {}, root {}", self.size, &self.root.hex()[..16])
    }
}
