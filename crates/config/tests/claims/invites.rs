//! Tickets: what two people pass each other is one line, and no mistake in it gets through.

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

/// A ticket made of these fields, with the checksum that belongs to them.
fn sealed(fields: &str) -> String {
    format!("{fields},{}", &Hash::digest(fields.as_bytes()).hex()[..8])
}

/// Alice's, with one piece replaced and nothing mistyped.
#[track_caller]
fn forged(piece: &str, replacement: &str) -> Result<Invite, InviteError> {
    let text = alice().to_string();
    let (fields, _) = text.rsplit_once(',').unwrap();
    assert_eq!(fields.matches(piece).count(), 1, "{piece}");
    read(&sealed(&fields.replace(piece, replacement)))
}

#[test]
fn a_ticket_looks_like_this_for_ever() {
    assert_eq!(
        alice().to_string(),
        "unanimity-ticket/v1,alice,log.example/releases,\
         37b31f4033fb1927ff114de681632976069a883df353359c83238b6ee3e1da2e,\
         aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaea37ead.onion:4242,\
         alice+39bfa20e+BIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c,\
         descriptor:x25519:AEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQ,-,\
         42,BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=,210574fb"
    );
    assert_eq!(
        alice().fingerprint().to_string(),
        "50179 26970 95289 61530 96098 51361 79245 26499"
    );
}

#[test]
fn a_ticket_goes_through_a_shell_as_it_is() {
    let mut hard =
        invite(&log("$(id) `a` 'b' \"c\" ~ * ? [x] {1,2} !! # & | ; < > \\ %", 10), "a", 1);
    hard.key = key("~*?[a]{1,2}!$'\"\\;&|<>()#é", 1);
    let text = hard.to_string();
    // A file that a pattern could match, were there one.
    let place = scratch_dir::scratch_dir();
    let mut shell = std::process::Command::new("sh");
    shell.current_dir(place.path()).args(["-c", &format!("printf '%s\\n' {text}")]);
    assert_eq!(shell.output().unwrap().stdout, format!("{text}\n").into_bytes());
    assert!(text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._+~/:@=-%,".contains(&c)));
    assert_eq!(read(&text), Ok(hard));
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn every_ticket_is_read_as_it_was_written(
        name in "[A-Za-z0-9_+~-][A-Za-z0-9._+~-]{0,63}",
        origin in "[!-~]([ ]?[!-~]){0,127}",
        key_name in "[^\\s\\p{Cc}+]{1,60}",
        seed: [u8; 32], address: [u8; 32], port in 1u16.., discovery: [u8; 32],
        artifacts: Option<[u8; 32]>, size in 1u64..1 << 63, root: [u8; 32],
        before in "[ \t\r\n]{0,3}", after in "[ \t\r\n]{0,3}",
    ) {
        prop_assume!(!origin.starts_with("unanimity/"));
        let log = log(&origin, 10);
        let ticket = Invite {
            name: name.parse().unwrap(),
            origin: log.origin.clone(),
            log: log.id(),
            address: OnionAddress { key: address, port },
            key: CosignatureSigningKey::from_seed(key_name.parse().unwrap(), &seed).public(),
            client_auth: ClientAuthKey(discovery),
            artifacts: artifacts.map(MirrorUrl::from_onion_key),
            size,
            root: Hash(root),
        };
        let text = ticket.to_string();
        prop_assert!(text.len() <= MAX_INVITE_BYTES);
        prop_assert!(!text.contains(char::is_whitespace));
        prop_assert_eq!(read(&format!("{before}{text}{after}")), Ok(ticket));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text: String, tail in "[ -~]{0,99}") {
        let _ = read(&text);
        let _ = read(&sealed(&format!("unanimity-ticket/v1,{tail}")));
    }
}

#[test]
fn a_ticket_with_any_byte_changed_is_refused() {
    let text = alice().to_string();
    for at in 0..text.len() {
        for byte in 0..=255 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(changed == text || read(&changed).is_err(), "{changed}");
        }
        // Twice, left out, or in the wrong order.
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
fn a_ticket_cut_short_or_wrapped_says_that_it_was() {
    let text = alice().to_string();
    let cut = "unanimity-ticket/v1,".len();
    for end in cut..text.len() {
        let error = read(&text[..end]).unwrap_err();
        assert_eq!(error, InviteError::Checksum, "{end}");
        assert!(error.to_string().contains("copy the whole line again"));
    }
    assert_eq!(read(&format!("{}\n{}", &text[..99], &text[99..])), Err(InviteError::Checksum));
    assert_eq!(read(&text[1..]), Err(InviteError::NotAnInvite));
    assert_eq!(read(""), Err(InviteError::NotAnInvite));
    assert_eq!(read(&key("alice", 1).to_string()), Err(InviteError::NotAnInvite));
    assert_eq!(read(&text.replace("/v1,", "/v2,")), Err(InviteError::Version));
    assert_eq!(read(&format!("{text} {text}")), Err(InviteError::Checksum));
}

#[test]
fn the_longest_ticket_is_within_the_bound_and_nothing_beyond_it_is_looked_at() {
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
        |length: usize| sealed(&format!("{text},{}", "x".repeat(length - text.len() - 10)));
    assert_eq!(padded(MAX_INVITE_BYTES).len(), MAX_INVITE_BYTES);
    assert_eq!(read(&padded(MAX_INVITE_BYTES)), Err(InviteError::Field("number of fields")));
    assert_eq!(read(&padded(MAX_INVITE_BYTES + 1)), Err(InviteError::TooLong));
}

#[test]
fn what_makes_no_sense_is_refused_though_its_checksum_fits() {
    let alice = alice();
    let (address, discovery) = (alice.address.to_string(), alice.client_auth.to_string());
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
        (&discovery, &discovery.replace("x25519", "x448"), "discovery key"),
        (&discovery, &discovery.to_lowercase(), "spelling"),
        (",42,", ",042,", "size or root"),
        (",42,", ",+42,", "size or root"),
        (",42,", ",-1,", "size or root"),
        (",42,", ",9223372036854775808,", "size or root"),
        // An empty tree has one root.
        (",42,", ",0,", "size or root"),
        (&root, &Hash([7; 32]).hex(), "size or root"),
        (",alice,", ",alice,alice,", "number of fields"),
        (",42,", ",", "number of fields"),
    ] {
        assert_eq!(forged(piece, bad), Err(InviteError::Field(field)), "{bad}");
    }
    let empty = format!(",0,{}", Hash::empty_root().base64());
    assert_eq!(forged(&format!(",42,{root}"), &empty).unwrap().size, 0);
}

#[test]
fn a_key_of_another_kind_is_refused_by_its_kind() {
    let line = alice().key.to_string();
    let note = NoteSigningKey::from_seed("alice".parse().unwrap(), &[1; 32]).public().to_string();
    let error = forged(&line, &note).unwrap_err();
    assert!(matches!(error, InviteError::Key(KeyError::Type { .. })), "{error}");
    let secret =
        CosignatureSigningKey::from_seed("alice".parse().unwrap(), &[1; 32]).to_private_key_line();
    let error = forged(&line, &secret).unwrap_err();
    assert!(matches!(error, InviteError::Key(_)), "{error}");
    assert!(!error.to_string().contains(&secret[25..]), "{error}");
}

#[test]
fn a_ticket_for_another_log_is_refused_and_says_for_which() {
    let other_origin = log("other.example/log", 10);
    let error =
        invite(&other_origin, "alice", 1).to_peer_entry(&our_log()).unwrap_err().to_string();
    assert!(error.contains("other.example/log") && error.contains("log.example/releases"));
    // One name, two keys: the ids differ.
    let other_key = log("log.example/releases", 11);
    let error = invite(&other_key, "alice", 1).to_peer_entry(&our_log()).unwrap_err().to_string();
    for log in [our_log(), other_key] {
        assert!(error.contains(&Hash(log.id().0).hex()[..16]), "{error}");
    }
    // An origin that is not the one its id was made of.
    let mut lies = alice();
    lies.origin = "other.example/log".parse().unwrap();
    assert!(matches!(lies.to_peer_entry(&our_log()), Err(InviteError::OtherLog { .. })));
    alice().to_peer_entry(&our_log()).unwrap();
}

#[test]
fn whom_a_ticket_is_about_is_joining_and_not_counted() {
    let member = alice().to_peer_entry(&our_log()).unwrap();
    assert_eq!(member.membership, Membership::Joining { size: 42, root: Hash([7; 32]) });
    assert_eq!(member.peer.name.as_str(), "alice");
    assert_eq!(member.peer.operator.as_str(), "alice");
    assert_eq!(member.peer.key, key("alice", 1));
    assert_eq!(member.client_auth, Some(ClientAuthKey([1; 32])));
}

#[test]
fn a_fingerprint_is_of_all_that_stays_and_of_nothing_that_changes() {
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
        let mut ticket = one.clone();
        change(&mut ticket);
        prints.push(ticket.fingerprint().to_string());
    };
    with(|ticket| ticket.log = log("log.example/releases", 11).id());
    with(|ticket| ticket.address.key = [2; 32]);
    with(|ticket| ticket.address.port = 4243);
    with(|ticket| ticket.key = key("alice", 2));
    with(|ticket| ticket.key = key("alicia", 1));
    with(|ticket| ticket.client_auth = ClientAuthKey([2; 32]));
    with(|ticket| ticket.artifacts = Some(MirrorUrl::from_onion_key([1; 32])));
    with(|ticket| ticket.artifacts = Some(MirrorUrl::from_onion_key([2; 32])));
    for print in &prints {
        let groups: Vec<&str> = print.split(' ').collect();
        assert_eq!(groups.len(), 8, "{print}");
        assert!(groups.iter().all(|g| g.len() == 5 && g.bytes().all(|c| c.is_ascii_digit())));
        assert_eq!(prints.iter().filter(|other| *other == print).count(), 1);
    }
}
