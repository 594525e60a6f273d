//! Claims about catalogs: the releases in a log, and the choice of candidates.

use unanimity_protocol::catalog::Reading;
use unanimity_protocol::{Catalog, Manifest, Refusal, Timestamp};

use crate::fixtures::{LogWorld, NOW, line, manifest, name, note, policy, publishers, released};

/// A catalog of these entries, at indexes from 0, and the reading of each.
fn read(entries: &[Vec<u8>]) -> (Catalog, Vec<Reading>) {
    let mut catalog = Catalog::default();
    let readings = entries.iter().enumerate();
    let readings =
        readings.map(|(i, entry)| catalog.add_entry(i as u64, entry, &policy())).collect();
    (catalog, readings)
}

fn entry(text: &str) -> Vec<u8> {
    released(text).to_string().into_bytes()
}

fn release(sequence: u64) -> Vec<u8> {
    entry(&manifest(sequence).to_string())
}

fn changed(sequence: u64, change: impl Fn(&mut Manifest)) -> Vec<u8> {
    let mut manifest = manifest(sequence);
    change(&mut manifest);
    entry(&manifest.to_string())
}

/// The sequences of the candidates, best first.
fn candidates(catalog: &Catalog, floor: u64) -> Vec<u64> {
    let choice = catalog.select_candidates(&policy(), floor, NOW);
    choice.candidates.iter().map(|signed| signed.manifest().sequence).collect()
}

fn refused(catalog: &Catalog, floor: u64) -> Vec<(u64, Refusal)> {
    catalog.select_candidates(&policy(), floor, NOW).refused
}

#[test]
fn highest_sequence_is_the_first_candidate_whatever_its_version() {
    let entries = [
        changed(3, |m| m.version = name("9.9.9")),
        changed(10, |m| m.version = name("0.0.1")),
        changed(9, |m| m.version = name("99")),
    ];
    let (catalog, readings) = read(&entries);
    assert_eq!(readings, [Reading::Ours, Reading::Ours, Reading::Ours]);
    assert_eq!(candidates(&catalog, 0), [10, 9, 3]);
    assert_eq!(refused(&catalog, 0), []);
}

#[test]
fn candidate_keeps_its_index() {
    let (catalog, _) = read(&[b"rubbish".to_vec(), release(1), release(2)]);
    let choice = catalog.select_candidates(&policy(), 0, NOW);
    assert_eq!(choice.candidates.iter().map(|signed| signed.index()).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn empty_log_has_no_candidate() {
    let (catalog, _) = read(&[]);
    assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![], vec![]));
}

#[test]
fn releases_of_other_products_are_skipped() {
    let entries = [
        changed(5, |m| m.product = name("other")),
        changed(5, |m| m.channel = name("beta")),
        changed(5, |m| m.product = name("hello2")),
        release(4),
    ];
    let (catalog, readings) = read(&entries);
    assert_eq!(readings, [Reading::Foreign, Reading::Foreign, Reading::Foreign, Reading::Ours]);
    assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![4], vec![]));
}

#[test]
fn entries_that_are_no_statements_block_no_release() {
    let world = LogWorld::new(3);
    let [a, ..] = publishers();
    let good = String::from_utf8(release(2)).unwrap();
    let other_entries: Vec<Vec<u8>> = vec![
        vec![],
        vec![0; 65_535],
        b"\xff\xfe".to_vec(),
        b"text without a signature\n".to_vec(),
        good.trim_end().into(),
        world.head(3).note().into(),
        entry("hello\n"),
        entry("\n"),
        entry("unanimity\n"),
        entry("unanimity/manifest\n"),
        entry("unanimity/manifest/v\n"),
        entry("unanimity/manifest/v01\n"),
        entry("unanimity/manifest/v1 \n"),
        entry("unanimity/manifest/v18446744073709551616\n"),
        entry(&format!("\n{}", manifest(9))),
        note("unanimity/manifest/v1\n", &[&a]).to_string().into(),
    ];
    let count = other_entries.len();
    let (catalog, readings) = read(&[other_entries, vec![release(2)]].concat());
    assert_eq!(readings[..count], vec![Reading::Foreign; count]);
    assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![2], vec![]));
}

#[test]
fn invalid_statements_of_our_product_are_reported_and_block_none() {
    let [a, b, c] = publishers();
    let text = manifest(9).to_string();
    let stranger = crate::fixtures::secret("stranger", 9);
    let forged = released(&text).to_string() + &line("publisher-c", c.public().id(), &[7; 64]);
    let entries = [
        note(&text, &[&stranger]).to_string().into_bytes(),
        note(&text, &[&a]).to_string().into_bytes(),
        forged.into_bytes(),
        note(&text.replace("sequence 9", "sequence 09"), &[&a, &b]).to_string().into_bytes(),
        changed(9, |m| m.log = "example.org/other".parse().unwrap()),
        release(2),
    ];
    let (catalog, readings) = read(&entries);
    assert!(matches!(
        readings[0],
        Reading::Refused(Refusal::Threshold { signed: 0, threshold: 2 })
    ));
    assert!(matches!(
        readings[1],
        Reading::Refused(Refusal::Threshold { signed: 1, threshold: 2 })
    ));
    assert!(matches!(readings[2], Reading::Refused(Refusal::BadSignature(_))));
    assert!(matches!(readings[3], Reading::Refused(Refusal::Malformed(_))));
    assert!(matches!(readings[4], Reading::Refused(Refusal::OtherLog(_))));
    assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![2], vec![]));
}

#[test]
fn statements_of_unknown_kinds_are_skipped_and_counted() {
    let kinds = ["keyring/v1", "attestation/v1", "heartbeat/v3", "x/v0", "manifestx/v1"];
    let unknown: Vec<Vec<u8>> =
        kinds.iter().map(|kind| entry(&format!("unanimity/{kind}\nx\n"))).collect();
    let (catalog, readings) = read(&[unknown, vec![release(2)]].concat());
    assert_eq!(readings[..kinds.len()], vec![Reading::UnknownKind; kinds.len()]);
    assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![2], vec![]));
}

const NEWER: &str = "unanimity/manifest/v2\nproduct hello\nchannel stable\nanything else\n";

#[test]
fn newer_format_blocks_releases_logged_before_it_and_none_after() {
    let outdated = Refusal::UnsupportedFormat { index: 2, header: "unanimity/manifest/v2".into() };
    let (catalog, readings) = read(&[release(8), release(9), entry(NEWER), release(3)]);
    assert_eq!(readings[2], Reading::Refused(outdated.clone()));
    assert_eq!(candidates(&catalog, 0), [3]);
    let expected = [(0, outdated.clone()), (1, outdated.clone()), (2, outdated)];
    assert_eq!(refused(&catalog, 0), expected);
}

#[test]
fn newer_format_needs_our_product_and_a_threshold() {
    let [a, b, _] = publishers();
    let others = NEWER.replace("hello", "other");
    let weak = [
        note(NEWER, &[&a]).to_string(),
        note(NEWER, &[&crate::fixtures::secret("stranger", 9)]).to_string(),
        note(&others, &[&a, &b]).to_string(),
        note(NEWER, &[&a, &b]).to_string()
            + &line("publisher-c", publishers()[2].public().id(), &[7; 64]),
    ];
    for weak in weak {
        let (catalog, readings) = read(&[release(8), weak.into_bytes()]);
        assert_eq!(readings[1], Reading::UnknownKind);
        assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![8], vec![]));
    }
}

#[test]
fn newest_of_two_unsupported_entries_decides() {
    let newest = NEWER.replace("/v2", "/v3");
    let (catalog, _) = read(&[entry(NEWER), release(1), entry(&newest), release(2)]);
    assert_eq!(candidates(&catalog, 0), [2]);
    assert!(matches!(
        &refused(&catalog, 0)[..],
        [(1, Refusal::UnsupportedFormat { index: 2, .. }), (2, _)]
    ));
}

#[test]
fn neither_of_two_releases_with_one_sequence_installs() {
    let second = changed(5, |m| m.version = name("other"));
    let (catalog, readings) = read(&[release(5), release(4), second, release(6)]);
    assert_eq!(readings, vec![Reading::Ours; 4]);
    assert_eq!(candidates(&catalog, 0), [6, 4]);
    let conflict = Refusal::DuplicateSequence { sequence: 5, first: 0, second: 2 };
    assert_eq!(refused(&catalog, 0), [(2, conflict)]);
}

#[test]
fn second_release_of_a_sequence_needs_a_threshold_to_conflict() {
    let [a, ..] = publishers();
    let mut other = manifest(5);
    other.version = name("other");
    let weak = note(&other.to_string(), &[&a]).to_string().into_bytes();
    let (catalog, _) = read(&[release(5), weak]);
    assert_eq!((candidates(&catalog, 0), refused(&catalog, 0)), (vec![5], vec![]));
}

#[test]
fn one_release_logged_twice_is_no_conflict() {
    let [a, b, c] = publishers();
    let again = note(&manifest(5).to_string(), &[&c, &a, &b]).to_string().into_bytes();
    assert_ne!(again, release(5));
    let (catalog, readings) = read(&[release(5), release(5), again]);
    assert_eq!(readings, vec![Reading::Ours; 3]);
    let choice = catalog.select_candidates(&policy(), 0, NOW);
    assert_eq!(choice.refused, []);
    assert_eq!(choice.candidates.iter().map(|signed| signed.index()).collect::<Vec<_>>(), [0]);
}

#[test]
fn expired_release_is_refused_and_older_one_is_a_candidate() {
    let (catalog, _) = read(&[release(4), changed(5, |m| m.expires = NOW)]);
    assert_eq!(candidates(&catalog, 0), [4]);
    let expired = Refusal::Expired { release: "5-1.5.0".into(), at: NOW };
    assert_eq!(refused(&catalog, 0), [(1, expired)]);
    let earlier = catalog.select_candidates(&policy(), 0, Timestamp(NOW.0 - 1));
    assert_eq!(earlier.candidates.len(), 2, "every choice compares the expiry with its own time");
}

#[test]
fn release_older_than_the_installed_one_is_a_rollback() {
    let (mut catalog, _) = read(&[release(4), release(5), release(6)]);
    assert_eq!(candidates(&catalog, 5), [6]);
    // The installed release itself is not reported.
    assert_eq!(refused(&catalog, 5), [(0, Refusal::SequenceRollback { offered: 4, floor: 5 })]);
    assert!(candidates(&catalog, 6).is_empty());
    catalog.remove_below(5);
    assert_eq!((candidates(&catalog, 5), refused(&catalog, 5)), (vec![6], vec![]));
}

#[test]
fn entries_of_a_catalog_read_again_to_an_equal_catalog() {
    let second = changed(5, |m| m.version = name("other"));
    let newer = entry(NEWER);
    let (catalog, _) =
        read(&[release(5), b"rubbish".to_vec(), newer, release(4), second, release(6)]);
    let mut again = Catalog::default();
    for kept in catalog.entries() {
        again.add_entry(kept.index, kept.note.to_string().as_bytes(), &policy());
    }
    assert_eq!(candidates(&again, 0), candidates(&catalog, 0));
    assert_eq!(refused(&again, 0), refused(&catalog, 0));
    assert_eq!(refused(&again, 0).len(), 2);
    assert_eq!(
        catalog.entries().iter().map(|kept| kept.index).collect::<Vec<_>>(),
        [0, 2, 3, 4, 5]
    );
}
