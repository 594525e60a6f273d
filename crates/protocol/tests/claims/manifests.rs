//! Claims about manifests: every manifest has one spelling, and every name is safe.

use proptest::prelude::*;
use unanimity_protocol::manifest::{
    ArchiveFormat, Artifact, ArtifactKind, MAX_ARTIFACTS, Manifest,
};
use unanimity_protocol::{Hash, LogEntry, Name, Refusal, SignedRelease, Timestamp};

use crate::fixtures::{
    LogWorld, NOW, cases, flips, manifest, name, note, policy, publishers, secret,
};

const GOLDEN: &str = "unanimity/manifest/v1
log example.org/log
product hello
channel stable
sequence 2
version 1.1.0
issued 1790000000
expires 1797776000
artifact aarch64-linux hello.tar.zst 51677 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 tar.zst 190464 12
artifact x86_64-linux hello 48213 486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7 file
";

fn golden() -> Manifest {
    let kind =
        ArtifactKind::Archive { format: ArchiveFormat::TarZst, unpacked: 190_464, entries: 12 };
    let artifact = |platform, file, length, sha256, kind| {
        let (platform, file) = (name(platform), name(file));
        Artifact { platform, file, length, sha256, kind }
    };
    Manifest {
        log: "example.org/log".parse().unwrap(),
        product: name("hello"),
        channel: name("stable"),
        sequence: 2,
        version: name("1.1.0"),
        issued: Timestamp(1_790_000_000),
        expires: Timestamp(1_797_776_000),
        artifacts: vec![
            artifact("aarch64-linux", "hello.tar.zst", 51_677, Hash::digest(b"hello"), kind),
            artifact("x86_64-linux", "hello", 48_213, Hash::digest(b"world"), ArtifactKind::File),
        ],
    }
}

/// The number of the line at which a text is refused; 0 if it is a manifest.
fn fails_at(text: &str) -> usize {
    Manifest::parse(text).map_or_else(|error| error.line, |_| 0)
}

/// The golden manifest with one line replaced by any text.
fn with(line: usize, replacement: &str) -> String {
    let mut lines: Vec<&str> = GOLDEN.split_inclusive('\n').collect();
    lines[line - 1] = replacement;
    lines.concat()
}

#[test]
fn golden_text_is_the_golden_manifest() {
    assert_eq!(Manifest::parse(GOLDEN), Ok(golden()));
    assert_eq!(golden().to_string(), GOLDEN);
    assert_eq!(golden().label(), "2-1.1.0");
    assert_eq!(golden().artifact_for(&name("x86_64-linux")), Some(&golden().artifacts[1]));
    assert_eq!(golden().artifact_for(&name("riscv64-linux")), None);
}

#[test]
fn refused_manifest_names_the_line_and_the_expected_form() {
    let errors = (1..=10).map(|line| Manifest::parse(&with(line, "other\n")).unwrap_err());
    let text: String = errors.map(|error| format!("{error}\n")).collect();
    snapbox::assert_data_eq!(text, snapbox::file!["words/malformed_manifests.txt"]);
}

#[test]
fn every_line_is_required_once_and_in_order() {
    let lines: Vec<&str> = GOLDEN.split_inclusive('\n').collect();
    for line in 1..=8 {
        assert_ne!(fails_at(&with(line, "")), 0, "without line {line}");
        assert_ne!(fails_at(&with(line, &lines[line - 1].repeat(2))), 0, "line {line} twice");
        assert_ne!(fails_at(&with(line, "unknown field\n")), 0);
        assert_ne!(fails_at(&with(line, &format!("unknown field\n{}", lines[line - 1]))), 0);
        let mut swapped = lines.clone();
        swapped.swap(line - 1, line);
        assert_eq!(fails_at(&swapped.concat()), line, "lines {line} and {} swapped", line + 1);
    }
    assert_eq!(fails_at(&lines[..8].concat()), 8, "no artifact");
    assert_eq!(fails_at(&format!("{GOLDEN}unknown field\n")), 11);
    assert_eq!(fails_at(&format!("{GOLDEN}\n")), 11);
    assert_eq!(fails_at(""), 1);
}

#[test]
fn manifest_cut_short_is_refused_unless_a_whole_artifact_is_gone() {
    let all_but_one = GOLDEN.trim_end().rfind('\n').unwrap() + 1;
    for length in (0..GOLDEN.len()).filter(|length| *length != all_but_one) {
        assert_ne!(fails_at(&GOLDEN[..length]), 0, "{length}");
    }
}

#[test]
fn spaces_are_single_and_only_between_words() {
    for (at, _) in GOLDEN.match_indices(' ') {
        let doubled = format!("{}  {}", &GOLDEN[..at], &GOLDEN[at + 1..]);
        assert_ne!(fails_at(&doubled), 0, "{doubled}");
        let tab = format!("{}\t{}", &GOLDEN[..at], &GOLDEN[at + 1..]);
        assert_ne!(fails_at(&tab), 0);
    }
    for line in 1..=10 {
        let text = GOLDEN.lines().nth(line - 1).unwrap();
        assert_eq!(fails_at(&with(line, &format!("{text} \n"))), line);
        assert_eq!(fails_at(&with(line, &format!(" {text}\n"))), line);
        assert_eq!(fails_at(&with(line, &format!("{text}\r\n"))), line);
    }
}

#[test]
fn numbers_have_one_spelling_and_are_below_2_to_the_63() {
    let wrong =
        ["", "02", "+2", "-2", "2.0", "0x2", "2_0", "9223372036854775808", "99999999999999999999"];
    let largest = "9223372036854775807";
    for number in wrong {
        assert_eq!(fails_at(&with(5, &format!("sequence {number}\n"))), 5, "{number}");
        assert_eq!(fails_at(&with(7, &format!("issued {number}\n"))), 7, "{number}");
        assert_eq!(fails_at(&with(8, &format!("expires {number}\n"))), 8, "{number}");
        assert_eq!(fails_at(&GOLDEN.replacen("51677", number, 1)), 9, "{number}");
        assert_eq!(fails_at(&GOLDEN.replacen("190464", number, 1)), 9, "{number}");
        assert_eq!(fails_at(&GOLDEN.replacen(" 12\n", &format!(" {number}\n"), 1)), 9, "{number}");
    }
    for number in ["51677", "190464"] {
        assert_eq!(fails_at(&GOLDEN.replacen(number, largest, 1)), 0);
    }
    assert_eq!(fails_at(&with(5, &format!("sequence {largest}\n"))), 0);
    assert_eq!(fails_at(&with(8, &format!("expires {largest}\n"))), 0);
}

#[test]
fn sequences_start_at_one() {
    assert_eq!(fails_at(&with(5, "sequence 0\n")), 5);
    assert_eq!(fails_at(&with(5, "sequence 1\n")), 0);
}

#[test]
fn a_release_expires_after_it_was_issued() {
    for (expires, line) in [("1789999999", 8), ("1790000000", 8), ("1790000001", 0), ("0", 8)] {
        assert_eq!(fails_at(&with(8, &format!("expires {expires}\n"))), line, "{expires}");
    }
}

#[test]
fn name_cannot_leave_a_directory_hide_a_file_or_carry_an_escape() {
    let long = "n".repeat(65);
    let wrong = [
        "",
        "..",
        ".",
        "../x",
        ".hidden",
        "a/b",
        "/a",
        "a\\b",
        "a b",
        " a",
        "a ",
        "a\u{1b}[31m",
        "a\0",
        "a:b",
        "a*",
        "$a",
        "a\u{202e}b",
        "ä",
        "ａ",
        "a\u{7f}",
        "%2e",
        "a'b",
        "a\"b",
        "(a)",
        &long,
    ];
    for text in wrong {
        assert!(text.parse::<Name>().is_err(), "{text:?}");
        assert_eq!(fails_at(&with(3, &format!("product {text}\n"))), 3, "{text:?}");
        assert_eq!(fails_at(&with(4, &format!("channel {text}\n"))), 4, "{text:?}");
        assert_eq!(fails_at(&with(6, &format!("version {text}\n"))), 6, "{text:?}");
        assert_eq!(fails_at(&GOLDEN.replacen("aarch64-linux", text, 1)), 9, "{text:?}");
        assert_eq!(fails_at(&GOLDEN.replacen("hello.tar.zst", text, 1)), 9, "{text:?}");
    }
    for text in ["a", "-", "~", "a..b", "A.b_c+d~e-9", &long[1..]] {
        assert_eq!(text.parse::<Name>().unwrap().as_str(), text);
        assert_eq!(fails_at(&GOLDEN.replacen("hello.tar.zst", text, 1)), 0, "{text:?}");
    }
}

#[test]
fn log_line_is_an_origin() {
    for origin in ["", " x", "unanimity/manifest/v1"] {
        assert_eq!(fails_at(&with(2, &format!("log {origin}\n"))), 2, "{origin:?}");
    }
    assert_eq!(fails_at(&with(2, "log go.sum database tree\n")), 0);
}

#[test]
fn manifest_of_another_version_is_refused() {
    for header in
        ["unanimity/manifest/v2", "unanimity/manifest/v1 ", "unanimity/Manifest/v1", "manifest/v1"]
    {
        assert_eq!(fails_at(&with(1, &format!("{header}\n"))), 1, "{header:?}");
    }
}

#[test]
fn artifacts_are_in_order_and_one_for_each_platform() {
    let lines: Vec<&str> = GOLDEN.split_inclusive('\n').collect();
    let head = lines[..8].concat();
    assert_eq!(fails_at(&format!("{head}{}{}", lines[9], lines[8])), 10);
    assert_eq!(fails_at(&format!("{head}{}{}", lines[8], lines[8])), 10);
    let second = lines[9].replacen("hello", "other", 1);
    assert_eq!(fails_at(&format!("{GOLDEN}{second}")), 11);
}

#[test]
fn manifest_has_at_most_64_artifacts() {
    let mut many = golden();
    let artifact = |i: usize| Artifact {
        platform: name(&format!("p{i:03}")),
        ..golden().artifacts[0].clone()
    };
    many.artifacts = (0..MAX_ARTIFACTS).map(artifact).collect();
    assert_eq!(MAX_ARTIFACTS, 64);
    assert_eq!(Manifest::parse(&many.to_string()), Ok(many.clone()));
    many.artifacts.push(artifact(64));
    assert_eq!(fails_at(&many.to_string()), 8 + 65);
}

#[test]
fn artifact_line_has_the_words_of_its_kind() {
    let sha = Hash::digest(b"x").hex();
    let archive = |words: &str| fails_at(&with(10, &format!("artifact x f 1 {sha} {words}\n")));
    for right in ["file", "tar 1 1", "tar.gz 0 0", "tar.zst 9223372036854775807 1"] {
        assert_eq!(archive(right), 0, "{right}");
    }
    let wrong = [
        "",
        "file ",
        "file 1",
        "file 1 1",
        "File",
        "tar",
        "tar 1",
        "tar 1 ",
        "tar 1 1 1",
        "tar 01 1",
        "tar -1 1",
        "tar.xz 1 1",
        "zip 1 1",
        "tar.gz1 1",
        "directory",
    ];
    for words in wrong {
        assert_eq!(archive(words), 10, "{words:?}");
    }
    for wrong in
        [&sha[1..], &format!("{sha}0"), &sha.to_uppercase(), &sha.replacen(&sha[..1], "g", 1), ""]
    {
        assert_eq!(fails_at(&with(10, &format!("artifact x f 1 {wrong} file\n"))), 10, "{wrong:?}");
    }
}

#[test]
fn changed_byte_is_refused_unless_it_is_in_an_unknown_signature() {
    let [a, b, _] = publishers();
    let text = manifest(2).to_string();
    let note = note(&text, &[&a, &b, &secret("stranger", 9)]).to_string();
    let open = |bytes: &[u8]| {
        let note = unanimity_protocol::Note::parse(bytes).ok()?;
        SignedRelease::verify(LogEntry { index: 0, note }, &policy(), 0, NOW).ok()
    };
    assert_eq!(*open(note.as_bytes()).unwrap().manifest(), manifest(2));
    let unknown = note.rfind("— stranger").unwrap();
    let mut world = LogWorld::new(4);
    world.leaves[0] = Hash::leaf(note.as_bytes());
    for (at, flipped) in flips(note.as_bytes()) {
        if let Some(signed) = open(&flipped) {
            assert!(at > unknown, "byte {at} is covered");
            assert_eq!(*signed.manifest(), manifest(2));
            // The log contains the bytes that were logged, and no others.
            let logged =
                signed.prove_inclusion(&world.consistent_heads(4), None, &world.inclusion(0, 4));
            assert!(matches!(logged, Err(Refusal::NotLogged(_))), "byte {at}");
        }
    }
    for length in 0..unknown {
        assert!(open(&note.as_bytes()[..length]).is_none(), "cut at {length}");
    }
}

fn a_name() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_+~-][A-Za-z0-9._+~-]{0,63}".prop_map(|text| name(&text))
}

prop_compose! {
    fn an_artifact()(
        platform in a_name(), file in a_name(), length in 0u64..1 << 63, sha256 in any::<[u8; 32]>(),
        kind in 0usize..4, unpacked in 0u64..1 << 63, entries in 0u64..1 << 63,
    ) -> Artifact {
        let archive = |format| ArtifactKind::Archive { format, unpacked, entries };
        let kinds = [
            ArtifactKind::File, archive(ArchiveFormat::Tar), archive(ArchiveFormat::TarGz), archive(ArchiveFormat::TarZst),
        ];
        Artifact { platform, file, length, sha256: Hash(sha256), kind: kinds[kind] }
    }
}

prop_compose! {
    fn a_manifest()(
        log in "[a-z][ -~]{0,60}[a-z]", product in a_name(), channel in a_name(), version in a_name(),
        sequence in 1u64..1 << 63, issued in 0u64..1 << 62, lasts in 1u64..1 << 62,
        artifacts in proptest::collection::vec(an_artifact(), 1..8),
    ) -> Manifest {
        let mut artifacts = artifacts;
        artifacts.sort_by(|a, b| a.platform.cmp(&b.platform));
        artifacts.dedup_by(|a, b| a.platform == b.platform);
        let (issued, expires) = (Timestamp(issued), Timestamp(issued + lasts));
        Manifest { log: format!("log {log}").parse().unwrap(), product, channel, sequence, version, issued, expires, artifacts }
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn manifest_reads_back_as_it_was_written(manifest in a_manifest()) {
        prop_assert_eq!(Manifest::parse(&manifest.to_string()), Ok(manifest));
    }

    #[test]
    fn parsed_manifest_prints_back_to_its_bytes(at in 0usize..500, byte in 0x20u8..0x7f) {
        let mut text = GOLDEN.as_bytes().to_vec();
        let at = at % text.len();
        text[at] = byte;
        let text = String::from_utf8(text).unwrap();
        if let Ok(manifest) = Manifest::parse(&text) {
            prop_assert_eq!(manifest.to_string(), text);
        }
    }
}
