//! Signed notes: a text, an empty line, and signature lines (C2SP signed-note).
//!
//! ```text
//! unanimity/manifest/v1
//! log example.org/log
//! ...
//!
//! — publisher-a 5lkjEt0q...=
//! ```
//!
//! The *last* empty line separates the text from the signature lines. The text ends with a
//! newline. Signatures cover the bytes of the text, with its final newline.
//!
//! A signature line is `— NAME BASE64` (U+2014). The base64 holds a key id of 4 bytes and the
//! signature. A line of an unknown key is ignored. A line with name and id of a known key must
//! verify, or the whole note is refused.

use std::fmt::Write as _;

use crate::encoding;
use crate::key::{KeyId, KeyName, NoteSigningKey, NoteVerifyingKey};
use crate::public_key::PublicKeyBytes;

/// The most bytes of a note: 128 KiB, enough for a checkpoint with many cosignatures.
pub const MAX_NOTE_BYTES: usize = 128 * 1024;
/// The most signature lines of a note. A note with more is refused.
pub const MAX_SIGNATURES: usize = 64;
/// The most bytes of a log entry, because an entry bundle has its length as a `u16` (C2SP
/// tlog-tiles).
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// A note with unverified signature lines. [`Note::open`] verifies them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<SignatureLine>,
}

/// One signature line: the name and id of the claimed signer, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLine {
    /// The name in the line.
    pub name: KeyName,
    /// The key id in the line.
    pub id: KeyId,
    /// The bytes after the key id: 64 for Ed25519, 72 for a cosignature. Lines of unknown types can
    /// have other numbers.
    pub signature: Vec<u8>,
}

/// The reason why bytes are not a note, or why a note does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The note has more than [`MAX_NOTE_BYTES`] bytes.
    #[error("{0} bytes, and a note has at most {MAX_NOTE_BYTES}")]
    TooLong(usize),
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// The line with this number has a control character (below U+0020) other than newline.
    #[error("line {0}: a control character")]
    Control(usize),
    /// The note lacks an empty line followed by signature lines, or a text lacks its final newline.
    #[error("no empty line between the text and its signatures")]
    NoSignatures,
    /// The signature line with this number is not `— NAME BASE64`.
    #[error("signature line {0}: expected '— NAME BASE64'")]
    Line(usize),
    /// The note has more than [`MAX_SIGNATURES`] signature lines.
    #[error("{0} signature lines, and at most {MAX_SIGNATURES} are read")]
    TooManySignatures(usize),
    /// A line with the name and id of a known key does not verify: the note was altered.
    #[error("the signature of {0} does not verify")]
    BadSignature(KeyName),
    /// The note has no signature of a known key.
    #[error("not signed by any key that is trusted here")]
    Unsigned,
}

impl Note {
    /// Reads a note of at most [`MAX_NOTE_BYTES`] bytes and [`MAX_SIGNATURES`] signature lines.
    /// Verifies no signature.
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

    /// Makes a note of `text` without signatures. The text must end with a newline.
    pub fn unsigned(text: &str) -> Result<Note, NoteError> {
        check_characters(text)?;
        if !text.ends_with('\n') {
            return Err(NoteError::NoSignatures);
        }
        Ok(Note { text: text.to_owned(), signatures: Vec::new() })
    }

    /// The text with its final newline: exactly the bytes that are signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, in order, verified or not.
    pub fn signatures(&self) -> &[SignatureLine] {
        &self.signatures
    }

    /// Adds a signature line of `key`.
    pub fn sign(&mut self, key: &NoteSigningKey) {
        let signature = key.sign(self.text.as_bytes()).to_vec();
        let key = key.public();
        self.push(SignatureLine { name: key.name().clone(), id: key.id(), signature });
    }

    pub(crate) fn push(&mut self, line: SignatureLine) {
        self.signatures.push(line);
    }

    /// Verifies the signatures of `keys`, and returns the keys that signed, in the order of `keys`.
    ///
    /// The result has at least one key. A key under two names counts once.
    ///
    /// # Errors
    ///
    /// [`NoteError::Unsigned`] if none of `keys` signed; [`NoteError::BadSignature`] if a line with
    /// the name and id of one of them does not verify.
    pub fn open(&self, keys: &[NoteVerifyingKey]) -> Result<Vec<PublicKeyBytes>, NoteError> {
        let mut signers = Vec::new();
        for key in keys {
            if self.line_by(key)?.is_some() && !signers.contains(&key.raw()) {
                signers.push(key.raw());
            }
        }
        if signers.is_empty() { Err(NoteError::Unsigned) } else { Ok(signers) }
    }

    /// Verifies all signature lines of `key`, and returns the first one. `None` if there is none.
    pub(crate) fn line_by(
        &self,
        key: &NoteVerifyingKey,
    ) -> Result<Option<&SignatureLine>, NoteError> {
        let mut first = None;
        for line in self.lines_naming(key.name(), key.id()) {
            // Ed25519 is deterministic, so a repeated line usually has equal bytes. Such a line
            // need not be verified again.
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
    // Without an early exit the compiler vectorizes this pass. Almost no text has such a character.
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
