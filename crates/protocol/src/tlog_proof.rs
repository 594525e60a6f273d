//! One entry's inclusion in one head, as a file that other tools read (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 7
//! BASE64(hash), one a line, from the leaf's sibling up
//!
//! CHECKPOINT, with its signatures
//! ```
//!
//! Between the first line and `index` there may be one line `extra BASE64`, which nothing covers.

use crate::line_reader::LineReader;
use crate::tree::MAX_PROOF;
use crate::{
    Hash, TreeHead,
    encoding::{self},
    tree::{self},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A proof as read, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The entry's number, from 0.
    pub index: u64,
    /// The hashes, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The checkpoint, verbatim, with its signatures.
    pub checkpoint: String,
}

/// The text is not a proof; the line says where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0}: not a c2sp.org/tlog-proof@v1")]
pub struct ProofError(pub usize);

impl TlogProof {
    /// Reads a proof; at most [`MAX_PROOF`] hashes.
    pub fn parse(text: &str) -> Result<TlogProof, ProofError> {
        let mut lines = LineReader::new(text);
        TlogProof::read(&mut lines).ok_or(ProofError(lines.line_number().max(1)))
    }

    fn read(lines: &mut LineReader<'_>) -> Option<TlogProof> {
        if lines.line()? != HEADER {
            return None;
        }
        if lines.peek().starts_with("extra ") {
            encoding::from_base64(lines.field("extra")?)?;
        }
        let index = encoding::decimal(lines.field("index")?)?;
        let mut hashes = Vec::new();
        loop {
            match lines.line()? {
                "" => break,
                line if hashes.len() < MAX_PROOF => hashes.push(Hash::from_base64(line)?),
                _ => return None,
            }
        }
        let mut checkpoint = String::new();
        while !lines.is_at_end() {
            checkpoint += lines.line()?;
            checkpoint.push('\n');
        }
        (!checkpoint.is_empty()).then_some(TlogProof { index, hashes, checkpoint })
    }

    /// Whether the leaf is in `head`'s tree where the proof says. The caller opened
    /// [`TlogProof::checkpoint`] into `head`.
    pub fn verify(&self, leaf: &Hash, head: &TreeHead) -> bool {
        tree::verify_inclusion(self.index, head.size(), leaf, &self.hashes, head.root())
    }
}

impl std::fmt::Display for TlogProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}\nindex {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", hash.base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}
