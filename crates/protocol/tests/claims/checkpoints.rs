//! Claims about checkpoints, and about the tree heads that they become.

use proptest::prelude::*;
use unanimity_protocol::checkpoint::{CheckpointError, MAX_CHECKPOINT_TEXT, Origin};
use unanimity_protocol::note::NoteError;
use unanimity_protocol::{Checkpoint, Hash, Log, TreeHead};

use crate::fixtures::{
    LogWorld, ORIGIN, cases, cosigner, flips, manifest, note, policy, publishers, released, secret,
};

const ROOT: &str = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";

fn text(size: &str, root: &str) -> String {
    format!("{ORIGIN}\n{size}\n{root}\n")
}

fn open(text: &str) -> Result<TreeHead, CheckpointError> {
    let world = LogWorld::new(0);
    TreeHead::verify(note(text, &[&world.secret]).to_string().as_bytes(), &world.log())
}

#[test]
fn a_checkpoint_opens_to_its_size_and_root() {
    let head = open(&text("20852163", ROOT)).unwrap();
    assert_eq!((head.size(), head.root().base64()), (20_852_163, ROOT.to_owned()));
    assert_eq!(head.log(), LogWorld::new(0).log().id());
}

#[test]
fn tree_head_keeps_only_the_logs_line_and_verifies_again() {
    let world = LogWorld::new(5);
    let mut signed = note(&world.checkpoint(5).text(), &[&secret("stranger", 9), &world.secret]);
    signed.sign(&publishers()[0]);
    let head = TreeHead::verify(signed.to_string().as_bytes(), &world.log()).unwrap();
    let alone = note(&world.checkpoint(5).text(), &[&world.secret]).to_string();
    assert_eq!(head.note(), alone);
    assert_eq!(TreeHead::verify(alone.as_bytes(), &world.log()), Ok(head));
}

#[test]
fn changed_byte_is_refused_or_leaves_the_head_unchanged() {
    let world = LogWorld::new(6);
    let text = world.checkpoint(6).text() + "extension\n";
    let signed = note(&text, &[&world.secret, &secret("stranger", 9)]).to_string();
    let head = world.open(&text);
    let unknown = signed.rfind("— stranger").unwrap();
    let mut unharmed = 0;
    for (at, flipped) in flips(signed.as_bytes()) {
        if let Ok(opened) = TreeHead::verify(&flipped, &world.log()) {
            assert!(at > unknown, "byte {at} is covered");
            assert_eq!((&opened, opened.note()), (&head, head.note()));
            unharmed += 1;
        }
    }
    assert!(unharmed > 50, "changes in the line of an unknown key do no harm");
}

#[test]
fn a_checkpoint_cut_short_is_refused() {
    let world = LogWorld::new(6);
    let signed = note(&world.checkpoint(6).text(), &[&world.secret]).to_string();
    for length in 0..signed.len() {
        assert!(TreeHead::verify(&signed.as_bytes()[..length], &world.log()).is_err(), "{length}");
    }
}

#[test]
fn a_size_has_one_spelling_and_is_below_2_to_the_63() {
    for size in ["1", "9", "10", "9223372036854775807"] {
        assert_eq!(open(&text(size, ROOT)).unwrap().size().to_string(), size);
    }
    let wrong = [
        "",
        "00",
        "01",
        "007",
        "+1",
        "-1",
        " 1",
        "1 ",
        "1_0",
        "0x1",
        "1.0",
        "1e3",
        "١",
        "one",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
    ];
    for size in wrong {
        assert_eq!(open(&text(size, ROOT)), Err(CheckpointError::Size), "{size:?}");
    }
}

#[test]
fn a_root_is_the_base64_of_32_bytes_and_nothing_else() {
    let long = crate::fixtures::base64(&[0; 33]);
    let short = crate::fixtures::base64(&[0; 31]);
    let stray_bits = ROOT.replacen("I=", "J=", 1);
    let hex = "0ac5186a91863e8e1d90c808014aa89bf5da8e3ee1d9f07630f0378f68f1ab62";
    let unpadded = ROOT.trim_end_matches('=');
    let spaced = format!("{ROOT} ");
    for root in ["", "AAAA", &long, &short, &stray_bits, hex, unpadded, &spaced] {
        assert_eq!(open(&text("1", root)), Err(CheckpointError::Root), "{root:?}");
    }
}

#[test]
fn an_empty_tree_has_the_root_of_nothing() {
    let empty = Hash::empty_root().base64();
    assert_eq!(empty, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_eq!(open(&text("0", &empty)).unwrap().size(), 0);
    assert_eq!(open(&text("0", ROOT)), Err(CheckpointError::EmptyRoot));
}

#[test]
fn checkpoint_without_a_line_is_refused() {
    assert_eq!(open("\n"), Err(CheckpointError::Origin));
    assert_eq!(open(&format!("{ORIGIN}\n")), Err(CheckpointError::Size));
    assert_eq!(open(&format!("{ORIGIN}\n1\n")), Err(CheckpointError::Root));
    assert_eq!(open(&format!("\n{}", text("1", ROOT))), Err(CheckpointError::Origin));
    assert_eq!(Checkpoint::parse(""), Err(CheckpointError::Origin));
    assert_eq!(Checkpoint::parse(text("1", ROOT).trim_end()), Err(CheckpointError::Root));
    let unfinished = text("1", ROOT) + "unfinished";
    assert!(matches!(Checkpoint::parse(&unfinished), Err(CheckpointError::Extension(_))));
}

#[test]
fn extension_lines_are_signed_and_kept() {
    let extended = text("7", ROOT) + "extension one\n— not a signature\n";
    let head = open(&extended).unwrap();
    assert!(head.note().starts_with(&extended));
    assert_eq!(head, open(&text("7", ROOT)).unwrap(), "extension lines do not change the head");
    let world = LogWorld::new(0);
    for altered in
        [head.note().replacen("one", "two", 1), head.note().replacen("extension one\n", "", 1)]
    {
        let opened = TreeHead::verify(altered.as_bytes(), &world.log());
        let key = world.secret.public().name().clone();
        assert_eq!(opened, Err(NoteError::BadSignature(key).into()));
    }
}

#[test]
fn an_empty_line_inside_the_text_is_refused_and_named() {
    assert_eq!(open(&(text("7", ROOT) + "\n")), Err(CheckpointError::Extension(4)));
    assert_eq!(open(&(text("7", ROOT) + "one\n\ntwo\n")), Err(CheckpointError::Extension(5)));
}

#[test]
fn a_checkpoints_text_has_at_most_2_kib() {
    let fixed = text("7", ROOT);
    let fill = |length: usize| format!("{fixed}{}\n", "x".repeat(length - fixed.len() - 1));
    assert_eq!(MAX_CHECKPOINT_TEXT, 2048);
    assert!(open(&fill(2048)).is_ok());
    assert_eq!(open(&fill(2049)), Err(CheckpointError::TooLong));
}

#[test]
fn another_log_signed_by_the_same_key_is_refused() {
    let world = LogWorld::new(3);
    let other = world.checkpoint(3).text().replacen(ORIGIN, "example.org/other", 1);
    let (found, wanted) = ("example.org/other".to_owned(), ORIGIN.to_owned());
    assert_eq!(open(&other), Err(CheckpointError::OtherLog { found, wanted }));
    for near in ["example.org/log2", "xexample.org/log", "Example.org/log", "example.org/lo"] {
        let text = world.checkpoint(3).text().replacen(ORIGIN, near, 1);
        assert!(matches!(open(&text), Err(CheckpointError::OtherLog { .. })), "{near}");
    }
}

#[test]
fn a_checkpoint_that_another_key_signed_is_refused() {
    let world = LogWorld::new(3);
    let text = world.checkpoint(3).text();
    let by = |name, seed| {
        let signed = note(&text, &[&secret(name, seed)]);
        TreeHead::verify(signed.to_string().as_bytes(), &world.log())
    };
    assert_eq!(by("log-key", 101), Err(NoteError::Unsigned.into()));
    assert_eq!(by("other-name", 100), Err(NoteError::Unsigned.into()));
    let unsigned = format!("{text}\n");
    assert!(TreeHead::verify(unsigned.as_bytes(), &world.log()).is_err());
}

#[test]
fn a_log_is_its_origin_and_its_key() {
    let log = LogWorld::new(0).log();
    let other_origin = Log { origin: "example.org/other".parse().unwrap(), key: log.key.clone() };
    let other_key = Log { origin: log.origin.clone(), key: secret("log-key", 101).public() };
    let other_name = Log { origin: log.origin.clone(), key: secret("log-kez", 100).public() };
    let line = log.key.to_string();
    assert_eq!(
        log.id().0,
        Hash::digest(format!("unanimity/log/v1\n{ORIGIN}\n{line}\n").as_bytes()).0
    );
    let ids = [log.id(), other_origin.id(), other_key.id(), other_name.id()];
    for (i, id) in ids.iter().enumerate() {
        assert!(!ids[..i].contains(id));
    }
}

#[test]
fn the_key_may_have_another_name_than_the_log() {
    let go = secret("sum.golang.org", 3);
    let log = Log { origin: "go.sum database tree".parse().unwrap(), key: go.public() };
    let text = format!("go.sum database tree\n20852163\n{ROOT}\n");
    let head = TreeHead::verify(note(&text, &[&go]).to_string().as_bytes(), &log).unwrap();
    assert_eq!(head.size(), 20_852_163);
}

#[test]
fn a_manifest_is_no_checkpoint_and_a_checkpoint_is_no_manifest() {
    let world = LogWorld::new(3);
    let text = manifest(1).to_string();
    assert_eq!(open(&text), Err(CheckpointError::Origin));

    let [a, b, _] = publishers();
    let checkpoint = note(&world.checkpoint(3).text(), &[&a, &b]);
    let entry = unanimity_protocol::LogEntry { index: 0, note: checkpoint };
    let refused =
        unanimity_protocol::SignedRelease::verify(entry, &policy(), 0, crate::fixtures::NOW);
    assert!(matches!(refused, Err(unanimity_protocol::Refusal::Malformed(_))));
    let note = released(&text).to_string();
    assert!(TreeHead::verify(note.as_bytes(), &world.log()).is_err());
    // A peer's key has another id than the log's key, even with equal 32 bytes.
    let peer = cosigner("log-key", 100);
    assert_eq!(peer.public().raw(), world.secret.public().raw());
    assert_ne!(peer.public().id(), world.secret.public().id());
}

#[test]
fn origin_does_not_begin_like_a_statement() {
    let long = "o".repeat(256);
    let wrong = [
        "",
        "unanimity/",
        "unanimity/manifest/v1",
        "unanimity/log",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "a\u{7f}",
        "a\u{85}b",
        "ö",
        "a\u{200b}",
        "a  b",
        "\u{a0}a",
        &long,
    ];
    for origin in wrong {
        assert_eq!(origin.parse::<Origin>(), Err(CheckpointError::Origin), "{origin:?}");
    }
    for origin in ["a", "unanimity", "unanimity.example/log", "go.sum database tree", &long[1..]] {
        assert_eq!(origin.parse::<Origin>().unwrap().to_string(), origin);
    }
    assert_eq!(
        open(&text("1", ROOT).replacen(ORIGIN, "unanimity/manifest/v1", 1)),
        Err(CheckpointError::Origin)
    );
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_checkpoint_that_parses_prints_back_to_the_same_bytes(
        origin in "[ -~]{0,12}", size in prop_oneof!["[0-9]{0,20}", "[ -~]{0,5}"], root in any::<[u8; 32]>(), cut in 0usize..90,
    ) {
        let whole = format!("{origin}\n{size}\n{}\n", Hash(root).base64());
        for text in [&whole[..], &whole[..cut.min(whole.len())]] {
            if let Ok(checkpoint) = Checkpoint::parse(text) {
                prop_assert_eq!(checkpoint.text(), text);
            }
        }
    }
}
