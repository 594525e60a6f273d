//! Key files, manifests and signatures: no secret leaks, and no file is overwritten.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use age::secrecy::SecretString;
use unanimity_protocol::key::SigningKey;
use unanimity_protocol::manifest::{ArtifactKind, MAX_ARTIFACTS};
use unanimity_protocol::{
    CosignatureSigningKey, Hash, Manifest, Name, Note, NoteSigningKey, Statement, Timestamp,
};
use unanimity_publish::{KdfCost, PublishError, ReleaseDraft, read_key, read_statement, write_key};
use unanimity_storage::{PrivateFileError, Storage, check_private};
use unanimity_testkit::sample_log;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::storage_hooks::failing_disk;

const PASSPHRASE: &str = "correct horse battery staple";

fn passphrase(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

/// The text of an error, with `[DIR]` for the path of the scratch directory.
fn message(error: &PublishError, directory: &Path) -> String {
    error.to_string().replace(directory.to_str().unwrap(), "[DIR]")
}

fn write<const TYPE: u8>(path: &Path, secret: &SigningKey<TYPE>) -> Result<(), PublishError> {
    write_key(path, secret, &passphrase(PASSPHRASE), KdfCost::Factor(2), &Storage::default())
}

fn secret() -> NoteSigningKey {
    unanimity_publish::generate_key("publisher-a".parse().unwrap())
}

#[test]
fn key_file_gives_the_written_key() {
    let scratch = scratch_dir();
    let (note, cosigner) = (scratch.path().join("note"), scratch.path().join("cosigner"));
    let secret = secret();
    write(&note, &secret).unwrap();
    let read: NoteSigningKey = read_key(&note, &passphrase(PASSPHRASE)).unwrap();
    assert_eq!(read.to_private_key_line(), secret.to_private_key_line());
    let peer: CosignatureSigningKey = unanimity_publish::generate_key("alice".parse().unwrap());
    write(&cosigner, &peer).unwrap();
    let read: CosignatureSigningKey = read_key(&cosigner, &passphrase(PASSPHRASE)).unwrap();
    assert_eq!(read.public(), peer.public());
    assert_ne!(
        secret.to_private_key_line(),
        self::secret().to_private_key_line(),
        "each key is generated"
    );
}

#[test]
fn key_file_readable_by_others_is_refused() {
    let scratch = scratch_dir();
    let path = scratch.path().join("key");
    write(&path, &secret()).unwrap();
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    let mut messages = String::new();
    for exposed in [0o644, 0o640, 0o604, 0o660, 0o602, 0o601, 0o610, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
        let error = read_key::<1>(&path, &passphrase(PASSPHRASE)).unwrap_err();
        assert!(
            matches!(&error, PublishError::File(PrivateFileError::Exposed { mode, .. }) if *mode == exposed)
        );
        messages += &format!("{exposed:03o}: {}\n", message(&error, scratch.path()));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/exposed_key_files.txt"]);
    for strict in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(strict)).unwrap();
        check_private(&path).unwrap();
        read_key::<1>(&path, &passphrase(PASSPHRASE)).unwrap();
    }
}

#[test]
fn key_file_is_never_overwritten() {
    let scratch = scratch_dir();
    let path = scratch.path().join("key");
    let first = secret();
    write(&path, &first).unwrap();
    let before = fs::read(&path).unwrap();
    let error = write(&path, &secret()).unwrap_err();
    assert!(matches!(error, PublishError::File(PrivateFileError::Exists(_))), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn interrupted_key_file_is_missing_or_complete() {
    for dies in 0..5 {
        let scratch = scratch_dir();
        let path = scratch.path().join("key");
        let (secret, disk) = (secret(), failing_disk(dies, None));
        write_key(&path, &secret, &passphrase(PASSPHRASE), KdfCost::Factor(2), &disk).unwrap_err();
        if path.exists() {
            read_key::<1>(&path, &passphrase(PASSPHRASE)).unwrap();
        } else {
            write(&path, &secret).unwrap();
        }
    }
}

#[test]
fn wrong_passphrase_and_damaged_file_are_refused() {
    let scratch = scratch_dir();
    let path = scratch.path().join("key");
    write(&path, &secret()).unwrap();
    let mut messages = String::new();
    for wrong in ["", "correct horse battery stapl", "Correct horse battery staple"] {
        let error = read_key::<1>(&path, &passphrase(wrong)).unwrap_err();
        assert!(matches!(error, PublishError::Decrypt(_)), "{error}");
        messages += &format!("passphrase {wrong:?}: {}\n", message(&error, scratch.path()));
    }
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(17) {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&path, changed).unwrap();
        read_key::<1>(&path, &passphrase(PASSPHRASE)).expect_err("changed");
    }
    for length in [0, 10, whole.len() / 2, whole.len() - 40] {
        fs::write(&path, &whole[..length]).unwrap();
        read_key::<1>(&path, &passphrase(PASSPHRASE)).expect_err("truncated");
    }
    let missing = read_key::<1>(&scratch.path().join("none"), &passphrase(PASSPHRASE)).unwrap_err();
    messages += &format!("missing file: {}\n", message(&missing, scratch.path()));
    snapbox::assert_data_eq!(messages, snapbox::file!["words/unreadable_key_files.txt"]);
}

#[test]
fn key_of_another_kind_is_refused() {
    let scratch = scratch_dir();
    let (note, cosigner) = (scratch.path().join("note"), scratch.path().join("cosigner"));
    write(&note, &secret()).unwrap();
    write(&cosigner, &unanimity_publish::generate_key::<4>("alice".parse().unwrap())).unwrap();
    let error = read_key::<4>(&note, &passphrase(PASSPHRASE)).unwrap_err();
    let mut messages = format!("publisher's key: {}\n", message(&error, scratch.path()));
    let error = read_key::<1>(&cosigner, &passphrase(PASSPHRASE)).unwrap_err();
    messages += &format!("peer's key: {}\n", message(&error, scratch.path()));
    snapbox::assert_data_eq!(messages, snapbox::file!["words/other_kinds_of_key.txt"]);
}

#[test]
fn private_key_is_in_no_file_error_or_debug_output() {
    let scratch = scratch_dir();
    let path = scratch.path().join("key");
    let secret = secret();
    write(&path, &secret).unwrap();
    let line = secret.to_private_key_line();
    // The fifth part and everything after it, because base64 contains `+`, too.
    let material = line.splitn(5, '+').last().unwrap();
    let seed = data_encoding::BASE64.decode(material.as_bytes());
    let seed = seed.unwrap()[1..].to_vec();
    let hides = |what: &str, bytes: &[u8]| {
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        for needle in [
            &seed[..],
            &seed[4..20],
            line.as_bytes(),
            material.as_bytes(),
            b"PRIVATE",
            b"publisher-a+",
            PASSPHRASE.as_bytes(),
        ] {
            assert!(!holds(needle), "{what} shows {:?}", String::from_utf8_lossy(needle));
        }
        let hex = data_encoding::HEXLOWER.encode(&seed);
        assert!(!holds(hex.as_bytes()), "{what} shows the seed");
    };
    let file = fs::read(&path).unwrap();
    hides("the file", &file);
    let text = String::from_utf8(file).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----"), "{text}");
    hides(
        "the directory",
        fs::read_dir(scratch.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect::<String>()
            .as_bytes(),
    );
    hides("Debug", format!("{secret:?} {:#?}", Some(&secret)).as_bytes());
    let errors = [
        read_key::<4>(&path, &passphrase(PASSPHRASE)).map(drop).unwrap_err(),
        read_key::<1>(&path, &passphrase("wrong")).map(drop).unwrap_err(),
        write(&path, &secret).unwrap_err(),
    ];
    for error in errors {
        hides("an error", format!("{error} {error:?}").as_bytes());
    }
    // The error for an invalid line does not contain the line.
    for broken in [&line[1..], &line[..line.len() - 1], &line.replace("publisher-a", "other")] {
        let error = NoteSigningKey::from_private_key_line(broken).unwrap_err();
        hides("a parser's error", format!("{error} {error:?}").as_bytes());
    }
}

fn release() -> ReleaseDraft {
    ReleaseDraft {
        log: sample_log::origin(),
        product: "hello".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        sequence: 1,
        version: "1.0.0".parse().unwrap(),
        issued: Timestamp(1_790_000_000),
        valid_for: Duration::from_secs(3600),
    }
}

fn artifact(platform: &str, bytes: &[u8]) -> (Name, Name, Vec<u8>) {
    (platform.parse().unwrap(), "hello".parse().unwrap(), bytes.to_vec())
}

#[test]
fn manifest_describes_the_release() {
    let artifacts = [artifact("x86_64-linux", b"second"), artifact("aarch64-linux", b"first")];
    let manifest = unanimity_publish::build_manifest(release(), artifacts).unwrap();
    assert_eq!(Manifest::parse(&manifest.to_string()).unwrap(), manifest);
    assert_eq!(manifest.expires, Timestamp(1_790_003_600));
    let platforms: Vec<_> = manifest.artifacts.iter().map(|a| a.platform.to_string()).collect();
    assert_eq!(platforms, ["aarch64-linux", "x86_64-linux"]);
    let first = &manifest.artifacts[0];
    assert_eq!(
        (first.length, first.sha256, first.kind),
        (5, Hash::digest(b"first"), ArtifactKind::File)
    );
}

#[test]
fn release_that_breaks_a_rule_of_its_format_is_refused() {
    let one = || vec![artifact("x86_64-linux", b"x")];
    let many = (0..=MAX_ARTIFACTS).map(|i| artifact(&format!("platform-{i}"), b"x")).collect();
    let cases: [(ReleaseDraft, Vec<_>, &str); 7] = [
        (ReleaseDraft { sequence: 0, ..release() }, one(), "sequence 0"),
        (ReleaseDraft { sequence: 1 << 63, ..release() }, one(), "sequence 2^63"),
        (ReleaseDraft { valid_for: Duration::ZERO, ..release() }, one(), "no validity"),
        (ReleaseDraft { issued: Timestamp(u64::MAX), ..release() }, one(), "time 2^64 - 1"),
        (release(), Vec::new(), "no artifact"),
        (release(), vec![artifact("x", b"1"), artifact("x", b"2")], "platform twice"),
        (release(), many, "65 artifacts"),
    ];
    let mut messages = String::new();
    for (release, artifacts, case) in cases {
        let error = unanimity_publish::build_manifest(release, artifacts).unwrap_err();
        assert!(matches!(error, PublishError::InvalidStatement(_)), "{error}");
        messages += &format!("{case}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/invalid_releases.txt"]);
}

/// Reads a manifest and signs it.
fn sign(path: &Path, secret: &NoteSigningKey, disk: &Storage) -> Result<Note, PublishError> {
    let (shown, _) = read_statement(path)?;
    unanimity_publish::sign_statement(path, &shown, secret, disk)
}

#[test]
fn changed_statement_is_not_signed() {
    let scratch = scratch_dir();
    let path = scratch.path().join("manifest");
    let manifest = |content: &[u8]| {
        unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", content)])
            .unwrap()
            .to_string()
    };
    fs::write(&path, manifest(b"x")).unwrap();
    let (shown, _) = read_statement(&path).unwrap();
    fs::write(&path, manifest(b"another")).unwrap();
    let error = unanimity_publish::sign_statement(&path, &shown, &secret(), &Storage::default())
        .unwrap_err();
    assert!(matches!(error, PublishError::Changed(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), manifest(b"another"));
}

#[test]
fn forged_or_full_signature_lists_are_refused() {
    let scratch = scratch_dir();
    let path = scratch.path().join("manifest");
    let manifest =
        unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", b"x")]).unwrap();
    let good = secret();
    // A signature line with the name and id of our key, and a false signature.
    let mut forged = Note::unsigned(&manifest.to_string()).unwrap();
    forged.sign(&good);
    let forged = forged.to_string().replace("sequence 1\n", "sequence 2\n");
    fs::write(&path, &forged).unwrap();
    let error = sign(&path, &good, &Storage::default()).unwrap_err();
    assert!(matches!(error, PublishError::Note { .. }), "{error}");
    let mut messages = format!("forged: {}\n", message(&error, scratch.path()));
    // A file with the largest number of signature lines.
    let junk: String = (0..64).map(|i| format!("— junk-{i} AAAAAAA=\n")).collect();
    let full = format!("{manifest}\n{junk}");
    fs::write(&path, &full).unwrap();
    let error = sign(&path, &good, &Storage::default()).unwrap_err();
    messages += &format!("full: {}\n", message(&error, scratch.path()));
    snapbox::assert_data_eq!(messages, snapbox::file!["words/refused_signature_lists.txt"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), full);
}

#[test]
fn manifest_is_signed_once_by_each_key() {
    let scratch = scratch_dir();
    let path = scratch.path().join("manifest");
    let manifest =
        unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", b"x")]).unwrap();
    fs::write(&path, manifest.to_string()).unwrap();
    let (a, b): (NoteSigningKey, NoteSigningKey) =
        (secret(), unanimity_publish::generate_key("b".parse().unwrap()));
    sign(&path, &a, &Storage::default()).unwrap();
    let once = fs::read(&path).unwrap();
    let error = sign(&path, &a, &Storage::default()).unwrap_err();
    assert!(matches!(&error, PublishError::AlreadySigned { .. }), "{error}");
    let message = message(&error, scratch.path());
    snapbox::assert_data_eq!(message, "[DIR]/manifest is already signed by publisher-a");
    assert_eq!(fs::read(&path).unwrap(), once);
    sign(&path, &b, &Storage::default()).unwrap();
    let (note, read) = read_statement(&path).unwrap();
    assert_eq!(read, Statement::Release(manifest));
    assert_eq!(note.open(&[a.public(), b.public()]).unwrap(), [a.public().raw(), b.public().raw()]);
    // On a full disk, the earlier signatures are kept.
    let two = fs::read(&path).unwrap();
    sign(&path, &unanimity_publish::generate_key("c".parse().unwrap()), &failing_disk(2, None))
        .unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), two);
}

#[test]
fn invalid_manifest_is_not_signed() {
    let scratch = scratch_dir();
    let path = scratch.path().join("manifest");
    let manifest = unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", b"x")])
        .unwrap()
        .to_string();
    let mut messages = String::new();
    for (text, case) in [
        (manifest.replace("sequence 1", "sequence 01"), "leading zero"),
        (manifest.replace("product hello", "product ../hello"), "unsafe product"),
        (manifest.replace("manifest/v1", "manifest/v2"), "another version"),
        (manifest.clone() + "extra\n", "extra line"),
        (manifest.trim_end().to_owned(), "no newline at the end"),
        (format!("{manifest}\n"), "empty line"),
        (manifest.replace('\n', "\r\n"), "carriage returns"),
        (String::new(), "empty file"),
    ] {
        fs::write(&path, &text).unwrap();
        let error = sign(&path, &secret(), &Storage::default()).unwrap_err();
        messages += &format!("{case}: {}\n", message(&error, scratch.path()));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/invalid_manifests.txt"]);
    fs::write(&path, [manifest.as_bytes(), b"\xff\n"].concat()).unwrap();
    sign(&path, &secret(), &Storage::default()).expect_err("not UTF-8");
}
