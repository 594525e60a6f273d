//! Invites: an invite is one line, and a mistake in it is an error.

use proptest::prelude::*;
use unanimity_config::peers::invite::MAX_INVITE_BYTES;
use unanimity_config::{ClientAuthKey, Invite, InviteError, Membership, MirrorUrl, OnionAddress};
use unanimity_protocol::key::KeyError;
use unanimity_protocol::{
    CosignatureSigningKey, CosignatureVerifyingKey, Hash, Log, NoteSigningKey,
};
use unanimity_testkit::scratch_dir;

use crate::cases::cases;

fn log(origin: &str, seed: u8) -> Log {
    let key = NoteSigningKey::from_seed("log.example".parse().unwrap(), &[seed; 32]).public();
    Log { origin: origin.parse().unwrap(), key }
}

fn key(name: &str, seed: u8) -> CosignatureVerifyingKey {
    CosignatureSigningKey::from_seed(name.parse().unwrap(), &[seed; 32]).public()
}

fn our_log() -> Log {
    log("log.example/releases", 10)
}

fn invite(log: &Log, name: &str, seed: u8) -> Invite {
    Invite {
        name: name.parse().unwrap(),
        origin: log.origin.clone(),
        log: log.id(),
        address: OnionAddress { key: [seed; 32], port: 4242 },
        key: key(name, seed),
        client_auth: ClientAuthKey([seed; 32]),
        artifacts: None,
        size: 42,
        root: Hash([7; 32]),
    }
}

fn alice() -> Invite {
    invite(&our_log(), "alice", 1)
}

fn read(text: &str) -> Result<Invite, InviteError> {
    text.parse()
}

/// An invite with these fields and a matching checksum.
fn with_checksum(fields: &str) -> String {
    format!("{fields},{}", &Hash::digest(fields.as_bytes()).hex()[..8])
}

/// Parses Alice's invite with one piece replaced and a matching checksum.
#[track_caller]
fn parse_forged(piece: &str, replacement: &str) -> Result<Invite, InviteError> {
    let text = alice().to_string();
    let (fields, _) = text.rsplit_once(',').unwrap();
    assert_eq!(fields.matches(piece).count(), 1, "{piece}");
    read(&with_checksum(&fields.replace(piece, replacement)))
}

#[test]
fn invite_has_a_fixed_format_and_fingerprint() {
    assert_eq!(
        alice().to_string(),
        "unanimity-invite/v1,alice,log.example/releases,\
         37b31f4033fb1927ff114de681632976069a883df353359c83238b6ee3e1da2e,\
         aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion:4242,\
         alice+39bfa20e+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c,\
         descriptor:x25519:AEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQ,-,\
         42,BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=,73461efd"
    );
    assert_eq!(
        alice().fingerprint().to_string(),
        "50179 26970 95289 61530 96098 51361 79245 26499"
    );
}

#[test]
fn invite_passes_through_a_shell_unchanged() {
    let mut special =
        invite(&log("$(id) `a` 'b' \"c\" ~ * ? [x] {1,2} !! # & | ; < > \\ %", 10), "a", 1);
    special.key = key("~*?[a]{1,2}!$'\"\\;&|<>()#é", 1);
    let text = special.to_string();
    // The shell would expand a pattern to the files of its directory.
    let scratch = scratch_dir::scratch_dir();
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(scratch.path()).args(["-c", &format!("printf '%s\\n' {text}")]);
    assert_eq!(shell.output().unwrap().stdout, format!("{text}\n").into_bytes());
    assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._+~/:@=-%,".contains(&c)));
    assert_eq!(read(&text), Ok(special));
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn invite_survives_formatting_and_parsing(
        name in "[A-Za-z0-9_+~-][A-Za-z0-9._+~-]{0,63}",
        origin in "[!-~]([ ]?[!-~]){0,127}",
        key_name in "[^\\s\\p{Cc}+]{1,60}",
        seed: [u8; 32], address: [u8; 32], port in 1u16.., client_auth: [u8; 32],
        artifacts: Option<[u8; 32]>, size in 1u64..1 << 63, root: [u8; 32],
        before in "[ \t\r\n]{0,3}", after in "[ \t\r\n]{0,3}",
    ) {
        prop_assume!(!origin.starts_with("unanimity/"));
        let log = log(&origin, 10);
        let invite = Invite {
            name: name.parse().unwrap(),
            origin: log.origin.clone(),
            log: log.id(),
            address: OnionAddress { key: address, port },
            key: CosignatureSigningKey::from_seed(key_name.parse().unwrap(), &seed).public(),
            client_auth: ClientAuthKey(client_auth),
            artifacts: artifacts.map(MirrorUrl::from_onion_key),
            size,
            root: Hash(root),
        };
        let text = invite.to_string();
        prop_assert!(text.len() <= MAX_INVITE_BYTES);
        prop_assert!(!text.contains(char::is_whitespace));
        prop_assert_eq!(read(&format!("{before}{text}{after}")), Ok(invite));
    }

    #[test]
    fn parser_never_panics(text: String, tail in "[ -~]{0,99}") {
        let _ = read(&text);
        let _ = read(&with_checksum(&format!("unanimity-invite/v1,{tail}")));
    }
}

#[test]
fn parser_refuses_any_changed_repeated_or_missing_byte() {
    let text = alice().to_string();
    for at in 0..text.len() {
        for byte in 0..=255 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(changed == text || read(&changed).is_err(), "{changed}");
        }
        // A byte repeated, left out, or in the wrong order.
        let (head, tail) = text.split_at(at);
        assert!(read(&format!("{head}{}{tail}", &tail[..1])).is_err());
        assert!(read(&format!("{head}{}", &tail[1..])).is_err());
        let mut swapped = text.clone().into_bytes();
        swapped.swap(at, (at + 1) % text.len());
        let swapped = String::from_utf8(swapped).unwrap();
        assert!(swapped == text || read(&swapped).is_err(), "{swapped}");
    }
}

#[test]
fn parser_reports_cut_wrapped_and_foreign_text() {
    let text = alice().to_string();
    let cut = "unanimity-invite/v1,".len();
    for end in cut..text.len() {
        let error = read(&text[..end]).unwrap_err();
        assert_eq!(error, InviteError::Checksum, "{end}");
    }
    assert_eq!(read(&format!("{}\n{}", &text[..99], &text[99..])), Err(InviteError::Checksum));
    assert_eq!(read(&text[1..]), Err(InviteError::NotAnInvite));
    assert_eq!(read(""), Err(InviteError::NotAnInvite));
    assert_eq!(read(&key("alice", 1).to_string()), Err(InviteError::NotAnInvite));
    assert_eq!(read(&text.replace("/v1,", "/v2,")), Err(InviteError::Version));
    assert_eq!(read(&format!("{text} {text}")), Err(InviteError::Checksum));
    let texts = [&text[..99], &text[1..], &text.replace("/v1,", "/v2,"), &text.repeat(9)];
    let messages: String = texts.map(|text| format!("{}\n", read(text).unwrap_err())).concat();
    snapbox::assert_data_eq!(messages, snapbox::file!["words/invite_cut.txt"]);
}

#[test]
fn longest_invite_has_2019_bytes_and_parser_refuses_longer_than_2048() {
    let mut longest = invite(&log(&"%".repeat(255), 10), "a", 1);
    longest.name = "n".repeat(64).parse().unwrap();
    longest.key = key(&"%".repeat(255), 1);
    longest.address.port = 65_535;
    longest.artifacts = Some(MirrorUrl::from_onion_key([1; 32]));
    longest.size = (1 << 63) - 1;
    let text = longest.to_string();
    assert_eq!(text.len(), 2019);
    assert_eq!(read(&text), Ok(longest));
    let padded =
        |length: usize| with_checksum(&format!("{text},{}", "x".repeat(length - text.len() - 10)));
    assert_eq!(padded(MAX_INVITE_BYTES).len(), MAX_INVITE_BYTES);
    assert_eq!(read(&padded(MAX_INVITE_BYTES)), Err(InviteError::Field("number of fields")));
    assert_eq!(read(&padded(MAX_INVITE_BYTES + 1)), Err(InviteError::TooLong));
}

#[test]
fn parser_refuses_invalid_field_with_matching_checksum() {
    let alice = alice();
    let (address, auth) = (alice.address.to_string(), alice.client_auth.to_string());
    let origin = "log.example/releases,";
    let root = alice.root.base64();
    for (piece, bad, field) in [
        (",alice,", ",.alice,", "name"),
        (",alice,", ",,", "name"),
        (origin, "unanimity/x,", "log origin"),
        (origin, "log.example%2freleases,", "log origin"),
        (origin, "log.example%2,", "log origin"),
        (origin, "%C3%28,", "log origin"),
        (origin, "log.example%2Freleases,", "spelling"),
        (&alice.log.0.map(|byte| format!("{byte:02x}")).concat(), "00", "log id"),
        (&address, "example.org:80", "address"),
        (&address, &address.to_uppercase(), "spelling"),
        (&address, address.trim_end_matches(":4242"), "spelling"),
        (&auth, &auth.replace("x25519", "x448"), "client_auth key"),
        (&auth, &auth.to_lowercase(), "spelling"),
        (",42,", ",042,", "size or root"),
        (",42,", ",+42,", "size or root"),
        (",42,", ",-1,", "size or root"),
        (",42,", ",9223372036854775808,", "size or root"),
        // Size 0 needs the root of the empty tree.
        (",42,", ",0,", "size or root"),
        (&root, &Hash([7; 32]).hex(), "size or root"),
        (",alice,", ",alice,alice,", "number of fields"),
        (",42,", ",", "number of fields"),
    ] {
        assert_eq!(parse_forged(piece, bad), Err(InviteError::Field(field)), "{bad}");
    }
    let empty = format!(",0,{}", Hash::empty_root().base64());
    assert_eq!(parse_forged(&format!(",42,{root}"), &empty).unwrap().size, 0);
}

#[test]
fn parser_refuses_key_of_another_type() {
    let line = alice().key.to_string();
    let note = NoteSigningKey::from_seed("alice".parse().unwrap(), &[1; 32]).public().to_string();
    let error = parse_forged(&line, &note).unwrap_err();
    assert!(matches!(error, InviteError::Key(KeyError::Type { .. })), "{error}");
    let secret =
        CosignatureSigningKey::from_seed("alice".parse().unwrap(), &[1; 32]).to_private_key_line();
    let error = parse_forged(&line, &secret).unwrap_err();
    assert!(matches!(error, InviteError::Key(_)), "{error}");
    assert!(!error.to_string().contains(&secret[25..]), "{error}");
}

#[test]
fn node_refuses_invite_for_another_log_and_names_both() {
    let other_origin = invite(&log("other.example/log", 10), "alice", 1);
    let other_key = invite(&log("log.example/releases", 11), "alice", 1);
    // The origin does not belong to the log id.
    let mut false_origin = alice();
    false_origin.origin = "other.example/log".parse().unwrap();
    let mut messages = String::new();
    for (case, invite) in
        [("other origin", other_origin), ("other key", other_key), ("false origin", false_origin)]
    {
        let error = invite.to_peer_entry(&our_log()).unwrap_err();
        assert!(matches!(error, InviteError::OtherLog { .. }), "{error}");
        messages += &format!("{case}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/invite_other_log.txt"]);
    alice().to_peer_entry(&our_log()).unwrap();
}

#[test]
fn invited_peer_is_joining() {
    let entry = alice().to_peer_entry(&our_log()).unwrap();
    assert_eq!(entry.membership, Membership::Joining { size: 42, root: Hash([7; 32]) });
    assert_eq!(entry.peer.name.as_str(), "alice");
    assert_eq!(entry.peer.operator.as_str(), "alice");
    assert_eq!(entry.peer.key, key("alice", 1));
    assert_eq!(entry.client_auth, Some(ClientAuthKey([1; 32])));
}

#[test]
fn fingerprint_covers_keys_and_addresses_but_not_name_and_head() {
    let one = alice();
    let grown = Invite {
        name: "alice-at-home".parse().unwrap(),
        size: 43,
        root: Hash([8; 32]),
        ..one.clone()
    };
    assert_eq!(grown.fingerprint(), one.fingerprint());
    assert_eq!(
        one.to_peer_entry(&our_log()).unwrap().fingerprint(our_log().id()),
        Some(one.fingerprint())
    );
    let mut prints = vec![one.fingerprint().to_string()];
    let mut with = |change: fn(&mut Invite)| {
        let mut invite = one.clone();
        change(&mut invite);
        prints.push(invite.fingerprint().to_string());
    };
    with(|invite| invite.log = log("log.example/releases", 11).id());
    with(|invite| invite.address.key = [2; 32]);
    with(|invite| invite.address.port = 4243);
    with(|invite| invite.key = key("alice", 2));
    with(|invite| invite.key = key("alicia", 1));
    with(|invite| invite.client_auth = ClientAuthKey([2; 32]));
    with(|invite| invite.artifacts = Some(MirrorUrl::from_onion_key([1; 32])));
    with(|invite| invite.artifacts = Some(MirrorUrl::from_onion_key([2; 32])));
    for print in &prints {
        let groups: Vec<&str> = print.split(' ').collect();
        assert_eq!(groups.len(), 8, "{print}");
        assert!(groups.iter().all(|g| g.len() == 5 && g.bytes().all(|c| c.is_ascii_digit())));
        assert_eq!(prints.iter().filter(|other| *other == print).count(), 1);
    }
}
