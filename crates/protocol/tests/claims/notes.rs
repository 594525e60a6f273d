//! Claims about signed notes: their form, and their signers.

use proptest::prelude::*;
use unanimity_protocol::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError};
use unanimity_protocol::{Note, NoteVerifyingKey, PublicKeyBytes};

use crate::fixtures::{base64, cases, flips, line, note, publishers, secret};

const TEXT: &str = "first line\nsecond line\n";

fn parse(text: &str) -> Result<Note, NoteError> {
    Note::parse(text.as_bytes())
}

fn keys() -> Vec<NoteVerifyingKey> {
    publishers().iter().map(|secret| secret.public()).collect()
}

/// A note signed by an unknown key, then by two of the publisher's keys.
fn good() -> Note {
    let [a, b, _] = publishers();
    note(TEXT, &[&secret("stranger", 200), &a, &b])
}

#[test]
fn note_opens_to_the_keys_that_signed_it() {
    let note = parse(&good().to_string()).unwrap();
    assert_eq!(note, good());
    assert_eq!(note.text(), TEXT);
    assert_eq!(note.open(&keys()), Ok(vec![keys()[0].raw(), keys()[1].raw()]));
    assert_eq!(note.open(&keys()[2..]), Err(NoteError::Unsigned));
    assert_eq!(note.open(&[]), Err(NoteError::Unsigned));
}

#[test]
fn changed_byte_is_refused_or_leaves_the_signed_text_unchanged() {
    let (text, keys) = (good().to_string(), keys());
    let all = good().open(&keys).unwrap();
    let starts: Vec<usize> = text.match_indices('—').map(|(at, _)| at).collect();
    let [stranger, a, b] = starts[..] else { panic!("three lines") };
    for (at, flipped) in flips(text.as_bytes()) {
        let opened = Note::parse(&flipped).and_then(|note| Ok((note.open(&keys)?, note)));
        let Ok((signers, note)) = opened else { continue };
        assert_eq!(note.text(), TEXT, "byte {at}");
        // The changed line now names an unknown key. The other lines are unchanged.
        let left: Vec<PublicKeyBytes> = match at {
            _ if at < stranger => panic!("byte {at} is covered by every signature"),
            _ if at < a => all.clone(),
            _ if at < b => vec![all[1]],
            _ => vec![all[0]],
        };
        assert_eq!(signers, left, "byte {at}");
    }
}

#[test]
fn note_with_a_changed_signature_is_refused() {
    let (text, keys) = (good().to_string(), keys());
    for secret in &publishers()[..2] {
        let start = text.find(secret.public().name().as_str()).unwrap();
        let blob = start + text[start..].find(' ').unwrap() + 1;
        let end = start + text[start..].find('\n').unwrap();
        // The 4 bytes of the id end within the sixth base64 digit.
        for at in blob + 6..end {
            let mut flipped = text.clone().into_bytes();
            flipped[at] = if flipped[at] == b'A' { b'B' } else { b'A' };
            let opened = Note::parse(&flipped).and_then(|note| note.open(&keys));
            let refused = Err(NoteError::BadSignature(secret.public().name().clone()));
            assert!(opened == refused || matches!(opened, Err(NoteError::Line(_))), "byte {at}");
        }
    }
}

#[test]
fn a_note_cut_short_is_refused_unless_whole_lines_are_gone() {
    let text = good().to_string();
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    for length in 0..text.len() {
        match Note::parse(&text.as_bytes()[..length]) {
            Ok(note) => {
                assert!(ends.contains(&length), "cut at {length}");
                assert_eq!(note.text(), TEXT);
                assert_eq!(good().signatures()[..note.signatures().len()], *note.signatures());
            }
            Err(error) => assert!(!matches!(error, NoteError::BadSignature(_))),
        }
    }
}

#[test]
fn sixty_four_signature_lines_are_read_and_sixty_five_are_not() {
    let [a, ..] = publishers();
    let lines = |count: usize| {
        let mut note = note(TEXT, &[]);
        (1..count).for_each(|i| note.sign(&secret(&format!("stranger-{i}"), i as u8)));
        note.sign(&a);
        note.to_string()
    };
    assert_eq!(parse(&lines(64)).unwrap().open(&keys()), Ok(vec![a.public().raw()]));
    assert_eq!(parse(&lines(65)), Err(NoteError::TooManySignatures(65)));
    assert_eq!(MAX_SIGNATURES, 64);
}

#[test]
fn a_note_has_at_most_128_kib() {
    let [a, ..] = publishers();
    let room = MAX_NOTE_BYTES - note("\n", &[&a]).to_string().len();
    let largest = note(&format!("{}\n", "x".repeat(room)), &[&a]).to_string();
    assert_eq!(largest.len(), 128 * 1024);
    assert!(parse(&largest).unwrap().open(&keys()).is_ok());
    assert_eq!(parse(&format!("x{largest}")), Err(NoteError::TooLong(128 * 1024 + 1)));
}

#[test]
fn one_key_under_two_names_counts_once() {
    let (one, two) = (secret("one", 5), secret("two", 5));
    assert_eq!(one.public().raw(), two.public().raw());
    let note = note(TEXT, &[&one, &two]);
    assert_eq!(note.open(&[one.public(), two.public()]), Ok(vec![one.public().raw()]));
}

#[test]
fn one_line_twice_counts_once() {
    let [a, b, _] = publishers();
    let note = parse(&note(TEXT, &[&a, &a, &b, &a]).to_string()).unwrap();
    assert_eq!(note.signatures().len(), 4);
    assert_eq!(note.open(&keys()), Ok(vec![a.public().raw(), b.public().raw()]));
}

#[test]
fn note_with_a_forged_line_of_a_known_name_and_id_is_refused() {
    let [a, b, _] = publishers();
    let forged = note(TEXT, &[&secret("publisher-b", 9)]).signatures()[0].signature.clone();
    let false_line = line("publisher-b", b.public().id(), &forged);
    let refused = Err(NoteError::BadSignature(b.public().name().clone()));
    let honest = note(TEXT, &[&a, &b]).to_string();
    let before = honest.replacen("\n\n", &format!("\n\n{false_line}"), 1);
    for text in [note(TEXT, &[&a]).to_string() + &false_line, honest + &false_line, before] {
        assert_eq!(parse(&text).unwrap().open(&keys()), refused);
    }
}

#[test]
fn line_counts_only_with_name_and_id_of_a_known_key() {
    let [a, b, _] = publishers();
    let signature = note(TEXT, &[&b]).signatures()[0].signature.clone();
    let mut near_id = b.public().id();
    near_id[3] ^= 1;
    let unknown = [
        line("publisher-b", near_id, &signature),
        line("publisher-B", b.public().id(), &signature),
        line("publisher-b", a.public().id(), &signature),
        line("publisher-b", near_id, b"junk"),
    ];
    for line in unknown {
        let signed = note(TEXT, &[&a]).to_string() + &line;
        assert_eq!(parse(&signed).unwrap().open(&keys()), Ok(vec![a.public().raw()]));
        let alone = parse(&format!("{TEXT}\n{line}")).unwrap();
        assert_eq!(alone.open(&keys()), Err(NoteError::Unsigned));
    }
}

#[test]
fn signatures_of_unknown_types_are_skipped_whatever_their_length() {
    let [a, ..] = publishers();
    for length in [1, 63, 64, 65, 72, 2420] {
        let line = line("log.example", [6; 4], &vec![6; length]);
        let text = format!("{TEXT}\n{line}")
            + note(TEXT, &[&a]).to_string().rsplit_once("\n\n").unwrap().1;
        assert_eq!(parse(&text).unwrap().open(&keys()), Ok(vec![a.public().raw()]), "{length}");
    }
}

#[test]
fn the_text_ends_at_the_last_empty_line() {
    let [a, b, _] = publishers();
    let inner = note(TEXT, &[&a]).to_string();
    let outer = parse(&note(&inner, &[&b]).to_string()).unwrap();
    assert_eq!(outer.text(), inner);
    assert_eq!(outer.open(&keys()), Ok(vec![b.public().raw()]));

    let blank = "one\n\n\ntwo\n\n";
    let note = parse(&note(blank, &[&a]).to_string()).unwrap();
    assert_eq!(note.text(), blank);
    assert_eq!(note.open(&keys()), Ok(vec![a.public().raw()]));
}

#[test]
fn a_signature_does_not_cover_a_text_with_another_end() {
    let [a, ..] = publishers();
    let lines = note(TEXT, &[&a]).to_string();
    for wrong in ["\n", "x\n", " \n"] {
        let longer = lines.replacen(TEXT, &format!("{TEXT}{wrong}"), 1);
        assert!(matches!(parse(&longer).unwrap().open(&keys()), Err(NoteError::BadSignature(_))));
    }
}

#[test]
fn control_characters_are_refused_everywhere_and_the_line_is_named() {
    let [a, ..] = publishers();
    let text = note("one\ntwo\n", &[&a]).to_string();
    for control in (0..0x20u8).map(char::from).filter(|c| *c != '\n') {
        assert_eq!(
            parse(&text.replacen("two", &format!("t{control}wo"), 1)),
            Err(NoteError::Control(2))
        );
        assert_eq!(
            parse(&text.replacen("publisher", &format!("{control}"), 1)),
            Err(NoteError::Control(4))
        );
        assert_eq!(Note::unsigned(&format!("a{control}\n")), Err(NoteError::Control(1)));
    }
    assert!(parse(&text.replace('\n', "\r\n")).is_err());
    assert_eq!(Note::parse(b"\xff\n\n\xe2\x80\x94 a AAAAAAA=\n"), Err(NoteError::NotUtf8));
}

#[test]
fn malformed_note_is_refused() {
    let [a, ..] = publishers();
    let good = note(TEXT, &[&a]).to_string();
    let line = good.rsplit_once("\n\n").unwrap().1.trim_end();
    let with = |line: &str| format!("{TEXT}\n{line}\n");
    assert_eq!(with(line), good);
    let refused: [(String, NoteError); 16] = [
        (String::new(), NoteError::NoSignatures),
        ("\n".into(), NoteError::NoSignatures),
        ("\n\n".into(), NoteError::NoSignatures),
        (TEXT.into(), NoteError::NoSignatures),
        (format!("{TEXT}\n"), NoteError::NoSignatures),
        (format!("{TEXT}{line}\n"), NoteError::NoSignatures),
        (good.trim_end().into(), NoteError::NoSignatures),
        (format!("{good}\n"), NoteError::NoSignatures),
        (with(&line.replacen('—', "-", 1)), NoteError::Line(1)),
        (with(&line.replacen("— ", "—", 1)), NoteError::Line(1)),
        (with(&line.replacen("— ", "—  ", 1)), NoteError::Line(1)),
        (with(&format!(" {line}")), NoteError::Line(1)),
        (with(&format!("{line} ")), NoteError::Line(1)),
        (with(&format!("{line}\n{line} more")), NoteError::Line(2)),
        (with("— name AAAAAA=="), NoteError::Line(1)),
        (with("— na+me AAAAAAA="), NoteError::Line(1)),
    ];
    for (text, error) in refused {
        assert_eq!(parse(&text), Err(error), "{text:?}");
    }
    assert_eq!(Note::unsigned("no newline"), Err(NoteError::NoSignatures));
    assert_eq!(Note::unsigned(""), Err(NoteError::NoSignatures));
}

#[test]
fn base64_has_one_spelling() {
    let blob = [0u8; 68];
    let canonical = base64(&blob);
    assert!(canonical.ends_with("A="));
    let with = |base64: &str| parse(&format!("{TEXT}\n— name {base64}\n"));
    assert!(with(&canonical).is_ok());
    let body = canonical.trim_end_matches('=');
    for last in ['B', 'C', 'D'] {
        let stray_bits = format!("{}{last}=", &body[..body.len() - 1]);
        assert_eq!(with(&stray_bits), Err(NoteError::Line(1)), "{stray_bits}");
    }
    for wrong in [body, &format!("{canonical}="), &format!("{canonical}{canonical}")] {
        assert_eq!(with(wrong), Err(NoteError::Line(1)));
    }
    let mut other = blob;
    other[4..7].fill(0xff);
    let url_safe = base64(&other).replace('/', "_").replace('+', "-");
    assert_ne!(url_safe, base64(&other));
    assert_eq!(with(&url_safe), Err(NoteError::Line(1)));
}

/// Generates notes, malformed notes, and other texts.
fn noteish() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n".to_owned()),
        Just("\n\n".to_owned()),
        Just("— ".to_owned()),
        Just("— name AAAAAAA=\n".to_owned()),
        Just("— näme AAAAAAAA\n".to_owned()),
        Just("— a AAAAAAB=\n".to_owned()),
        "[ -~]{0,8}",
        "[a-zA-Z0-9+/]{0,9}={0,2}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn parsed_note_prints_back_to_its_bytes(text in noteish(), lines in 0usize..3) {
        let text = text + ["", "\n\n— a AAAAAAA=\n", "\n\n— a AAAAAAA=\n— b AAAAAAAAAAA=\n"][lines];
        if let Ok(note) = parse(&text) {
            prop_assert!(text.starts_with(note.text()));
            prop_assert_eq!(note.to_string(), text);
        }
    }

    #[test]
    fn signed_note_opens_to_its_signers(text in "([ -~äö]{0,20}\n){1,5}", seeds in proptest::collection::vec(1u8..=255, 1..4)) {
        let secrets: Vec<_> = seeds.iter().map(|seed| secret(&format!("key-{seed}"), *seed)).collect();
        let signed = note(&text, &secrets.iter().collect::<Vec<_>>());
        let read = parse(&signed.to_string()).unwrap();
        prop_assert_eq!(read.text(), &text);
        let keys: Vec<NoteVerifyingKey> = secrets.iter().map(|secret| secret.public()).collect();
        let mut distinct: Vec<PublicKeyBytes> = Vec::new();
        for key in &keys {
            if !distinct.contains(&key.raw()) {
                distinct.push(key.raw());
            }
        }
        prop_assert_eq!(read.open(&keys), Ok(distinct));
    }
}
