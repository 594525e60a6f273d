//! A peer's view: a checkpoint that the peer cosigned (C2SP tlog-cosignature, type 0x04).
//!
//! The cosignature covers `cosignature/v1\ntime SECONDS\n` and the checkpoint's whole
//! text, extension lines included; its blob is the time as a big-endian `u64`, then 64
//! bytes of Ed25519. It means: at that time this was the largest head of the log that
//! the cosigner had verified.

use std::fmt;
use std::sync::Arc;

use crate::checkpoint::{CheckpointError, Log, TreeHead};
use crate::note::{Note, NoteError, SignatureLine};
use crate::{CosignatureSigningKey, CosignatureVerifyingKey, PublicKeyBytes, Timestamp};

/// A head that a peer vouched for at a time. Only [`CosignedHead::verify`] and [`CosignedHead::sign`] make one.
#[derive(Clone)]
pub struct CosignedHead {
    head: TreeHead,
    at: Timestamp,
    cosigner: PublicKeyBytes,
    note: Arc<str>,
}

impl CosignedHead {
    /// Opens a checkpoint that `log` signed and `peer` cosigned.
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

    /// Cosigns a head. The caller has verified that it extends every head it cosigned before,
    /// and has stored it durably.
    pub fn sign(head: &TreeHead, secret: &CosignatureSigningKey, at: Timestamp) -> CosignedHead {
        let text = head.note().rsplit_once("\n\n").map_or("", |(text, _)| text).to_owned() + "\n";
        let signature = secret.sign(&message(&text, at));
        let key = secret.public();
        let signature = [&at.0.to_be_bytes()[..], &signature].concat();
        let line = SignatureLine { name: key.name().clone(), id: key.id(), signature };
        let note = format!("{}{line}\n", head.note()).into();
        CosignedHead { head: head.clone(), at, cosigner: key.raw(), note }
    }

    /// What was vouched for.
    pub fn head(&self) -> &TreeHead {
        &self.head
    }

    /// When.
    pub fn signed_at(&self) -> Timestamp {
        self.at
    }

    /// By which key.
    pub fn cosigner(&self) -> PublicKeyBytes {
        self.cosigner
    }

    /// The checkpoint with the log's line and the cosigner's, and no other.
    pub fn note(&self) -> &str {
        &self.note
    }
}

impl fmt::Debug for CosignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} at {})", self.head, self.at)
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
