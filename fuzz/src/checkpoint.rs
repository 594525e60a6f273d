//! Checkpoints, heads and views: the text of a note, and the same text signed by the log and cosigned
//! by a peer.
//!
//! A text that is no checkpoint of the log opens for no signature. One that is opens to what it says,
//! and what is kept of it opens again to an equal head or view.

use unanimity_protocol::checkpoint::MAX_CHECKPOINT_TEXT;
use unanimity_protocol::{Checkpoint, CosignedHead, Note, Timestamp, TreeHead};

use crate::keys::KEYS;

/// Checks one checkpoint with its signatures.
pub fn check(data: &[u8]) {
    let key = KEYS.peer_secrets[0].public();
    if let Ok(head) = TreeHead::verify(data, &KEYS.log) {
        again(&head);
    }
    if let Ok(view) = CosignedHead::verify(data, &KEYS.log, &key) {
        view_again(&view);
    }
    let Ok(note) = Note::parse(data) else { return };
    let mut signed = Note::unsigned(note.text()).expect("the text of a note");
    signed.sign(&KEYS.log_secret);
    let opened = TreeHead::verify(signed.to_string().as_bytes(), &KEYS.log);
    let checkpoint = match Checkpoint::parse(note.text()) {
        Ok(checkpoint) if checkpoint.origin == KEYS.log.origin => checkpoint,
        _ => {
            assert!(opened.is_err(), "a head of something that is none of the log's");
            return;
        }
    };
    assert!(note.text().len() <= MAX_CHECKPOINT_TEXT);
    assert!(note.text().starts_with(&checkpoint.text()));
    assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
    let head = opened.expect("a checkpoint that the log signed");
    assert_eq!((head.size(), *head.root()), (checkpoint.size, checkpoint.root));
    again(&head);
    let view = CosignedHead::sign(&head, &KEYS.peer_secrets[0], Timestamp(checkpoint.size));
    view_again(&view);
    let other = KEYS.peer_secrets[1].public();
    assert!(CosignedHead::verify(view.note().as_bytes(), &KEYS.log, &other).is_err());
}

fn again(head: &TreeHead) {
    assert!(head.size() < 1 << 63);
    let again = TreeHead::verify(head.note().as_bytes(), &KEYS.log).expect("what a head keeps");
    assert_eq!((&again, again.note()), (head, head.note()));
}

fn view_again(view: &CosignedHead) {
    assert!(view.signed_at() <= Timestamp::MAX);
    again(view.head());
    let key = KEYS.peer_secrets[0].public();
    let again =
        CosignedHead::verify(view.note().as_bytes(), &KEYS.log, &key).expect("what a view keeps");
    assert_eq!(again.head(), view.head());
    assert_eq!((again.signed_at(), again.cosigner()), (view.signed_at(), view.cosigner()));
    assert_eq!(again.note(), view.note());
}
