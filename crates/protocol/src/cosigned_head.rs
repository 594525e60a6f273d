//! Cosigned heads: checkpoints that a witness cosigned (C2SP tlog-cosignature, type 0x04).
//!
//! The cosignature covers `cosignature/v1\ntime SECONDS\n` and the whole text of the checkpoint,
//! with its extension lines. The signature line has the time as a big-endian `u64` and 64 bytes of
//! Ed25519.
//!
//! The cosignature means: at that time, this was the largest head of the log that the witness had
//! verified.

use std::fmt;
use std::sync::Arc;

use crate::checkpoint::{CheckpointError, Log, TreeHead};
use crate::note::{Note, NoteError, SignatureLine};
use crate::{CosignatureSigningKey, CosignatureVerifyingKey, PublicKeyBytes, Timestamp};

/// A tree head that a witness cosigned at a time.
///
/// Only [`CosignedHead::verify`] and [`CosignedHead::sign`] make one.
#[derive(Clone)]
pub struct CosignedHead {
    head: TreeHead,
    at: Timestamp,
    cosigner: PublicKeyBytes,
    note: Arc<str>,
}

impl CosignedHead {
    /// Verifies a checkpoint that `log` signed and `peer` cosigned.
    ///
    /// If the peer has several cosignatures, all must verify, and the newest counts.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the bytes are not a checkpoint of `log`, or if the cosignature is
    /// missing or does not verify.
    pub fn verify(
        bytes: &[u8],
        log: &Log,
        peer: &CosignatureVerifyingKey,
    ) -> Result<CosignedHead, CheckpointError> {
        let note = Note::parse(bytes)?;
        let head = TreeHead::verify_note(&note, log)?;
        let mut newest: Option<(Timestamp, &SignatureLine)> = None;
        for line in note.lines_naming(peer.name(), peer.id()) {
            let at = verify_line(note.text(), line, peer)
                .ok_or_else(|| NoteError::BadSignature(peer.name().clone()))?;
            if newest.is_none_or(|(time, _)| time < at) {
                newest = Some((at, line));
            }
        }
        let (at, line) = newest.ok_or(NoteError::Unsigned)?;
        let note = format!("{}{line}\n", head.note()).into();
        Ok(CosignedHead { head, at, cosigner: peer.raw(), note })
    }

    /// Cosigns a head.
    ///
    /// The caller must have verified that `head` extends every head that this key cosigned before,
    /// and must have stored `head` durably.
    pub fn sign(head: &TreeHead, key: &CosignatureSigningKey, at: Timestamp) -> CosignedHead {
        let text = head.note().rsplit_once("\n\n").map_or("", |(text, _)| text).to_owned() + "\n";
        let signature = key.sign(&message(&text, at));
        let key = key.public();
        let signature = [&at.0.to_be_bytes()[..], &signature].concat();
        let line = SignatureLine { name: key.name().clone(), id: key.id(), signature };
        let note = format!("{}{line}\n", head.note()).into();
        CosignedHead { head: head.clone(), at, cosigner: key.raw(), note }
    }

    /// The tree head that was cosigned.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// The time in the cosignature.
    pub fn signed_at(&self) -> Timestamp {
        self.at
    }

    /// The public key of the witness that cosigned.
    pub fn cosigner(&self) -> PublicKeyBytes {
        self.cosigner
    }

    /// The checkpoint with two signature lines: the log's and the cosigner's.
    pub fn note(&self) -> &str {
        &self.note
    }
}

impl fmt::Debug for CosignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignedHead({} at {})", self.head, self.at)
    }
}

fn verify_line(
    text: &str,
    line: &SignatureLine,
    peer: &CosignatureVerifyingKey,
) -> Option<Timestamp> {
    let (time, signature) = line.signature.split_first_chunk::<8>()?;
    let at = Timestamp(u64::from_be_bytes(*time));
    (at <= Timestamp::MAX && peer.verifies(&message(text, at), signature)).then_some(at)
}

fn message(text: &str, at: Timestamp) -> Vec<u8> {
    format!("cosignature/v1\ntime {}\n{text}", at.0).into_bytes()
}
