//! Signed notes: a text, an empty line, signature lines (C2SP signed-note).
//!
//! ```text
//! unanimity/manifest/v1
//! log example.org/log
//! ...
//!
//! — publisher-a 5lkjEt0q...=
//! ```
//!
//! The text ends with a newline, at the *last* empty line. A signature line is
//! `— NAME BASE64` (U+2014); the base64 holds 4 bytes of key id and the
//! signature. Signatures cover the text's bytes, final newline included.
//! A line by an unknown key is ignored; a line that names a known key and does
//! not verify spoils the whole note.

use std::fmt::Write as _;

use crate::encoding;
use crate::key::{KeyId, KeyName, NoteSigningKey, NoteVerifyingKey};
use crate::public_key::PublicKeyBytes;

/// The most bytes of a fetched note: a checkpoint with many cosignatures (ours are far smaller).
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signature lines that are looked at.
pub const MAX_SIGNATURES: usize = 64;
/// The most bytes of a note that is to fit a log entry, whose length is a `u16`.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// A note as read. Nothing about it is verified; [`Note::open`] does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

/// One line below the text: who says that they signed, and the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name in the line.
    pub name: KeyName,
    /// The key id in the line.
    pub id: KeyId,
    /// What follows the key id: 64 bytes for Ed25519, 72 for a cosignature, anything for types unknown to us.
    pub signature: Vec<u8>,
}

/// Why bytes are not a note, or why a note does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More than the bound.
    #[error("{0} bytes, and a note has at most {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A control character other than newline.
    #[error("line {0}: a control character")]
    Control(usize),
    /// There is no empty line followed by signature lines.
    #[error("no empty line between the text and its signatures")]
    NoSignatures,
    /// A signature line that is not `— NAME BASE64`.
    #[error("signature line {0}: expected '— NAME BASE64'")]
    Line(usize),
    /// Too many signature lines.
    #[error("{0} signature lines, and at most {MAX_SIGNATURES} are read")]
    TooManySignatures(usize),
    /// A line bears the name and id of a known key and does not verify: somebody tampered.
    #[error("the signature of {0} does not verify")]
    BadSignature(KeyName),
    /// None of the known keys signed.
    #[error("not signed by any key that is trusted here")]
    Unsigned,
}

impl Note {
    /// Reads a note: UTF-8, at most [`MAX_NOTE_BYTES`] and [`MAX_SIGNATURES`].
    pub fn parse(bytes: &[u8]) -> Result<Note, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong(bytes.len()));
        }
        let whole = str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        check_characters(whole)?;
        let end = whole.rfind("\n\n").ok_or(NoteError::NoSignatures)? + 1;
        let lines = whole[end + 1..].strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let count = lines.bytes().filter(|&c| c == b'\n').count() + 1;
        if count > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures(count));
        }
        let signatures = (lines.split('\n').enumerate())
            .map(|(i, line)| SignatureLine::parse(line).ok_or(NoteError::Line(i + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Note { text: whole[..end].to_owned(), signatures })
    }

    /// A note of `text` with no signature yet. The text has to end with a newline.
    pub fn unsigned(text: &str) -> Result<Note, NoteError> {
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoSignatures);
        }
        Ok(Note { text: text.to_owned(), signatures: Vec::new() })
    }

    /// The text, final newline included: exactly the bytes that are signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order, verified or not.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Adds a signature line by `secret`.
    pub fn sign(&mut self, secret: &NoteSigningKey) {
        let signature = secret.sign(self.text.as_bytes()).to_vec();
        let key = secret.public();
        self.push(SignatureLine { name: key.name().clone(), id: key.id(), signature });
    }

    pub(crate) fn push(&mut self, line: SignatureLine) {
        self.signatures.push(line);
    }

    /// The distinct raw keys among `keys` that signed, in the order of `keys`.
    ///
    /// Never empty: a note that none of them signed is [`NoteError::Unsigned`].
    /// One key under two names counts once.
    pub fn open(&self, keys: &[NoteVerifyingKey]) -> Result<Vec<PublicKeyBytes>, NoteError> {
        let mut signers = Vec::new();
        for key in keys {
            if self.line_by(key)?.is_some() && !signers.contains(&key.raw()) {
                signers.push(key.raw());
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }

    /// The first line by `key`, all of its lines verified.
    pub(crate) fn line_by(
        &self,
        key: &NoteVerifyingKey,
    ) -> Result<Option<&SignatureLine>, NoteError> {
        let mut first = None;
        for line in self.lines_naming(key.name(), key.id()) {
            // A repeated line is the same bytes: Ed25519 is deterministic and verified strictly.
            if first.is_some_and(|first: &SignatureLine| first.signature == line.signature) {
                continue;
            }
            if !key.verifies(self.text.as_bytes(), &line.signature) {
                return Err(NoteError::BadSignature(key.name().clone()));
            }
            first.get_or_insert(line);
        }
        Ok(first)
    }

    pub(crate) fn lines_naming(
        &self,
        name: &KeyName,
        id: KeyId,
    ) -> impl Iterator<Item = &SignatureLine> {
        self.signatures.iter().filter(move |line| line.id == id && line.name == *name)
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        if !self.signatures.is_empty() {
            f.write_char('\n')?;
        }
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl SignatureLine {
    fn parse(line: &str) -> Option<Self> {
        let (name, blob) = line.strip_prefix("— ")?.split_once(' ')?;
        let blob = encoding::from_base64(blob)?;
        let (id, signature) = blob.split_first_chunk::<4>()?;
        if signature.is_empty() {
            return None;
        }
        Some(SignatureLine { name: name.parse().ok()?, id: *id, signature: signature.to_vec() })
    }
}

impl std::fmt::Display for SignatureLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let blob = [&self.id[..], &self.signature].concat();
        write!(f, "— {} {}", self.name, encoding::base64(&blob))
    }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    let control = |c: u8| c < 0x20 && c != b'\n';
    // Without an early end this is one pass of wide instructions, and almost no text has one.
    if !text.bytes().fold(false, |found, c| found | control(c)) {
        return Ok(());
    }
    match text.bytes().position(control) {
        None => Ok(()),
        Some(at) => {
            let before = &text.as_bytes()[..at];
            Err(NoteError::Control(before.iter().filter(|&&c| c == b'\n').count() + 1))
        }
    }
}
