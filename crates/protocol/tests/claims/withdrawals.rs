//! Claims about withdrawals: every withdrawal has one spelling, and a catalog applies it.

use proptest::prelude::*;
use unanimity_protocol::catalog::Reading;
use unanimity_protocol::note::Note;
use unanimity_protocol::withdrawal::MAX_REASON_BYTES;
use unanimity_protocol::{Catalog, Manifest, Refusal, Statement, Timestamp, Withdrawal};

use crate::fixtures::{NOW, cases, flips, manifest, name, note, policy, publishers, released};

const GOLDEN: &str = "unanimity/withdrawal/v1
log example.org/log
product hello
channel stable
sequence 2
issued 1790000000
reason It deletes what it should keep.
";

fn golden() -> Withdrawal {
    Withdrawal {
        log: "example.org/log".parse().unwrap(),
        product: name("hello"),
        channel: name("stable"),
        sequence: 2,
        issued: Timestamp(1_790_000_000),
        reason: "It deletes what it should keep.".to_owned(),
    }
}

/// The number of the line at which a text is refused; 0 if it is a withdrawal.
fn fails_at(text: &str) -> usize {
    Withdrawal::parse(text).map_or_else(|error| error.line, |_| 0)
}

fn with(line: usize, replacement: &str) -> String {
    let mut lines: Vec<&str> = GOLDEN.split_inclusive('\n').collect();
    lines[line - 1] = replacement;
    lines.concat()
}

#[test]
fn golden_text_is_the_golden_withdrawal() {
    assert_eq!(Withdrawal::parse(GOLDEN), Ok(golden()));
    assert_eq!(golden().to_string(), GOLDEN);
    assert_eq!(Statement::parse(GOLDEN), Ok(Statement::Withdrawal(golden())));
    assert_eq!(Statement::Withdrawal(golden()).to_string(), GOLDEN);
    assert_eq!(Statement::Withdrawal(golden()).release(), None);
    // Neither kind parses as the other.
    assert_eq!(Manifest::parse(GOLDEN).unwrap_err().line, 1);
    assert_eq!(Withdrawal::parse(&manifest(2).to_string()).unwrap_err().line, 1);
    let other = Statement::parse("unanimity/withdrawal/v2\n").unwrap_err();
    assert_eq!((other.kind, other.line), ("manifest", 1));
}

#[test]
fn refused_withdrawal_names_the_line_and_the_expected_form() {
    let errors = (1..=7).map(|line| Withdrawal::parse(&with(line, "other\n")).unwrap_err());
    let more = Withdrawal::parse(&format!("{GOLDEN}other\n")).unwrap_err();
    let text: String = errors.chain([more]).map(|error| format!("{error}\n")).collect();
    snapbox::assert_data_eq!(text, snapbox::file!["words/malformed_withdrawals.txt"]);
    let zero = Withdrawal::parse(&with(5, "sequence 0\n")).unwrap_err();
    assert_eq!(zero.to_string(), "withdrawal line 5: expected 'sequence N', from 1");
}

#[test]
fn every_line_is_required_once_and_in_order() {
    let lines: Vec<&str> = GOLDEN.split_inclusive('\n').collect();
    for line in 1..=7 {
        assert_ne!(fails_at(&with(line, "")), 0, "without line {line}");
        assert_ne!(fails_at(&with(line, &lines[line - 1].repeat(2))), 0, "line {line} twice");
        assert_ne!(fails_at(&with(line, &format!("unknown field\n{}", lines[line - 1]))), 0);
        assert_eq!(fails_at(&with(line, &format!(" {}", lines[line - 1]))), line);
        assert_eq!(fails_at(&with(line, &format!("{} \n", lines[line - 1].trim_end()))), line);
    }
    for line in 1..7 {
        let mut swapped = lines.clone();
        swapped.swap(line - 1, line);
        assert_eq!(fails_at(&swapped.concat()), line);
    }
    for length in 0..GOLDEN.len() {
        assert_ne!(fails_at(&GOLDEN[..length]), 0, "{length}");
    }
    for more in ["\n", "x", "reason more\n"] {
        assert_ne!(fails_at(&format!("{GOLDEN}{more}")), 0);
    }
}

#[test]
fn reason_is_one_line_without_control_characters() {
    let reason = |reason: &str| fails_at(&with(7, &format!("reason {reason}\n")));
    let longest = "x".repeat(MAX_REASON_BYTES);
    for good in ["x", "Über Nacht zurückgezogen: siehe 2.0", &longest] {
        assert_eq!(reason(good), 0, "{good}");
    }
    for bad in ["", " ", " x", "x ", "a\tb", "a\u{7f}b", "a\u{9b}31mb", &format!("{longest}x")] {
        assert_eq!(reason(bad), 7, "{bad:?}");
    }
}

proptest! {
    #![proptest_config(cases(256))]
    #[test]
    fn parsed_withdrawal_prints_back_to_its_bytes(text in any::<String>(), at in 0..GOLDEN.len()) {
        let mixed = [&GOLDEN[..at], &text, &GOLDEN[at..]].concat();
        for text in [text, mixed] {
            if let Ok(withdrawal) = Withdrawal::parse(&text) {
                prop_assert_eq!(withdrawal.to_string(), text);
            }
        }
    }
}

#[test]
fn changed_byte_of_a_signed_withdrawal_does_not_change_its_text() {
    let signed = released(GOLDEN).to_string();
    let mut catalog = Catalog::default();
    assert_eq!(catalog.add_entry(0, signed.as_bytes(), &policy()), Reading::Ours);
    assert_eq!(catalog.withdrawn(), [2].into());
    for (at, changed) in flips(signed.as_bytes()) {
        let mut catalog = Catalog::default();
        let reading = catalog.add_entry(0, &changed, &policy());
        // A changed line of an unknown key may remain: two signatures are enough.
        if reading == Reading::Ours {
            assert_eq!(Note::parse(&changed).unwrap().text(), GOLDEN, "{at}");
        }
    }
}

fn withdrawn(change: impl Fn(&mut Withdrawal)) -> Vec<u8> {
    let mut withdrawal = golden();
    change(&mut withdrawal);
    released(&withdrawal.to_string()).to_string().into_bytes()
}

fn release(sequence: u64) -> Vec<u8> {
    released(&manifest(sequence).to_string()).to_string().into_bytes()
}

fn catalog(entries: &[Vec<u8>]) -> Catalog {
    let mut catalog = Catalog::default();
    for (index, entry) in (0..).zip(entries) {
        catalog.add_entry(index, entry, &policy());
    }
    catalog
}

/// The sequences of the candidates, and the indexes of the refusals.
fn choice(catalog: &Catalog, floor: u64) -> (Vec<u64>, Vec<u64>) {
    let choice = catalog.select_candidates(&policy(), floor, NOW);
    for (_, refusal) in &choice.refused {
        assert!(matches!(refusal, Refusal::Withdrawn { installed: false, .. }), "{refusal}");
    }
    let candidates = choice.candidates.iter().map(|signed| signed.manifest().sequence).collect();
    (candidates, choice.refused.iter().map(|(index, _)| *index).collect())
}

#[test]
fn withdrawn_release_is_no_candidate_whichever_is_logged_first() {
    let back = withdrawn(|_| {});
    let after = catalog(&[release(1), release(2), back.clone(), release(3)]);
    assert_eq!(choice(&after, 0), (vec![3, 1], vec![2]));
    let before = catalog(&[back.clone(), release(1), release(2)]);
    assert_eq!(choice(&before, 0), (vec![1], vec![2]));
    // Of two withdrawals, the reason of the first counts.
    let other = withdrawn(|it| it.reason = "Another.".to_owned());
    let twice = catalog(&[release(2), back, other]);
    let refusal = twice.check_not_withdrawn("2-1.1.0", true).unwrap_err();
    let not_installed = twice.check_not_withdrawn("2-1.1.0", false).unwrap_err();
    let text = format!("installed: {refusal}\nnot installed: {not_installed}\n");
    snapbox::assert_data_eq!(text, snapbox::file!["words/withdrawn.txt"]);
    assert_eq!(twice.check_not_withdrawn("3-1.1.0", true), Ok(()));
}

#[test]
fn withdrawal_needs_a_threshold_and_our_product_channel_and_log() {
    let [a, b, _] = publishers();
    let by = |secrets: &[&_]| note(GOLDEN, secrets).to_string().into_bytes();
    assert!(catalog(&[by(&[&a, &b])]).withdrawn().contains(&2));
    for (entry, is) in [
        (by(&[&a]), "threshold"),
        (by(&[&a, &a]), "threshold"),
        (withdrawn(|it| it.product = name("other")), "foreign"),
        (withdrawn(|it| it.channel = name("beta")), "foreign"),
        (withdrawn(|it| it.log = "example.org/other".parse().unwrap()), "other log"),
    ] {
        let mut catalog = Catalog::default();
        let reading = catalog.add_entry(0, &entry, &policy());
        let expected = match is {
            "threshold" => {
                matches!(reading, Reading::Refused(Refusal::Threshold { signed: 1, .. }))
            }
            "foreign" => reading == Reading::Foreign,
            _ => matches!(reading, Reading::Refused(Refusal::OtherLog(_))),
        };
        assert!(expected, "{is}: {reading:?}");
        assert!(catalog.withdrawn().is_empty());
    }
}

#[test]
fn withdrawal_in_a_newer_format_blocks_releases_logged_before_it() {
    let later = GOLDEN.replace("withdrawal/v1", "withdrawal/v2");
    let later = released(&later).to_string().into_bytes();
    let catalog = catalog(&[release(1), later, release(2)]);
    let choice = catalog.select_candidates(&policy(), 0, NOW);
    let candidates: Vec<_> =
        choice.candidates.iter().map(|signed| signed.manifest().sequence).collect();
    assert_eq!(candidates, [2]);
    assert!(matches!(choice.refused[0], (0, Refusal::UnsupportedFormat { index: 1, .. })));
}

#[test]
fn withdrawal_survives_removal_of_older_releases_and_storing() {
    let mut kept = catalog(&[release(1), release(2), withdrawn(|_| {}), release(3)]);
    kept.remove_below(3);
    let entries = kept.entries();
    let indexes: Vec<_> = entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, [2, 3]);
    let mut again = Catalog::default();
    for entry in entries {
        again.add_entry(entry.index, entry.note.to_string().as_bytes(), &policy());
    }
    assert_eq!(again.withdrawn(), [2].into());
    assert_eq!(choice(&again, 2), (vec![3], vec![]));
}
