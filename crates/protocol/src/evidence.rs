//! Evidence of a fork: two checkpoints of one log that contradict each other, with the proof.
//!
//! ```text
//! unanimity/evidence/v1
//! path 2
//! BASE64(hash), two lines
//! checkpoint 214
//! (214 bytes: the smaller tree's checkpoint with the log's signature)
//! checkpoint 215
//! (215 bytes: the larger tree's checkpoint with the log's signature)
//! ```
//!
//! Evidence has one of two forms:
//!
//! * One size and two roots. The path is empty.
//! * Two sizes. The path has the hashes of
//!   [`consistency_ranges`](crate::tree::consistency_ranges). It gives the signed root of the
//!   larger size. For the smaller size it gives a root that differs from the signed root.
//!
//! A path that gives the root of the larger tree consists of true hashes of that tree. So no path
//! turns two heads of an honest log into evidence. The log's key is enough to verify evidence.

use crate::checkpoint::{Checkpoint, CheckpointError, Log, TreeHead};
use crate::line_reader::LineReader;
use crate::note::{Note, NoteError};
use crate::tree::{MAX_PROOF, consistency_roots};
use crate::{Hash, NoteVerifyingKey, encoding};

const HEADER: &str = "unanimity/evidence/v1";

/// The most bytes of evidence: 8 KiB, enough for two checkpoints and a path.
///
/// Evidence fits into one message between peers.
pub const MAX_EVIDENCE_BYTES: usize = 8 * 1024;

/// Proof that a log's key signed two contradicting tree heads. Only functions that check the
/// contradiction construct this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    smaller: TreeHead,
    larger: TreeHead,
    path: Vec<Hash>,
}

/// The reason why a text is not evidence against the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The text has more than [`MAX_EVIDENCE_BYTES`].
    #[error("evidence has at most {MAX_EVIDENCE_BYTES} bytes")]
    TooLong,
    /// The text is malformed at the line with this number, or directly after that line.
    #[error("line {0}: not a unanimity/evidence/v1")]
    Form(usize),
    /// One of the checkpoints is not of the log, or the log's signature does not verify.
    #[error("one of its checkpoints does not verify")]
    Checkpoint(#[from] CheckpointError),
    /// The text does not prove that its two checkpoints contradict each other.
    #[error("it proves nothing: both checkpoints can be true")]
    NoContradiction,
}

impl Evidence {
    /// Makes evidence if two heads contradict each other.
    ///
    /// Two heads of one size contradict each other if their roots differ; `path` must be empty. Two
    /// heads of different sizes do if `path` gives the root of the larger head, and for the smaller
    /// size a root that differs from the smaller head's. `a` and `b` may be in any order.
    pub fn from_heads(a: &TreeHead, b: &TreeHead, path: &[Hash]) -> Option<Evidence> {
        let (smaller, larger) = if a.size() <= b.size() { (a, b) } else { (b, a) };
        let contradiction = smaller.log() == larger.log()
            && if smaller.size() == larger.size() {
                path.is_empty() && smaller.root() != larger.root()
            } else {
                consistency_roots(smaller.size(), larger.size(), path)
                    .is_some_and(|(old, new)| new == *larger.root() && old != *smaller.root())
            };
        contradiction.then(|| {
            // Two heads in a fixed order have one text, whatever the order of `a` and `b`.
            let mut pair = [smaller.clone(), larger.clone()];
            pair.sort_by_key(|head| (head.size(), *head.root()));
            let [smaller, larger] = pair;
            Evidence { smaller, larger, path: path.to_vec() }
        })
    }

    /// Reads evidence and verifies it against `log`.
    pub fn verify(text: &str, log: &Log) -> Result<Evidence, EvidenceError> {
        let (path, [smaller, larger]) = parse(text)?;
        let (smaller, larger) =
            (TreeHead::verify(smaller.as_bytes(), log)?, TreeHead::verify(larger.as_bytes(), log)?);
        if smaller.size() > larger.size() {
            return Err(EvidenceError::NoContradiction);
        }
        Evidence::from_heads(&smaller, &larger, &path).ok_or(EvidenceError::NoContradiction)
    }

    /// Reads evidence and verifies it with the log's key alone.
    ///
    /// The origin is taken from the first checkpoint. The second one must have the same origin.
    pub fn verify_with_key(text: &str, key: &NoteVerifyingKey) -> Result<Evidence, EvidenceError> {
        let (_, [smaller, _]) = parse(text)?;
        let note = Note::parse(smaller.as_bytes()).map_err(CheckpointError::from)?;
        let origin = Checkpoint::parse(note.text())?.origin;
        Evidence::verify(text, &Log { origin, key: key.clone() })
    }

    /// The head of the smaller tree; of two heads of one size, the head with the smaller root.
    pub fn smaller(&self) -> &TreeHead {
        &self.smaller
    }

    /// The head of the larger tree; of two heads of one size, the head with the larger root.
    pub fn larger(&self) -> &TreeHead {
        &self.larger
    }

    /// The id of the evidence: the first 32 hex digits of SHA-256 over both sizes and roots.
    ///
    /// Extension lines and the path do not change the id.
    pub fn id(&self) -> String {
        let pair =
            [&self.smaller, &self.larger].map(|head| format!("{} {}\n", head.size(), head.root()));
        Hash::digest(pair.concat().as_bytes()).hex()[..32].to_owned()
    }
}

impl std::fmt::Display for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}\npath {}", self.path.len())?;
        self.path.iter().try_for_each(|hash| writeln!(f, "{}", hash.base64()))?;
        for head in [&self.smaller, &self.larger] {
            write!(f, "checkpoint {}\n{}", head.note().len(), head.note())?;
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<(Vec<Hash>, [&str; 2]), EvidenceError> {
    if text.len() > MAX_EVIDENCE_BYTES {
        return Err(EvidenceError::TooLong);
    }
    let mut lines = LineReader::new(text);
    let parts = (|| {
        if lines.line()? != HEADER {
            return None;
        }
        let count = encoding::decimal(lines.field("path")?)?;
        let path = lines.hashes(count, MAX_PROOF)?;
        let mut checkpoint = || {
            let length = encoding::decimal(lines.field("checkpoint")?)?;
            lines.block(length)
        };
        Some((path, [checkpoint()?, checkpoint()?]))
    })();
    match parts {
        Some(parts) if lines.is_at_end() => Ok(parts),
        _ => Err(EvidenceError::Form(lines.line_number().max(1))),
    }
}

impl From<NoteError> for EvidenceError {
    fn from(error: NoteError) -> Self {
        EvidenceError::Checkpoint(error.into())
    }
}
