//! Signed notes: our reader against the crate `signed_note`, in parsing and in verification.
//!
//! If our reader accepts a note, the crate accepts it, with the same text and signers, and both
//! print it to the same bytes. If only the crate accepts a note, the note breaks one of our bounds:
//! 128 KiB, 64 signature lines, and names of keys of at most 255 bytes without control characters.
//! If only the crate verifies a note, the note has a second line by one key. Our reader verifies
//! that line, and the crate ignores it.

use signed_note::{Note as Other, StandardVerifier, Verifier, VerifierList};
use unanimity_protocol::note::{MAX_NOTE_BYTES, MAX_SIGNATURES, NoteError};
use unanimity_protocol::{Note, NoteSigningKey, NoteVerifyingKey};

use crate::keys::KEYS;

/// Checks one note, and its text with a new signature.
pub fn check(data: &[u8]) {
    let note = compare(data);
    if let Some(note) = note {
        let mut signed = Note::unsigned(note.text()).expect("the text of a note");
        let secret = &KEYS.publishers[0];
        signed.sign(secret);
        let bytes = signed.to_string().into_bytes();
        if bytes.len() <= MAX_NOTE_BYTES {
            let opened = compare(&bytes).expect("a signed note").open(&[secret.public()]);
            assert_eq!(opened, Ok(vec![secret.public().raw()]));
        }
    }
}

fn compare(data: &[u8]) -> Option<Note> {
    let (ours, other) = (Note::parse(data), Other::from_bytes(data));
    let note = match (ours, other) {
        (Err(_), Err(_)) => return None,
        (Ok(_), Err(error)) => panic!("only our reader accepts it: {error}"),
        (Err(why), Ok(other)) => {
            let stricter = match why {
                NoteError::TooLong(length) => length > MAX_NOTE_BYTES,
                NoteError::TooManySignatures(count) => count > MAX_SIGNATURES,
                NoteError::Line(_) => {
                    names(&other).any(|name| name.len() > 255 || name.chars().any(char::is_control))
                }
                _ => false,
            };
            assert!(stricter, "our reader refuses it within our bounds: {why}");
            return None;
        }
        (Ok(note), Ok(other)) => {
            assert_eq!(note.to_string().as_bytes(), data);
            assert_eq!(other.to_bytes(), data);
            assert_eq!(note.text().as_bytes(), other.text());
            assert!(note.signatures().len() <= MAX_SIGNATURES);
            check_same_signers(&note, &other);
            note
        }
    };
    Some(note)
}

fn names(note: &Other) -> impl Iterator<Item = String> {
    let whole = String::from_utf8(note.to_bytes()).expect("a note");
    let lines = whole[note.text().len()..].to_owned();
    let name = |line: &str| Some(line.strip_prefix("— ")?.split(' ').next()?.to_owned());
    lines.lines().filter_map(name).collect::<Vec<_>>().into_iter()
}

fn check_same_signers(note: &Note, other: &Other) {
    let secrets = KEYS.publishers.iter().chain([&KEYS.log_secret]);
    let keys: Vec<NoteVerifyingKey> = secrets.map(NoteSigningKey::public).collect();
    let verifier = |key: &NoteVerifyingKey| -> Box<dyn Verifier> {
        Box::new(StandardVerifier::new(&key.to_string()).expect("a key of ours"))
    };
    let verifiers = VerifierList::new(keys.iter().map(verifier).collect());
    match (note.open(&keys), other.verify(&verifiers)) {
        (Err(_), Err(_)) => {}
        (Ok(ours), Ok((theirs, _))) => {
            let mut names: Vec<&str> = theirs.iter().map(|line| line.name()).collect();
            names.sort_unstable();
            let signed = keys.iter().filter(|key| ours.contains(&key.raw()));
            let mut signers: Vec<&str> = signed.map(|key| key.name().as_str()).collect();
            signers.sort_unstable();
            assert_eq!(names, signers);
        }
        (Ok(_), Err(error)) => panic!("only our reader verifies it: {error}"),
        (Err(why), Ok(_)) => {
            let NoteError::BadSignature(name) = &why else {
                panic!("only our reader refuses it: {why}")
            };
            let lines = note.signatures().iter().filter(|line| line.name == *name);
            assert!(lines.count() > 1, "only our reader refuses it: {why}");
        }
    }
}
