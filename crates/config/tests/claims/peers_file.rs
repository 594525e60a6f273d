//! The peers file: which peers count when, and edits that keep every other byte.

mod disk;
mod edits;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use unanimity_config::peers::edit::{self, EditError, EditErrorKind};
use unanimity_config::{
    ClientAuthKey, ConfigError, ConfigErrorKind, Membership, OnionAddress, PeerEntry, PeerList,
};
use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{CosignatureSigningKey, Hash, Name, NoteSigningKey, Timestamp};
use unanimity_storage::Storage;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::NOW;

const BEFORE: Timestamp = Timestamp(NOW.0 - 1);
const LATER: Timestamp = Timestamp(NOW.0 + 3600);

/// The five lines of a peer, and its membership line unless that is empty.
fn lines(name: &str, seed: u8, membership: &str) -> Vec<String> {
    let key = CosignatureSigningKey::from_seed(name.parse().unwrap(), &[seed; 32]);
    let mut lines = vec![
        format!("name = \"{name}\""),
        format!("operator = \"{name}\""),
        format!("address = \"{}\"", OnionAddress { key: [seed; 32], port: 4242 }),
        format!("key = \"{}\"", key.public()),
        format!("client_auth = \"{}\"", ClientAuthKey([seed; 32])),
    ];
    lines.extend((!membership.is_empty()).then(|| membership.to_owned()));
    lines
}

fn peer(name: &str, seed: u8, membership: &str) -> String {
    format!("\n[[peer]]\n{}\n", lines(name, seed, membership).join("\n"))
}

fn joining() -> String {
    format!("joining = \"42 {}\"", Hash([7; 32]).base64())
}

fn leaves(at: Timestamp) -> String {
    format!("leaves_at = \"{at}\"")
}

/// A file with three counted peers, a joining one, one that leaves now, and one that left before it
/// counted.
fn peers_of_every_membership() -> String {
    let both = format!("{}\n{}", joining(), leaves(Timestamp(NOW.0 + 9)));
    ["a", "b", "c"].iter().zip(1..).map(|(name, seed)| peer(name, seed, "")).collect::<String>()
        + &peer("joins", 4, &joining())
        + &peer("leaves", 5, &leaves(NOW))
        + &peer("both", 6, &both)
}

fn parse(text: &str) -> PeerList {
    PeerList::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn names<'a, T: ToString + 'a>(names: impl IntoIterator<Item = T>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(" ")
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A joining peer that is in no file of these tests.
fn joining_entry(seed: u8) -> PeerEntry {
    let text = peer(&format!("new-{seed}"), seed, &joining());
    parse(&text).entries()[0].clone()
}

fn disk() -> Storage {
    Storage::default()
}

/// A peers file with this text in a new directory.
fn file(text: &str) -> (TempDir, PathBuf) {
    let scratch = scratch_dir();
    let path = scratch.path().join("peers.toml");
    fs::write(&path, text).unwrap();
    (scratch, path)
}

type Edit = fn(&Path, &Storage) -> Result<PeerList, EditError>;

/// One edit of each kind, all possible for [`peers_of_every_membership`].
const EDITS: [(&str, Edit); 6] = [
    ("add", |path, disk| edit::add(path, &joining_entry(9), disk)),
    ("activate", |path, disk| {
        let joins = PeerList::load(path).unwrap().find(&name("joins")).unwrap().clone();
        edit::activate(path, &joins, disk)
    }),
    ("schedule removal", |path, disk| edit::schedule_removal(path, &name("b"), LATER, disk)),
    ("postpone removal", |path, disk| edit::schedule_removal(path, &name("leaves"), LATER, disk)),
    ("cancel removal", |path, disk| edit::cancel_removal(path, &name("leaves"), disk)),
    ("remove", |path, disk| edit::remove(path, &name("leaves"), NOW, disk)),
];

fn edit_error_kind(edited: Result<PeerList, EditError>) -> EditErrorKind {
    edited.expect_err("refused").why
}

#[test]
fn membership_and_time_decide_which_peers_confirm_and_find_us() {
    let list = parse(&peers_of_every_membership());
    let memberships: Vec<Membership> = list.entries().iter().map(|m| m.membership).collect();
    assert_eq!(memberships[..3], [Membership::Counted; 3]);
    assert_eq!(memberships[3], Membership::Joining { size: 42, root: Hash([7; 32]) });
    assert_eq!(memberships[4], Membership::Leaving { at: NOW });
    for (now, counted, authorized, left) in [
        (BEFORE, "a b c leaves", "a b c joins leaves", "both"),
        // `NOW` is the first second at which the leaving peer no longer counts.
        (NOW, "a b c", "a b c joins", "leaves both"),
        (Timestamp::MAX, "a b c", "a b c joins", "leaves both"),
    ] {
        let set = list.counted_peers(now).unwrap();
        assert_eq!(names(set.iter().map(|peer| &peer.name)), counted);
        assert_eq!(names(list.client_auth_keys(now).keys()), authorized);
        assert_eq!(names(list.former_entries(now).map(|entry| &entry.peer.name)), left);
        let addresses = list.addresses(now);
        assert_eq!(addresses.len(), set.iter().count());
        assert!(set.iter().all(|peer| addresses.contains_key(&peer.key.raw())));
        assert_eq!(names(list.joining_entries().map(|entry| &entry.peer.name)), "joins");
    }
    assert_eq!(list.client_auth_keys(NOW)[&"joins".parse().unwrap()], ClientAuthKey([4; 32]));
}

#[test]
fn peer_without_membership_line_counts_at_once() {
    let list = parse(&format!("min_peers = 1\n{}", peer("a", 1, "")));
    assert_eq!(list.counted_peers(NOW).unwrap().iter().count(), 1);
}

#[test]
fn peer_without_client_auth_key_cannot_find_us() {
    let text = format!("min_peers = 1\n{}", peer("a", 1, ""));
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("client_auth"))
        .map(|line| format!("{line}\n"))
        .collect();
    let list = parse(&text);
    assert_eq!(list.counted_peers(NOW).unwrap().iter().count(), 1);
    assert!(list.client_auth_keys(NOW).is_empty());
}

#[test]
fn only_counted_peers_count_toward_min_peers() {
    let operators = |text: &str, now| match parse(text).counted_peers(now).unwrap_err() {
        PeerSetError::TooFew { operators, min_peers: 3 } => operators,
        error => panic!("{error}"),
    };
    let two = peer("a", 1, "") + &peer("b", 2, "");
    let joins = two.clone() + &peer("c", 3, &joining());
    assert_eq!(operators(&joins, NOW), 2);
    let leaving = two + &peer("c", 3, &leaves(NOW));
    parse(&leaving).counted_peers(BEFORE).unwrap();
    assert_eq!(operators(&leaving, NOW), 2);
    let all_leave: String = (1..=3).map(|n| peer(&format!("p{n}"), n, &leaves(NOW))).collect();
    assert_eq!(operators(&all_leave, NOW), 0);
    // A `min_peers` of 0 is refused for every list, the empty one included.
    assert!(matches!(PeerList::parse("min_peers = 0"), Err(ConfigErrorKind::PeerList(_))));
    parse("");
}

#[test]
fn peer_list_refuses_duplicates_of_every_membership() {
    let memberships = [String::new(), joining(), leaves(NOW), leaves(Timestamp(0))];
    let mut messages = BTreeSet::new();
    for first in &memberships {
        for second in &memberships {
            let one = peer("one", 1, first);
            let two = |copied: Option<usize>| {
                let mut two = lines("two", 2, second);
                if let Some(line) = copied {
                    two[line] = lines("one", 1, "")[line].clone();
                }
                format!("{one}\n[[peer]]\n{}\n", two.join("\n"))
            };
            parse(&two(None));
            for (line, key) in [(0, "name"), (2, "address"), (3, "key"), (4, "client_auth")] {
                let error = PeerList::parse(&two(Some(line))).unwrap_err();
                messages.insert(format!("{key}: {error}\n"));
            }
        }
    }
    let messages = messages.into_iter().collect::<String>();
    snapbox::assert_data_eq!(messages, snapbox::file!["words/peers_duplicates.txt"]);
}

#[test]
fn membership_values_have_one_spelling_and_errors_name_the_line() {
    let root = Hash([7; 32]).base64();
    for bad in [
        format!("joining = \"42  {root}\""),
        format!("joining = \"042 {root}\""),
        format!("joining = \"{} {root}\"", 1u64 << 63),
        format!("joining = \"0 {root}\""),
        "joining = \"42\"".to_owned(),
        "joining = \"\"".to_owned(),
        "joining = true".to_owned(),
        format!("joining = \"42 {}\"", Hash([7; 32]).hex()),
        "leaves_at = \"2030-01-31\"".to_owned(),
        "leaves_at = \"2030-01-31T12:00:00\"".to_owned(),
        "leaves_at = \"2030-01-31T12:00:00.5Z\"".to_owned(),
        "leaves_at = \"2030-01-31 12:00:00Z\"".to_owned(),
        "leaves_at = \"1969-12-31T23:59:59Z\"".to_owned(),
        "leaves_at = \"soon\"".to_owned(),
        "leaves_at = \"\"".to_owned(),
        "leaves_at = 2030-01-31T12:00:00Z".to_owned(),
        "client_auth = \"descriptor:x25519:AAAA\"".to_owned(),
        "left = true".to_owned(),
    ] {
        let text = peer("a", 1, "").replace("client_auth", "#client_auth") + &bad + "\n";
        let error = PeerList::parse(&text).unwrap_err().to_string();
        assert!(error.contains("line 8"), "{bad}: {error}");
    }
    let at: Timestamp = "2030-01-31T12:00:00Z".parse().unwrap();
    assert_eq!(at.to_string(), "2030-01-31T12:00:00Z");
    parse(&peer("a", 1, &leaves(at)));
}

/// A node's configuration with these peers.
fn node(directory: &Path, peers: &str) -> PathBuf {
    let [publisher, log] = [("publisher", 11), ("log.example", 10)]
        .map(|(name, seed)| NoteSigningKey::from_seed(name.parse().unwrap(), &[seed; 32]).public());
    let text = format!(
        "product.name = \"hello\"\nproduct.channel = \"stable\"\n\
        publisher.threshold = 1\npublisher.keys = [\"{publisher}\"]\n\
        log.origin = \"log.example/releases\"\nlog.key = \"{log}\"\nlog.mirrors = [\"file:/srv/log\"]\n\
        install.root = \"root\"\ninstall.state = \"state\"\n"
    );
    fs::write(directory.join("peers.toml"), peers).unwrap();
    fs::write(directory.join("node.toml"), text).unwrap();
    directory.join("node.toml")
}

#[test]
fn node_loads_with_too_few_peers_and_its_client_does_not() {
    let scratch = scratch_dir();
    let path = node(scratch.path(), &peer("a", 1, &joining()));
    let loaded = unanimity_config::load_node_config(&path).unwrap();
    assert_eq!(loaded.peers.entries().len(), 1);
    assert_eq!(loaded.peers_path, scratch.path().join("peers.toml"));
    assert_eq!(loaded.cycle.state, scratch.path().join("state"));
    for error in [
        loaded.client_config(NOW).unwrap_err(),
        unanimity_config::load_client_config(&path, NOW).unwrap_err(),
    ] {
        assert_eq!(error.path, loaded.peers_path);
        let is_expected = matches!(
            error.why,
            ConfigErrorKind::Joining { operators: 0, min_peers: 3, joining: 1 }
        );
        assert!(is_expected, "{error}");
        let file = format!("{}: too few peers count", loaded.peers_path.display());
        assert!(error.to_string().starts_with(&file), "{error}");
        assert!(error.to_string().contains("distinct operators: 0,"), "{error}");
    }
    // A reload reads the peers again.
    node(scratch.path(), &peers_of_every_membership());
    let loaded = loaded.reload().unwrap();
    let config = loaded.client_config(BEFORE).unwrap();
    assert_eq!((config.peers.iter().count(), config.addresses.len()), (4, 4));
    assert_eq!(unanimity_config::load_client_config(&path, NOW).unwrap().peers.iter().count(), 3);
}

#[test]
fn key_has_one_role_also_for_peers_that_do_not_count() {
    let is_eve = |error: &ConfigError| matches!(&error.why, ConfigErrorKind::TwoRoles(name) if name.as_str() == "eve");
    for membership in ["".to_owned(), joining(), leaves(NOW)] {
        for seed in [11, 10] {
            let scratch = scratch_dir();
            let path = node(scratch.path(), &peer("eve", seed, &membership));
            let error = unanimity_config::load_node_config(&path).unwrap_err();
            assert!(is_eve(&error), "{error}");
            // A reload has the same check.
            node(scratch.path(), &peer("a", 1, ""));
            let loaded = unanimity_config::load_node_config(&path).unwrap();
            node(scratch.path(), &peer("eve", seed, &membership));
            let error = loaded.reload().unwrap_err();
            assert!(is_eve(&error), "{error}");
        }
    }
}

#[test]
fn peers_file_longer_than_1_mib_is_refused() {
    let scratch = scratch_dir();
    let path = scratch.path().join("peers.toml");
    let filler = "#".repeat((1 << 20) - 1) + "\n";
    fs::write(&path, &filler).unwrap();
    assert!(PeerList::load(&path).unwrap().entries().is_empty());
    fs::write(&path, filler + &peer("a", 1, "")).unwrap();
    let error = PeerList::load(&path).unwrap_err();
    assert!(matches!(error.why, ConfigErrorKind::TooLong), "{error}");
    assert!(error.to_string().contains("more than the 1048576 bytes"), "{error}");
}
