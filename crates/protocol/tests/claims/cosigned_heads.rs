//! Claims about cosigned heads, and about the proof that heads are consistent.

use ed25519_dalek::{Signer as _, SigningKey};
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::consistency::Consistency;
use unanimity_protocol::note::NoteError;
use unanimity_protocol::{ConsistentHeads, CosignedHead, Hash, Log, NoteVerifyingKey, Timestamp};

use crate::fixtures::{
    LogWorld, NOW, ORIGIN, cosigner, cosigners, flips, line, note, peer, secret,
};

const EXTENSION: &str = "extension one\nextension two\n";

/// The seed of the first peer's key.
const SEED: [u8; 32] = [51; 32];

fn extended(world: &LogWorld, size: usize) -> String {
    world.checkpoint(size).text() + EXTENSION
}

/// A cosignature line made with Ed25519 and the words of the C2SP specification.
fn by_hand(checkpoint: &str, blob_time: [u8; 8], message_time: &str) -> String {
    let message = format!("cosignature/v1\ntime {message_time}\n{checkpoint}");
    let signature = SigningKey::from_bytes(&SEED).sign(message.as_bytes()).to_bytes();
    let key = peer(1).key;
    line(key.name().as_str(), key.id(), &[&blob_time[..], &signature].concat())
}

fn open(world: &LogWorld, text: &str, lines: &str) -> Result<CosignedHead, CheckpointError> {
    let signed = note(text, &[&world.secret]).to_string() + lines;
    CosignedHead::verify(signed.as_bytes(), &world.log(), &peer(1).key)
}

#[test]
fn cosignature_made_by_the_specification_equals_ours() {
    let world = LogWorld::new(4);
    let text = extended(&world, 4);
    let line = by_hand(&text, NOW.0.to_be_bytes(), &NOW.0.to_string());
    let cosigned = open(&world, &text, &line).unwrap();
    assert_eq!((cosigned.signed_at(), cosigned.head()), (NOW, &world.head(4)));
    assert_eq!(cosigned.cosigner(), peer(1).key.raw());
    let ours = CosignedHead::sign(&world.open(&text), &cosigners(1)[0], NOW);
    assert_eq!(ours.note(), note(&text, &[&world.secret]).to_string() + &line);
    assert_eq!(cosigned.note(), ours.note());
    assert_eq!(
        (ours.signed_at(), ours.head(), ours.cosigner()),
        (cosigned.signed_at(), cosigned.head(), cosigned.cosigner())
    );
}

#[test]
fn cosignature_has_a_big_endian_time_and_covers_extension_lines() {
    let world = LogWorld::new(4);
    let text = extended(&world, 4);
    let time = NOW.0.to_string();
    let right = NOW.0.to_be_bytes();
    let bad = || Err(CheckpointError::Note(NoteError::BadSignature(peer(1).key.name().clone())));
    let wrong = [
        by_hand(&text, NOW.0.to_le_bytes(), &time),
        by_hand(&world.checkpoint(4).text(), right, &time),
        by_hand(&text.replacen("two", "tow", 1), right, &time),
        by_hand(&extended(&world, 3), right, &time),
        by_hand(&text, (NOW.0 + 1).to_be_bytes(), &time),
        by_hand(&text, right, &format!("0{time}")),
        by_hand(&text, right, &format!("{time} ")),
        by_hand(text.trim_end(), right, &time),
    ];
    for line in wrong {
        assert_eq!(open(&world, &text, &line).map(drop), bad(), "{line}");
    }
}

#[test]
fn cosignature_time_of_2_to_the_63_is_refused() {
    let world = LogWorld::new(4);
    let text = extended(&world, 4);
    let at =
        |time: u64| open(&world, &text, &by_hand(&text, time.to_be_bytes(), &time.to_string()));
    assert_eq!(at(0).unwrap().signed_at(), Timestamp(0));
    assert_eq!(at((1 << 63) - 1).unwrap().signed_at(), Timestamp::MAX);
    for time in [1 << 63, (1 << 63) + 1, u64::MAX] {
        assert!(at(time).is_err(), "{time}");
    }
}

#[test]
fn bare_signature_of_the_text_is_no_cosignature() {
    let world = LogWorld::new(4);
    let text = extended(&world, 4);
    let key = peer(1).key;
    let signature = SigningKey::from_bytes(&SEED).sign(text.as_bytes()).to_bytes();
    for blob in [signature.to_vec(), [&NOW.0.to_be_bytes()[..], &signature].concat(), vec![0; 7]] {
        let line = line(key.name().as_str(), key.id(), &blob);
        assert!(open(&world, &text, &line).is_err());
    }
}

#[test]
fn cosigned_head_needs_the_keys_of_the_asked_peer_and_of_the_log() {
    let world = LogWorld::new(4);
    let cosigned = CosignedHead::sign(&world.head(4), &cosigners(1)[0], NOW);
    let bytes = cosigned.note().as_bytes();
    assert!(CosignedHead::verify(bytes, &world.log(), &peer(1).key).is_ok());
    assert_eq!(
        CosignedHead::verify(bytes, &world.log(), &peer(2).key).map(drop),
        Err(NoteError::Unsigned.into())
    );
    // The peer's name with another key, and the peer's key with another name.
    for other in [cosigner("cosigner-1", 99), cosigner("cosigner-9", 51)] {
        let opened = CosignedHead::verify(bytes, &world.log(), &other.public());
        assert_eq!(opened.map(drop), Err(NoteError::Unsigned.into()));
    }
    let other_origin = Log { origin: "example.org/other".parse().unwrap(), key: world.log().key };
    assert!(matches!(
        CosignedHead::verify(bytes, &other_origin, &peer(1).key),
        Err(CheckpointError::OtherLog { .. })
    ));
    let other_key = Log { key: secret("log-key", 101).public(), ..world.log() };
    assert_eq!(
        CosignedHead::verify(bytes, &other_key, &peer(1).key).map(drop),
        Err(NoteError::Unsigned.into())
    );
    // The log's line alone, and the peer's line alone.
    assert!(
        CosignedHead::verify(world.head(4).note().as_bytes(), &world.log(), &peer(1).key).is_err()
    );
    let log_line = cosigned.note().lines().find(|line| line.contains("log-key")).unwrap();
    let without_log_line = cosigned.note().replacen(&format!("{log_line}\n"), "", 1);
    assert!(CosignedHead::verify(without_log_line.as_bytes(), &world.log(), &peer(1).key).is_err());
}

#[test]
fn peer_key_does_not_verify_as_log_key() {
    let world = LogWorld::new(4);
    let as_log = Log {
        origin: world.log().origin,
        key: NoteVerifyingKey::new("cosigner-1".parse().unwrap(), peer(1).key.raw()).unwrap(),
    };
    let cosigned = CosignedHead::sign(&world.head(4), &cosigners(1)[0], NOW);
    assert!(CosignedHead::verify(cosigned.note().as_bytes(), &as_log, &peer(1).key).is_err());
}

#[test]
fn changed_byte_is_refused_unless_it_is_in_another_cosigners_line() {
    let world = LogWorld::new(6);
    let head = world.open(&extended(&world, 6));
    let [one, two] = &cosigners(2)[..] else { panic!("two") };
    let alone = CosignedHead::sign(&head, one, NOW);
    for (at, flipped) in flips(alone.note().as_bytes()) {
        assert!(CosignedHead::verify(&flipped, &world.log(), &peer(1).key).is_err(), "byte {at}");
    }
    for length in 0..alone.note().len() {
        let cut = &alone.note().as_bytes()[..length];
        assert!(CosignedHead::verify(cut, &world.log(), &peer(1).key).is_err(), "cut at {length}");
    }
    let others = CosignedHead::sign(&head, two, NOW);
    let both = alone.note().to_owned()
        + others.note().rsplit_once("\n\n").unwrap().1.split_once('\n').unwrap().1;
    let second = both.rfind("— cosigner-2").unwrap();
    for (at, flipped) in flips(both.as_bytes()).filter(|(at, _)| *at >= second) {
        if let Ok(cosigned) = CosignedHead::verify(&flipped, &world.log(), &peer(1).key) {
            assert_eq!((cosigned.note(), cosigned.signed_at()), (alone.note(), NOW), "byte {at}");
        }
    }
}

#[test]
fn newest_cosignature_counts_and_a_false_one_is_refused() {
    let world = LogWorld::new(4);
    let text = world.checkpoint(4).text();
    let at = |time: u64| by_hand(&text, time.to_be_bytes(), &time.to_string());
    for lines in [at(5) + &at(9), at(9) + &at(5), at(9) + &at(9)] {
        let cosigned = open(&world, &text, &lines).unwrap();
        assert_eq!(cosigned.signed_at(), Timestamp(9));
        assert!(cosigned.note().ends_with(&at(9)));
    }
    let forged = at(9) + &by_hand(&text, 10u64.to_be_bytes(), "9");
    assert!(open(&world, &text, &forged).is_err());
}

#[test]
fn smaller_head_is_linked_by_its_path() {
    let world = LogWorld::new(40);
    let mut heads = ConsistentHeads::new(world.head(40));
    assert_eq!(heads.head(), &world.head(40));
    for old in 1..40 {
        let head = world.head(old);
        assert!(!heads.contains(&head));
        assert_eq!(heads.add(&head, &[]), Consistency::Unproven, "{old} without a path");
        assert_eq!(heads.add(&head, &world.path(old, 40)), Consistency::Consistent);
        assert!(heads.contains(&head));
        assert_eq!(heads.add(&head, &[]), Consistency::Consistent, "a linked head stays linked");
    }
    assert!(heads.contains(&world.head(40)));
}

#[test]
fn path_with_wrong_hashes_proves_nothing() {
    let world = LogWorld::new(20);
    for old in 1..20 {
        let path = world.path(old, 20);
        let mut wrong: Vec<Vec<Hash>> = vec![
            path[1..].to_vec(),
            path[..path.len() - 1].to_vec(),
            [&path[..], &path[..1]].concat(),
            world.path(old, 19),
            world.forked_at(0).path(old, 20),
        ];
        for at in 0..path.len() {
            wrong.push(path.clone());
            wrong.last_mut().unwrap()[at].0[7] ^= 1;
        }
        for path in wrong {
            let mut heads = ConsistentHeads::new(world.head(20));
            assert_eq!(heads.add(&world.head(old), &path), Consistency::Unproven);
            assert!(!heads.contains(&world.head(old)));
        }
    }
}

#[test]
fn head_of_another_history_is_a_fork_and_is_not_linked() {
    let (world, other) = (LogWorld::new(20), LogWorld::new(20).forked_at(3));
    for old in 1..=20 {
        let mut heads = ConsistentHeads::new(world.head(20));
        let link = heads.add(&other.head(old), &world.path(old, 20));
        if old <= 3 {
            assert_eq!(link, Consistency::Consistent, "the histories differ from leaf 3 on");
            continue;
        }
        let Consistency::Fork(evidence) = link else { panic!("size {old}: {link:?}") };
        assert!(!heads.contains(&other.head(old)));
        let pair = [evidence.smaller(), evidence.larger()];
        assert!(pair.contains(&&other.head(old)) && pair.contains(&&world.head(20)));
        // With a path of the other history, nothing is proven.
        if old < 20 {
            assert_eq!(heads.add(&other.head(old), &other.path(old, 20)), Consistency::Unproven);
        }
    }
}

#[test]
fn larger_heads_and_heads_of_other_logs_are_not_linked() {
    let world = LogWorld::new(9);
    let mut heads = ConsistentHeads::new(world.head(8));
    assert_eq!(heads.add(&world.head(9), &world.path(8, 9)), Consistency::Unproven);
    let mut other = LogWorld::new(9);
    other.secret = secret("log-key", 101);
    assert_eq!(heads.add(&other.head(5), &world.path(5, 8)), Consistency::Unproven);
    assert_eq!(heads.add(&other.head(8), &[]), Consistency::Unproven);
    let same_key = Log { origin: "example.org/other".parse().unwrap(), key: world.log().key };
    let text = world.checkpoint(5).text().replacen(ORIGIN, "example.org/other", 1);
    let bytes = note(&text, &[&world.secret]).to_string();
    let head = unanimity_protocol::TreeHead::verify(bytes.as_bytes(), &same_key).unwrap();
    assert_eq!(heads.add(&head, &world.path(5, 8)), Consistency::Unproven);
}

#[test]
fn empty_tree_is_a_prefix_of_every_tree() {
    let world = LogWorld::new(5);
    for path in [vec![], vec![Hash([0; 32])]] {
        let mut heads = ConsistentHeads::new(world.head(5));
        assert_eq!(heads.add(&world.head(0), &path), Consistency::Consistent);
        assert!(heads.contains(&world.head(0)));
    }
    let mut empty = ConsistentHeads::new(world.head(0));
    assert_eq!(empty.add(&world.head(0), &[]), Consistency::Consistent);
    assert_eq!(empty.add(&world.head(1), &[]), Consistency::Unproven);
}

#[test]
fn extension_lines_do_not_make_another_head() {
    let world = LogWorld::new(5);
    let mut heads = ConsistentHeads::new(world.head(5));
    assert_eq!(heads.add(&world.open(&extended(&world, 5)), &[]), Consistency::Consistent);
}
