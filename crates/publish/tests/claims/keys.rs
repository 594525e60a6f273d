//! Keys at rest and manifests in the making: nothing leaks, nothing is overwritten.

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

const WORDS: &str = "correct horse battery staple";

fn words(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

fn write<const TYPE: u8>(path: &Path, secret: &SigningKey<TYPE>) -> Result<(), PublishError> {
    write_key(path, secret, &words(WORDS), KdfCost::Factor(2), &Storage::default())
}

fn secret() -> NoteSigningKey {
    unanimity_publish::generate_key("publisher-a".parse().unwrap())
}

#[test]
fn a_key_comes_back_from_its_file() {
    let place = scratch_dir();
    let (note, cosigner) = (place.path().join("note"), place.path().join("cosigner"));
    let secret = secret();
    write(&note, &secret).unwrap();
    let read: NoteSigningKey = read_key(&note, &words(WORDS)).unwrap();
    assert_eq!(read.to_private_key_line(), secret.to_private_key_line());
    let peer: CosignatureSigningKey = unanimity_publish::generate_key("alice".parse().unwrap());
    write(&cosigner, &peer).unwrap();
    let read: CosignatureSigningKey = read_key(&cosigner, &words(WORDS)).unwrap();
    assert_eq!(read.public(), peer.public());
    assert_ne!(
        secret.to_private_key_line(),
        self::secret().to_private_key_line(),
        "each key is drawn anew"
    );
}

#[test]
fn a_key_file_is_for_its_owner_only() {
    let place = scratch_dir();
    let path = place.path().join("key");
    write(&path, &secret()).unwrap();
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    for exposed in [0o644, 0o640, 0o604, 0o660, 0o602, 0o601, 0o610, 0o777] {
        fs::set_permissions(&path, fs::Permissions::from_mode(exposed)).unwrap();
        let error = read_key::<1>(&path, &words(WORDS)).unwrap_err();
        assert!(
            matches!(&error, PublishError::File(PrivateFileError::Exposed { mode, .. }) if *mode == exposed)
        );
        let said = error.to_string();
        assert!(said.contains("chmod 600") && said.contains(&format!("{exposed:03o}")), "{said}");
        assert!(said.contains(path.to_str().unwrap()), "{said}");
    }
    for strict in [0o600, 0o400] {
        fs::set_permissions(&path, fs::Permissions::from_mode(strict)).unwrap();
        check_private(&path).unwrap();
        read_key::<1>(&path, &words(WORDS)).unwrap();
    }
}

#[test]
fn a_key_file_is_never_overwritten() {
    let place = scratch_dir();
    let path = place.path().join("key");
    let first = secret();
    write(&path, &first).unwrap();
    let before = fs::read(&path).unwrap();
    let error = write(&path, &secret()).unwrap_err();
    assert!(matches!(error, PublishError::File(PrivateFileError::Exists(_))), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_key_file_interrupted_at_any_step_is_not_there_or_whole() {
    for dies in 0..5 {
        let place = scratch_dir();
        let path = place.path().join("key");
        let (secret, disk) = (secret(), failing_disk(dies, None));
        write_key(&path, &secret, &words(WORDS), KdfCost::Factor(2), &disk).unwrap_err();
        if path.exists() {
            read_key::<1>(&path, &words(WORDS)).unwrap();
        } else {
            write(&path, &secret).unwrap();
        }
    }
}

#[test]
fn the_wrong_passphrase_or_file_is_refused() {
    let place = scratch_dir();
    let path = place.path().join("key");
    write(&path, &secret()).unwrap();
    for wrong in ["", "correct horse battery stapl", "Correct horse battery staple"] {
        let error = read_key::<1>(&path, &words(wrong)).unwrap_err();
        assert!(matches!(error, PublishError::Decrypt(_)), "{error}");
        assert!(error.to_string().contains("wrong passphrase"));
    }
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(17) {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&path, changed).unwrap();
        read_key::<1>(&path, &words(WORDS)).expect_err("changed");
    }
    for length in [0, 10, whole.len() / 2, whole.len() - 40] {
        fs::write(&path, &whole[..length]).unwrap();
        read_key::<1>(&path, &words(WORDS)).expect_err("truncated");
    }
    let missing = read_key::<1>(&place.path().join("none"), &words(WORDS)).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn a_key_for_something_else_is_refused() {
    let place = scratch_dir();
    let (note, cosigner) = (place.path().join("note"), place.path().join("cosigner"));
    write(&note, &secret()).unwrap();
    write(&cosigner, &unanimity_publish::generate_key::<4>("alice".parse().unwrap())).unwrap();
    let error = read_key::<4>(&note, &words(WORDS)).unwrap_err().to_string();
    assert!(
        error.contains("is a publisher's or a log's key, and a peer's key is needed"),
        "{error}"
    );
    let error = read_key::<1>(&cosigner, &words(WORDS)).unwrap_err().to_string();
    assert!(
        error.contains("is a peer's key, and a publisher's or a log's key is needed"),
        "{error}"
    );
}

#[test]
fn the_secret_is_in_no_file_no_error_and_no_debug_output() {
    let place = scratch_dir();
    let path = place.path().join("key");
    let secret = secret();
    write(&path, &secret).unwrap();
    let line = secret.to_private_key_line();
    // The fifth part and all that follows: base64 has a + of its own.
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
            WORDS.as_bytes(),
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
        fs::read_dir(place.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect::<String>()
            .as_bytes(),
    );
    hides("Debug", format!("{secret:?} {:#?}", Some(&secret)).as_bytes());
    let errors = [
        read_key::<4>(&path, &words(WORDS)).map(drop).unwrap_err(),
        read_key::<1>(&path, &words("wrong")).map(drop).unwrap_err(),
        write(&path, &secret).unwrap_err(),
    ];
    for error in errors {
        hides("an error", format!("{error} {error:?}").as_bytes());
    }
    // A line that is nearly a key is refused without being shown.
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
fn a_manifest_says_what_was_released() {
    let artifacts = [artifact("x86_64-linux", b"second"), artifact("aarch64-linux", b"first")];
    let manifest = unanimity_publish::build_manifest(release(), artifacts).unwrap();
    assert_eq!(Manifest::parse(&manifest.to_string()).unwrap(), manifest);
    assert_eq!(manifest.expires, Timestamp(1_790_003_600));
    let targets: Vec<_> = manifest.artifacts.iter().map(|t| t.platform.to_string()).collect();
    assert_eq!(targets, ["aarch64-linux", "x86_64-linux"]);
    let target = &manifest.artifacts[0];
    assert_eq!(
        (target.length, target.sha256, target.kind),
        (5, Hash::digest(b"first"), ArtifactKind::File)
    );
}

#[test]
fn a_release_that_its_format_cannot_say_is_refused() {
    let one = || vec![artifact("x86_64-linux", b"x")];
    let many = (0..=MAX_ARTIFACTS).map(|i| artifact(&format!("platform-{i}"), b"x")).collect();
    let cases: [(ReleaseDraft, Vec<_>, &str); 7] = [
        (ReleaseDraft { sequence: 0, ..release() }, one(), "sequence"),
        (ReleaseDraft { sequence: 1 << 63, ..release() }, one(), "sequence"),
        (ReleaseDraft { valid_for: Duration::ZERO, ..release() }, one(), "expires"),
        (ReleaseDraft { issued: Timestamp(u64::MAX), ..release() }, one(), "issued"),
        (release(), Vec::new(), "target"),
        (release(), vec![artifact("x", b"1"), artifact("x", b"2")], "one for each platform"),
        (release(), many, "at most 64"),
    ];
    for (release, artifacts, why) in cases {
        let error = unanimity_publish::build_manifest(release, artifacts).unwrap_err();
        assert!(matches!(error, PublishError::InvalidStatement(_)), "{error}");
        let said = error.to_string();
        assert!(said.contains(why) && said.contains("line"), "{said}");
    }
}

/// Looks at a manifest and signs it.
fn sign(path: &Path, secret: &NoteSigningKey, disk: &Storage) -> Result<Note, PublishError> {
    let (shown, _) = read_statement(path)?;
    unanimity_publish::sign_statement(path, &shown, secret, disk)
}

#[test]
fn only_what_was_shown_is_signed() {
    let place = scratch_dir();
    let path = place.path().join("manifest");
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
fn other_peoples_lines_neither_pass_for_ours_nor_make_a_file_that_cannot_be_read() {
    let place = scratch_dir();
    let path = place.path().join("manifest");
    let manifest =
        unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", b"x")]).unwrap();
    let good = secret();
    // A line with our name and id that we did not make.
    let mut forged = Note::unsigned(&manifest.to_string()).unwrap();
    forged.sign(&good);
    let forged = forged.to_string().replace("sequence 1\n", "sequence 2\n");
    fs::write(&path, &forged).unwrap();
    let error = sign(&path, &good, &Storage::default()).unwrap_err();
    assert!(matches!(error, PublishError::Note { .. }), "{error}");
    // Room for no further line.
    let junk: String = (0..64).map(|i| format!("— junk-{i} AAAAAAA=\n")).collect();
    let full = format!("{manifest}\n{junk}");
    fs::write(&path, &full).unwrap();
    let error = sign(&path, &good, &Storage::default()).unwrap_err();
    assert!(error.to_string().contains("65 signature lines"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), full);
}

#[test]
fn a_manifest_is_signed_once_by_each_key() {
    let place = scratch_dir();
    let path = place.path().join("manifest");
    let manifest =
        unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", b"x")]).unwrap();
    fs::write(&path, manifest.to_string()).unwrap();
    let (a, b): (NoteSigningKey, NoteSigningKey) =
        (secret(), unanimity_publish::generate_key("b".parse().unwrap()));
    sign(&path, &a, &Storage::default()).unwrap();
    let once = fs::read(&path).unwrap();
    let error = sign(&path, &a, &Storage::default()).unwrap_err();
    assert!(matches!(&error, PublishError::AlreadySigned { .. }), "{error}");
    assert!(error.to_string().contains("already signed by publisher-a"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), once);
    sign(&path, &b, &Storage::default()).unwrap();
    let (note, read) = read_statement(&path).unwrap();
    assert_eq!(read, Statement::Release(manifest));
    assert_eq!(note.open(&[a.public(), b.public()]).unwrap(), [a.public().raw(), b.public().raw()]);
    // A disk without space costs the new signature and none of the old.
    let two = fs::read(&path).unwrap();
    sign(&path, &unanimity_publish::generate_key("c".parse().unwrap()), &failing_disk(2, None))
        .unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), two);
}

#[test]
fn what_is_not_a_manifest_is_not_signed() {
    let place = scratch_dir();
    let path = place.path().join("manifest");
    let manifest = unanimity_publish::build_manifest(release(), [artifact("x86_64-linux", b"x")])
        .unwrap()
        .to_string();
    for (text, line) in [
        (manifest.replace("sequence 1", "sequence 01"), "line 5"),
        (manifest.replace("product hello", "product ../hello"), "line 3"),
        (manifest.replace("manifest/v1", "manifest/v2"), "line 1"),
        (manifest.clone() + "extra\n", ""),
        (manifest.trim_end().to_owned(), ""),
        (format!("{manifest}\n"), ""),
        (manifest.replace('\n', "\r\n"), ""),
        (String::new(), ""),
    ] {
        fs::write(&path, &text).unwrap();
        let error = sign(&path, &secret(), &Storage::default()).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains(line), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, [manifest.as_bytes(), b"\xff\n"].concat()).unwrap();
    sign(&path, &secret(), &Storage::default()).expect_err("not UTF-8");
}
