//! Checkpoints, tree heads and cosigned heads: the note as the fuzzer wrote it, and its text signed
//! by the log and cosigned by a peer.
//!
//! A text that is not a checkpoint of the log does not verify, even if the log's key signed it. A
//! signed checkpoint verifies to its own size and root. The note of a verified tree head or
//! cosigned head verifies again to an equal value.

use unanimity_protocol::checkpoint::MAX_CHECKPOINT_TEXT;
use unanimity_protocol::{Checkpoint, CosignedHead, Note, Timestamp, TreeHead};

use crate::keys::KEYS;

/// Checks one note as a tree head and as a cosigned head, then its text with new signatures.
pub fn check(data: &[u8]) {
    let key = KEYS.peer_secrets[0].public();
    if let Ok(head) = TreeHead::verify(data, &KEYS.log) {
        verifies_again(&head);
    }
    if let Ok(cosigned) = CosignedHead::verify(data, &KEYS.log, &key) {
        cosigned_verifies_again(&cosigned);
    }
    let Ok(note) = Note::parse(data) else { return };
    let mut signed = Note::unsigned(note.text()).expect("the text of a note");
    signed.sign(&KEYS.log_secret);
    let opened = TreeHead::verify(signed.to_string().as_bytes(), &KEYS.log);
    let checkpoint = match Checkpoint::parse(note.text()) {
        Ok(checkpoint) if checkpoint.origin == KEYS.log.origin => checkpoint,
        _ => {
            assert!(opened.is_err(), "verified a text that is not a checkpoint of the log");
            return;
        }
    };
    assert!(note.text().len() <= MAX_CHECKPOINT_TEXT);
    assert!(note.text().starts_with(&checkpoint.text()));
    assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
    let head = opened.expect("a checkpoint that the log signed");
    assert_eq!((head.size(), *head.root()), (checkpoint.size, checkpoint.root));
    verifies_again(&head);
    let cosigned = CosignedHead::sign(&head, &KEYS.peer_secrets[0], Timestamp(checkpoint.size));
    cosigned_verifies_again(&cosigned);
    let other = KEYS.peer_secrets[1].public();
    assert!(CosignedHead::verify(cosigned.note().as_bytes(), &KEYS.log, &other).is_err());
}

fn verifies_again(head: &TreeHead) {
    assert!(head.size() < 1 << 63);
    let again = TreeHead::verify(head.note().as_bytes(), &KEYS.log).expect("the note of a head");
    assert_eq!((&again, again.note()), (head, head.note()));
}

fn cosigned_verifies_again(cosigned: &CosignedHead) {
    assert!(cosigned.signed_at() <= Timestamp::MAX);
    verifies_again(cosigned.head());
    let key = KEYS.peer_secrets[0].public();
    let again = CosignedHead::verify(cosigned.note().as_bytes(), &KEYS.log, &key)
        .expect("the note of a cosigned head");
    assert_eq!(again.head(), cosigned.head());
    assert_eq!((again.signed_at(), again.cosigner()), (cosigned.signed_at(), cosigned.cosigner()));
    assert_eq!(again.note(), cosigned.note());
}
