//! Proof files: the inclusion of one entry in one head, readable by other tools (C2SP tlog-proof).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 7
//! BASE64(hash), one a line, from the leaf's sibling up
//!
//! CHECKPOINT, with its signatures
//! ```
//!
//! One line `extra BASE64` may follow the first line. No signature covers it, and it is ignored.

use crate::line_reader::LineReader;
use crate::tree::MAX_PROOF;
use crate::{
    Hash, TreeHead,
    encoding::{self},
    tree::{self},
};

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// A parsed proof file, of which nothing is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlogProof {
    /// The claimed number of the entry in the log, from 0.
    pub index: u64,
    /// The hashes of the inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The checkpoint with its signatures, verbatim.
    pub checkpoint: String,
}

/// The error for a proof file that is malformed at the line with this number, or directly after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {0}: not a c2sp.org/tlog-proof@v1")]
pub struct ProofError(pub usize);

impl TlogProof {
    /// Reads a proof of at most [`MAX_PROOF`] hashes.
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

    /// Whether `leaf` has the number [`TlogProof::index`] in the tree of `head`.
    ///
    /// `head` must be the tree head that the caller got by verifying [`TlogProof::checkpoint`].
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
