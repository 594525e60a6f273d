//! Claims about evidence: every fork has evidence, and no honest log has any.

use proptest::prelude::*;
use unanimity_protocol::evidence::{EvidenceError, MAX_EVIDENCE_BYTES};
use unanimity_protocol::{Checkpoint, Evidence, Hash, Log, TreeHead};
use unanimity_testkit::rfc6962 as naive;

use crate::fixtures::{LogWorld, ORIGIN, base64, cases, flips, leaves, note, publishers, secret};

const SIZE: usize = 40;

/// Two logs with one key and different leaves from leaf 3 on.
fn fork() -> (LogWorld, LogWorld) {
    (LogWorld::new(SIZE), LogWorld::new(SIZE).forked_at(3))
}

/// Asserts that the text of evidence verifies with the log, and with the log's key alone.
fn assert_verifies_again(evidence: &Evidence, world: &LogWorld) {
    let text = evidence.to_string();
    assert_eq!(Evidence::verify(&text, &world.log()).as_ref(), Ok(evidence));
    let opened = Evidence::verify_with_key(&text, &world.log().key).unwrap();
    assert_eq!((opened.to_string(), opened.id()), (text, evidence.id()));
}

/// The text form of evidence with any heads and any path.
fn text(path: &[Hash], smaller: &TreeHead, larger: &TreeHead) -> String {
    let mut text = format!("unanimity/evidence/v1\npath {}\n", path.len());
    path.iter().for_each(|hash| text += &format!("{}\n", hash.base64()));
    for head in [smaller, larger] {
        text += &format!("checkpoint {}\n{}", head.note().len(), head.note());
    }
    text
}

/// Asserts that two heads and a path are no evidence, in either order, as values and as text.
fn assert_no_evidence(world: &LogWorld, a: &TreeHead, b: &TreeHead, path: &[Hash]) {
    assert_eq!(Evidence::from_heads(a, b, path), None, "{a:?} {b:?} {path:?}");
    assert_eq!(Evidence::from_heads(b, a, path), None, "{b:?} {a:?} {path:?}");
    // Verifying a text is slow, and its heads are checked above, so only some paths are verified.
    if path.len().is_multiple_of(7) {
        for text in [text(path, a, b), text(path, b, a)] {
            assert!(Evidence::verify(&text, &world.log()).is_err());
        }
    }
}

#[test]
fn two_roots_of_one_size_are_evidence() {
    let (world, other) = fork();
    for size in 4..=SIZE {
        let (a, b) = (world.head(size), other.head(size));
        let evidence = Evidence::from_heads(&a, &b, &[]).unwrap();
        assert_eq!(
            Some(&evidence),
            Evidence::from_heads(&b, &a, &[]).as_ref(),
            "one text for one pair"
        );
        assert!(evidence.smaller().root() < evidence.larger().root());
        assert_verifies_again(&evidence, &world);
        assert_eq!(
            Evidence::from_heads(&a, &b, &[Hash([0; 32])]),
            None,
            "two roots of one size need an empty path"
        );
    }
}

#[test]
fn smaller_head_that_is_no_prefix_of_the_larger_is_evidence() {
    let (world, other) = fork();
    let mut powers_of_two = 0;
    for old in 4..SIZE {
        let path = world.path(old, SIZE);
        let (smaller, larger) = (other.head(old), world.head(SIZE));
        let evidence = Evidence::from_heads(&smaller, &larger, &path).unwrap();
        assert_eq!(Some(&evidence), Evidence::from_heads(&larger, &smaller, &path).as_ref());
        assert_eq!((evidence.smaller(), evidence.larger()), (&smaller, &larger));
        assert_eq!(evidence.to_string(), text(&path, &smaller, &larger));
        assert_verifies_again(&evidence, &world);
        powers_of_two += u32::from(old.is_power_of_two());
        // A path of the wrong tree proves nothing. Neither does a path without its first hash.
        assert_eq!(Evidence::from_heads(&smaller, &larger, &other.path(old, SIZE)), None);
        assert_eq!(Evidence::from_heads(&smaller, &larger, &path[1..]), None);
        assert_eq!(Evidence::from_heads(&smaller, &larger, &[]), None);
    }
    assert_eq!(powers_of_two, 4, "4, 8, 16 and 32 were among them");
}

#[test]
fn evidence_of_two_heads_has_one_text_whatever_their_order() {
    let (world, other) = fork();
    let (a, b) = (world.head(20), other.head(20));
    let evidence = Evidence::from_heads(&a, &b, &[]).unwrap();
    for swapped in [text(&[], &a, &b), text(&[], &b, &a)] {
        let opened = Evidence::verify(&swapped, &world.log()).unwrap();
        assert_eq!(opened.to_string(), evidence.to_string());
        assert_eq!(opened.id(), evidence.id());
    }
    assert_eq!(evidence.id().len(), 32);
    assert_ne!(
        evidence.id(),
        Evidence::from_heads(&world.head(21), &other.head(21), &[]).unwrap().id()
    );
}

#[test]
fn heads_of_an_honest_log_are_no_evidence_with_any_path_of_its_tree() {
    let world = LogWorld::new(SIZE);
    let heads: Vec<TreeHead> = (0..=SIZE).map(|size| world.head(size)).collect();
    for new in 0..=SIZE {
        for old in 0..=new {
            let (a, b) = (&heads[old], &heads[new]);
            let full = world.path(old, new);
            let mut paths = vec![Vec::new(), full.clone()];
            if old > 0 && old < new {
                paths.push(naive::proof(old, &world.leaves[..new]));
                paths.push(world.path(old, SIZE));
            }
            if old > 1 {
                paths.push(world.path(old - 1, new));
            }
            paths.iter().for_each(|path| assert_no_evidence(&world, a, b, path));
        }
    }
}

#[test]
fn altered_path_is_no_evidence_against_an_honest_log() {
    let world = LogWorld::new(24);
    let fork = world.forked_at(2);
    for new in 2..=24 {
        for old in 1..new {
            let (a, b) = (&world.head(old), &world.head(new));
            let path = world.path(old, new);
            let mut wrong = vec![
                path[1..].to_vec(),
                path[..path.len() - 1].to_vec(),
                [&path[..1], &path].concat(),
                [&path[..], &path[..1]].concat(),
                [&[*a.root()], &path[..]].concat(),
                path.iter().rev().copied().collect(),
                fork.path(old, new),
                vec![*b.root()],
                vec![*a.root()],
                vec![*b.root(); path.len()],
            ];
            for at in 0..path.len() {
                for change in [*a.root(), *b.root(), fork.root(old), Hash([0; 32])] {
                    let mut altered = path.clone();
                    altered[at] = change;
                    wrong.push(altered);
                }
                let mut altered = path.clone();
                altered[at].0[at % 32] ^= 1;
                wrong.push(altered);
            }
            wrong.iter().for_each(|path| assert_no_evidence(&world, a, b, path));
        }
    }
}

#[test]
fn one_head_twice_is_no_evidence() {
    let world = LogWorld::new(8);
    let head = world.head(8);
    for path in [vec![], vec![*head.root()], world.path(7, 8)] {
        assert_no_evidence(&world, &head, &head, &path);
    }
}

#[test]
fn other_extension_lines_are_no_evidence() {
    let world = LogWorld::new(8);
    let extended = world.open(&(world.checkpoint(8).text() + "extension\n"));
    assert_ne!(extended.note(), world.head(8).note());
    assert_no_evidence(&world, &extended, &world.head(8), &[]);
    assert_no_evidence(&world, &extended, &world.head(5), &world.path(5, 8));
    let smaller = world.open(&(world.checkpoint(5).text() + "extension\n"));
    assert_no_evidence(&world, &smaller, &world.head(8), &world.path(5, 8));
}

#[test]
fn empty_tree_is_no_evidence() {
    let (world, other) = fork();
    for path in [vec![], vec![Hash::empty_root()], world.path(1, 8)] {
        assert_no_evidence(&world, &world.head(0), &other.head(8), &path);
        assert_no_evidence(&world, &world.head(0), &world.head(0), &path);
    }
}

#[test]
fn heads_of_two_logs_are_no_evidence() {
    let (world, mut other) = fork();
    let log = world.log();
    let text_of = |world: &LogWorld, size| {
        world.checkpoint(size).text().replacen(ORIGIN, "example.org/other", 1)
    };
    let second = Log { origin: "example.org/other".parse().unwrap(), key: log.key.clone() };
    let open = |world: &LogWorld, size| {
        let bytes = note(&text_of(world, size), &[&world.secret]).to_string();
        TreeHead::verify(bytes.as_bytes(), &second).unwrap()
    };
    // One key, two origins.
    assert_no_evidence(&world, &world.head(20), &open(&other, 20), &[]);
    assert_no_evidence(&world, &open(&other, 20), &world.head(SIZE), &world.path(20, SIZE));
    let mixed = text(&[], &world.head(20), &open(&other, 20));
    assert!(Evidence::verify_with_key(&mixed, &log.key).is_err());
    // One origin, two keys.
    other.secret = secret("log-key", 101);
    assert_no_evidence(&world, &world.head(20), &other.head(20), &[]);
    let mixed = text(&[], &world.head(20), &other.head(20));
    assert!(Evidence::verify_with_key(&mixed, &log.key).is_err());
    assert!(Evidence::verify_with_key(&mixed, &other.log().key).is_err());
}

#[test]
fn evidence_against_one_log_is_no_evidence_against_another() {
    let (world, other) = fork();
    let text = Evidence::from_heads(&world.head(20), &other.head(20), &[]).unwrap().to_string();
    let log = world.log();
    let wrong_origin = Log { origin: "example.org/other".parse().unwrap(), key: log.key.clone() };
    assert!(Evidence::verify(&text, &wrong_origin).is_err());
    assert!(Evidence::verify_with_key(&text, &secret("log-key", 101).public()).is_err());
    assert!(Evidence::verify_with_key(&text, &secret("other", 100).public()).is_err());
    assert!(Evidence::verify_with_key(&text, &log.key).is_ok());
}

#[test]
fn unsigned_checkpoints_are_no_evidence() {
    let (world, other) = fork();
    let unsigned = |world: &LogWorld| format!("{}\n", world.checkpoint(20).text());
    let strangers =
        |world: &LogWorld| note(&world.checkpoint(20).text(), &[&publishers()[0]]).to_string();
    let logs = |world: &LogWorld| world.head(20).note().to_owned();
    for (a, b) in [
        (unsigned(&world), unsigned(&other)),
        (strangers(&world), strangers(&other)),
        (logs(&world), strangers(&other)),
        (strangers(&world), logs(&other)),
        (logs(&world), unsigned(&other)),
    ] {
        let text = format!(
            "unanimity/evidence/v1\npath 0\ncheckpoint {}\n{a}checkpoint {}\n{b}",
            a.len(),
            b.len()
        );
        assert!(Evidence::verify(&text, &world.log()).is_err());
        assert!(Evidence::verify_with_key(&text, &world.log().key).is_err());
    }
}

#[test]
fn larger_checkpoint_comes_second() {
    let (world, other) = fork();
    let (smaller, larger, path) = (other.head(20), world.head(SIZE), world.path(20, SIZE));
    assert!(Evidence::verify(&text(&path, &smaller, &larger), &world.log()).is_ok());
    assert_eq!(
        Evidence::verify(&text(&path, &larger, &smaller), &world.log()),
        Err(EvidenceError::NoContradiction)
    );
}

#[test]
fn a_changed_byte_or_a_missing_end_is_refused() {
    let (world, other) = fork();
    let forms = [
        Evidence::from_heads(&world.head(13), &other.head(13), &[]).unwrap(),
        Evidence::from_heads(&other.head(8), &world.head(13), &world.path(8, 13)).unwrap(),
    ];
    for evidence in forms {
        let text = evidence.to_string();
        for (at, flipped) in flips(text.as_bytes()) {
            let Ok(flipped) = String::from_utf8(flipped) else { continue };
            assert!(Evidence::verify(&flipped, &world.log()).is_err(), "byte {at}: {flipped}");
            assert!(Evidence::verify_with_key(&flipped, &world.log().key).is_err(), "byte {at}");
        }
        for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
            assert!(Evidence::verify(&text[..length], &world.log()).is_err(), "cut at {length}");
        }
        for longer in [format!("{text}\n"), format!("{text}x"), format!("\n{text}")] {
            assert!(matches!(Evidence::verify(&longer, &world.log()), Err(EvidenceError::Form(_))));
        }
    }
}

#[test]
fn other_signatures_on_the_checkpoints_change_nothing() {
    let (world, other) = fork();
    let evidence = Evidence::from_heads(&world.head(13), &other.head(13), &[]).unwrap();
    let crowded = |head: &TreeHead| {
        let mut note = unanimity_protocol::Note::parse(head.note().as_bytes()).unwrap();
        note.sign(&publishers()[0]);
        note.to_string()
    };
    let (a, b) = (crowded(evidence.smaller()), crowded(evidence.larger()));
    let text = format!(
        "unanimity/evidence/v1\npath 0\ncheckpoint {}\n{a}checkpoint {}\n{b}",
        a.len(),
        b.len()
    );
    assert_eq!(Evidence::verify(&text, &world.log()).unwrap().to_string(), evidence.to_string());
}

#[test]
fn announced_lengths_of_evidence_are_bounded() {
    let (world, other) = fork();
    let log = world.log();
    let good = text(&[], &world.head(20), &other.head(20));
    let hash = base64(&[0; 32]);
    let long_path = |count: usize| {
        good.replacen(
            "path 0\n",
            &format!("path {count}\n{}", format!("{hash}\n").repeat(count)),
            1,
        )
    };
    assert_eq!(Evidence::verify(&long_path(65), &log), Err(EvidenceError::NoContradiction));
    assert!(matches!(Evidence::verify(&long_path(66), &log), Err(EvidenceError::Form(_))));
    for number in ["18446744073709551615", "18446744073709551616", "-1", "00", ""] {
        let path = good.replacen("path 0", &format!("path {number}"), 1);
        assert!(matches!(Evidence::verify(&path, &log), Err(EvidenceError::Form(_))), "{number}");
        let announced = format!("checkpoint {}", world.head(20).note().len());
        let checkpoint = good.replacen(&announced, &format!("checkpoint {number}"), 1);
        assert!(Evidence::verify(&checkpoint, &log).is_err(), "{number}");
    }
    let padded = format!("{good}{}", "x".repeat(MAX_EVIDENCE_BYTES));
    assert_eq!(Evidence::verify(&padded, &log), Err(EvidenceError::TooLong));
}

#[test]
fn largest_evidence_fits_its_bound() {
    // The longest origin, the longest key name, 2 KiB of text each, the longest path.
    let origin = "o".repeat(255);
    let secret = secret(&"k".repeat(255), 1);
    let log = Log { origin: origin.parse().unwrap(), key: secret.public() };
    let (old, new) = ((1 << 62) + 1, (1 << 63) - 1);
    let path = leaves(unanimity_protocol::tree::consistency_ranges(old, new).len());
    let (_, root) = unanimity_protocol::tree::consistency_roots(old, new, &path).unwrap();
    let head = |size, root| {
        let text = Checkpoint { origin: log.origin.clone(), size, root }.text();
        let full = format!("{text}{}\n", "x".repeat(2048 - text.len() - 1));
        TreeHead::verify(note(&full, &[&secret]).to_string().as_bytes(), &log).unwrap()
    };
    let evidence =
        Evidence::from_heads(&head(old, Hash([0; 32])), &head(new, root), &path).unwrap();
    assert!(evidence.to_string().len() <= MAX_EVIDENCE_BYTES);
    assert_eq!(Evidence::verify(&evidence.to_string(), &log), Ok(evidence));
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn random_path_is_no_evidence_against_an_honest_log(
        new in 1usize..64, old in any::<usize>(), spare in 0usize..3,
        picks in proptest::collection::vec((any::<usize>(), any::<[u8; 32]>(), 0u8..4), 10),
    ) {
        let world = LogWorld::new(new);
        let old = old % (new + 1);
        let length = world.path(old, new).len();
        // Random hashes, leaves, roots and inner nodes. Their number is about right.
        let all = [world.leaves.clone(), (0..=new).map(|size| world.root(size)).collect(), world.path(old, new)].concat();
        let path: Vec<Hash> = picks.iter().take((length + spare).saturating_sub(1))
            .map(|(pick, random, kind)| if *kind == 0 { Hash(*random) } else { all[pick % all.len()] })
            .collect();
        prop_assert_eq!(Evidence::from_heads(&world.head(old), &world.head(new), &path), None);
    }

    #[test]
    fn every_fork_is_provable(old in 1usize..64, new in 1usize..64, at in any::<usize>()) {
        let world = LogWorld::new(64);
        let (old, new) = (old.min(new), old.max(new));
        let other = world.forked_at(at % old);
        let evidence = Evidence::from_heads(&other.head(old), &world.head(new), &world.path(old, new));
        prop_assert!(evidence.is_some());
        assert_verifies_again(&evidence.unwrap(), &world);
    }
}
