//! Views, and joining the heads in them to one chain.

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

/// A cosignature line made with nothing but Ed25519 and the words of the specification.
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
fn a_cosignature_made_by_hand_opens_and_is_the_one_we_make() {
    let world = LogWorld::new(4);
    let text = extended(&world, 4);
    let line = by_hand(&text, NOW.0.to_be_bytes(), &NOW.0.to_string());
    let view = open(&world, &text, &line).unwrap();
    assert_eq!((view.signed_at(), view.head()), (NOW, &world.head(4)));
    assert_eq!(view.cosigner(), peer(1).key.raw());
    let ours = CosignedHead::sign(&world.open(&text), &cosigners(1)[0], NOW);
    assert_eq!(ours.note(), note(&text, &[&world.secret]).to_string() + &line);
    assert_eq!(view.note(), ours.note());
    assert_eq!(
        (ours.signed_at(), ours.head(), ours.cosigner()),
        (view.signed_at(), view.head(), view.cosigner())
    );
}

#[test]
fn the_time_is_big_endian_and_the_extension_lines_are_covered() {
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
fn a_time_of_2_to_the_63_is_refused() {
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
fn a_bare_signature_of_the_text_is_no_cosignature() {
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
fn a_view_is_of_the_peer_that_was_asked_and_of_the_log_that_was_meant() {
    let world = LogWorld::new(4);
    let view = CosignedHead::sign(&world.head(4), &cosigners(1)[0], NOW);
    let bytes = view.note().as_bytes();
    assert!(CosignedHead::verify(bytes, &world.log(), &peer(1).key).is_ok());
    assert_eq!(
        CosignedHead::verify(bytes, &world.log(), &peer(2).key).map(drop),
        Err(NoteError::Unsigned.into())
    );
    // The same name with another key, the same key under another name.
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
    // The log's line alone, the peer's line alone.
    assert!(
        CosignedHead::verify(world.head(4).note().as_bytes(), &world.log(), &peer(1).key).is_err()
    );
    let logs_line = view.note().lines().find(|line| line.contains("log-key")).unwrap();
    let peers_alone = view.note().replacen(&format!("{logs_line}\n"), "", 1);
    assert!(CosignedHead::verify(peers_alone.as_bytes(), &world.log(), &peer(1).key).is_err());
}

#[test]
fn a_peers_key_does_not_pass_for_the_logs() {
    let world = LogWorld::new(4);
    let as_log = Log {
        origin: world.log().origin,
        key: NoteVerifyingKey::new("cosigner-1".parse().unwrap(), peer(1).key.raw()).unwrap(),
    };
    let view = CosignedHead::sign(&world.head(4), &cosigners(1)[0], NOW);
    assert!(CosignedHead::verify(view.note().as_bytes(), &as_log, &peer(1).key).is_err());
}

#[test]
fn a_changed_byte_is_refused_or_is_in_a_line_of_somebody_else() {
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
    let theirs = both.rfind("— cosigner-2").unwrap();
    for (at, flipped) in flips(both.as_bytes()).filter(|(at, _)| *at >= theirs) {
        if let Ok(view) = CosignedHead::verify(&flipped, &world.log(), &peer(1).key) {
            assert_eq!((view.note(), view.signed_at()), (alone.note(), NOW), "byte {at}");
        }
    }
}

#[test]
fn of_two_cosignatures_the_newest_counts_and_a_false_one_spoils() {
    let world = LogWorld::new(4);
    let text = world.checkpoint(4).text();
    let at = |time: u64| by_hand(&text, time.to_be_bytes(), &time.to_string());
    for lines in [at(5) + &at(9), at(9) + &at(5), at(9) + &at(9)] {
        let view = open(&world, &text, &lines).unwrap();
        assert_eq!(view.signed_at(), Timestamp(9));
        assert!(view.note().ends_with(&at(9)));
    }
    let spoilt = at(9) + &by_hand(&text, 10u64.to_be_bytes(), "9");
    assert!(open(&world, &text, &spoilt).is_err());
}

#[test]
fn a_smaller_head_is_joined_by_its_path() {
    let world = LogWorld::new(40);
    let mut chain = ConsistentHeads::new(world.head(40));
    assert_eq!(chain.head(), &world.head(40));
    for old in 1..40 {
        let head = world.head(old);
        assert!(!chain.contains(&head));
        assert_eq!(chain.add(&head, &[]), Consistency::Unproven, "{old} without a path");
        assert_eq!(chain.add(&head, &world.path(old, 40)), Consistency::Consistent);
        assert!(chain.contains(&head));
        assert_eq!(chain.add(&head, &[]), Consistency::Consistent, "once joined, joined");
    }
    assert!(chain.contains(&world.head(40)));
}

#[test]
fn a_path_that_does_not_hash_up_shows_nothing() {
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
            let mut chain = ConsistentHeads::new(world.head(20));
            assert_eq!(chain.add(&world.head(old), &path), Consistency::Unproven);
            assert!(!chain.contains(&world.head(old)));
        }
    }
}

#[test]
fn a_head_of_another_history_is_a_fork_and_is_not_joined() {
    let (world, other) = (LogWorld::new(20), LogWorld::new(20).forked_at(3));
    for old in 1..=20 {
        let mut chain = ConsistentHeads::new(world.head(20));
        let link = chain.add(&other.head(old), &world.path(old, 20));
        if old <= 3 {
            assert_eq!(link, Consistency::Consistent, "the histories part later");
            continue;
        }
        let Consistency::Fork(evidence) = link else { panic!("size {old}: {link:?}") };
        assert!(!chain.contains(&other.head(old)));
        let heads = [evidence.smaller(), evidence.larger()];
        assert!(heads.contains(&&other.head(old)) && heads.contains(&&world.head(20)));
        // With the other history's path it shows nothing about this chain.
        if old < 20 {
            assert_eq!(chain.add(&other.head(old), &other.path(old, 20)), Consistency::Unproven);
        }
    }
}

#[test]
fn larger_heads_and_other_logs_are_not_joined() {
    let world = LogWorld::new(9);
    let mut chain = ConsistentHeads::new(world.head(8));
    assert_eq!(chain.add(&world.head(9), &world.path(8, 9)), Consistency::Unproven);
    let mut other = LogWorld::new(9);
    other.secret = secret("log-key", 101);
    assert_eq!(chain.add(&other.head(5), &world.path(5, 8)), Consistency::Unproven);
    assert_eq!(chain.add(&other.head(8), &[]), Consistency::Unproven);
    let same_key = Log { origin: "example.org/other".parse().unwrap(), key: world.log().key };
    let text = world.checkpoint(5).text().replacen(ORIGIN, "example.org/other", 1);
    let bytes = note(&text, &[&world.secret]).to_string();
    let head = unanimity_protocol::TreeHead::verify(bytes.as_bytes(), &same_key).unwrap();
    assert_eq!(chain.add(&head, &world.path(5, 8)), Consistency::Unproven);
}

#[test]
fn the_empty_tree_is_a_prefix_of_every_tree() {
    let world = LogWorld::new(5);
    for path in [vec![], vec![Hash([0; 32])]] {
        let mut chain = ConsistentHeads::new(world.head(5));
        assert_eq!(chain.add(&world.head(0), &path), Consistency::Consistent);
        assert!(chain.contains(&world.head(0)));
    }
    let mut empty = ConsistentHeads::new(world.head(0));
    assert_eq!(empty.add(&world.head(0), &[]), Consistency::Consistent);
    assert_eq!(empty.add(&world.head(1), &[]), Consistency::Unproven);
}

#[test]
fn extension_lines_make_no_other_head() {
    let world = LogWorld::new(5);
    let mut chain = ConsistentHeads::new(world.head(5));
    assert_eq!(chain.add(&world.open(&extended(&world, 5)), &[]), Consistency::Consistent);
}
