//! The peers' file: who counts when, and edits that change what they are about and nothing else.

mod disk;
mod edits;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use unanimity_config::peers::edit::{self};
use unanimity_config::peers::edit::{EditError, EditErrorKind};
use unanimity_config::{
    ClientAuthKey, ConfigErrorKind, Membership, OnionAddress, PeerEntry, PeerList,
};
use unanimity_protocol::{CosignatureSigningKey, Hash, Name, NoteSigningKey, Timestamp};
use unanimity_storage::Storage;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::NOW;

const BEFORE: Timestamp = Timestamp(NOW.0 - 1);
const LATER: Timestamp = Timestamp(NOW.0 + 3600);

/// The five lines of a peer; the last may be a line that says how it stands.
fn lines(name: &str, seed: u8, standing: &str) -> Vec<String> {
    let secret = CosignatureSigningKey::from_seed(name.parse().unwrap(), &[seed; 32]);
    let mut lines = vec![
        format!("name = \"{name}\""),
        format!("operator = \"{name}\""),
        format!("address = \"{}\"", OnionAddress { key: [seed; 32], port: 4242 }),
        format!("key = \"{}\"", secret.public()),
        format!("discovery = \"{}\"", ClientAuthKey([seed; 32])),
    ];
    lines.extend((!standing.is_empty()).then(|| standing.to_owned()));
    lines
}

fn peer(name: &str, seed: u8, standing: &str) -> String {
    format!("\n[[peer]]\n{}\n", lines(name, seed, standing).join("\n"))
}

fn joining() -> String {
    format!("joining = \"42 {}\"", Hash([7; 32]).base64())
}

fn leaves(at: Timestamp) -> String {
    format!("leaves = \"{at}\"")
}

/// Three who count, one who joins, one who leaves now, one who left before it was counted.
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

/// Somebody who is not in any of the files here, and joins.
fn joining_entry(seed: u8) -> PeerEntry {
    let text = peer(&format!("new-{seed}"), seed, &joining());
    parse(&text).entries()[0].clone()
}

fn disk() -> Storage {
    Storage::default()
}

/// A file of its own.
fn file(text: &str) -> (TempDir, PathBuf) {
    let place = scratch_dir();
    let path = place.path().join("peers.toml");
    fs::write(&path, text).unwrap();
    (place, path)
}

type Edit = fn(&Path, &Storage) -> Result<PeerList, EditError>;

/// One of each, all possible for [`peers_of_every_membership`].
const EDITS: [(&str, Edit); 6] = [
    ("add", |path, disk| edit::add(path, &joining_entry(9), disk)),
    ("count", |path, disk| {
        let joins = PeerList::load(path).unwrap().find(&name("joins")).unwrap().clone();
        edit::activate(path, &joins, disk)
    }),
    ("leave", |path, disk| edit::schedule_removal(path, &name("b"), LATER, disk)),
    ("leave later", |path, disk| edit::schedule_removal(path, &name("leaves"), LATER, disk)),
    ("stay", |path, disk| edit::cancel_removal(path, &name("leaves"), disk)),
    ("drop", |path, disk| edit::remove(path, &name("leaves"), NOW, disk)),
];

fn edit_error_kind(edited: Result<PeerList, EditError>) -> EditErrorKind {
    edited.expect_err("refused").why
}

#[test]
fn who_has_to_confirm_and_who_may_find_us_follows_from_the_file_and_the_time() {
    let circle = parse(&peers_of_every_membership());
    let standings: Vec<Membership> = circle.entries().iter().map(|m| m.membership).collect();
    assert_eq!(standings[..3], [Membership::Counted; 3]);
    assert_eq!(standings[3], Membership::Joining { size: 42, root: Hash([7; 32]) });
    assert_eq!(standings[4], Membership::Leaving { at: NOW });
    for (now, counted, readers, left) in [
        (BEFORE, "a b c leaves", "a b c joins leaves", "both"),
        // The moment itself is the first at which it no longer counts.
        (NOW, "a b c", "a b c joins", "leaves both"),
        (Timestamp::MAX, "a b c", "a b c joins", "leaves both"),
    ] {
        let set = circle.counted_peers(now).unwrap();
        assert_eq!(names(set.iter().map(|peer| &peer.name)), counted);
        assert_eq!(names(circle.client_auth_keys(now).keys()), readers);
        assert_eq!(names(circle.former_entries(now).map(|member| &member.peer.name)), left);
        let addresses = circle.addresses(now);
        assert_eq!(addresses.len(), set.iter().count());
        assert!(set.iter().all(|peer| addresses.contains_key(&peer.key.raw())));
        assert_eq!(names(circle.joining_entries().map(|member| &member.peer.name)), "joins");
    }
    assert_eq!(circle.client_auth_keys(NOW)[&"joins".parse().unwrap()], ClientAuthKey([4; 32]));
}

#[test]
fn a_peer_written_by_hand_counts_at_once_and_one_without_a_discovery_key_cannot_find_us() {
    let text = format!("min_peers = 1\n{}", peer("a", 1, ""));
    let text: String =
        text.lines().filter(|line| !line.starts_with("disc")).map(|l| format!("{l}\n")).collect();
    let circle = parse(&text);
    assert_eq!(circle.counted_peers(NOW).unwrap().iter().count(), 1);
    assert!(circle.client_auth_keys(NOW).is_empty());
}

#[test]
fn only_those_who_count_make_a_circle_complete() {
    let too_few = |text: &str, now| parse(text).counted_peers(now).unwrap_err().to_string();
    let two = peer("a", 1, "") + &peer("b", 2, "");
    let joins = two.clone() + &peer("c", 3, &joining());
    assert!(too_few(&joins, NOW).contains("2 distinct operators"));
    let leaving = two + &peer("c", 3, &leaves(NOW));
    parse(&leaving).counted_peers(BEFORE).unwrap();
    assert!(too_few(&leaving, NOW).contains("2 distinct operators"));
    let all_leave: String = (1..=3).map(|n| peer(&format!("p{n}"), n, &leaves(NOW))).collect();
    assert!(too_few(&all_leave, NOW).contains("0 distinct operators"));
    // And a circle that asks for nobody is none, whoever is in it.
    assert!(matches!(PeerList::parse("min_peers = 0"), Err(ConfigErrorKind::PeerList(_))));
    parse("");
}

#[test]
fn nothing_stands_twice_whether_it_counts_or_not() {
    let standings = [String::new(), joining(), leaves(NOW), leaves(Timestamp(0))];
    for first in &standings {
        for second in &standings {
            let one = peer("one", 1, first);
            for (line, copied, says) in [
                (0, true, "two peers are named one"),
                (2, true, "peers one and two have the same onion address"),
                (3, true, "have the same key"),
                (4, true, "peers one and two have the same discovery key"),
                (0, false, ""),
            ] {
                let mut two = lines("two", 2, second);
                if copied {
                    two[line] = lines("one", 1, "")[line].clone();
                }
                let text = format!("{one}\n[[peer]]\n{}\n", two.join("\n"));
                match PeerList::parse(&text) {
                    Ok(_) => assert!(!copied, "{text}"),
                    Err(error) => assert!(copied && error.to_string().contains(says), "{error}"),
                }
            }
        }
    }
}

#[test]
fn what_a_standing_says_has_one_spelling_and_an_error_names_its_line() {
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
        "leaves = \"2030-01-31\"".to_owned(),
        "leaves = \"2030-01-31T12:00:00\"".to_owned(),
        "leaves = \"2030-01-31T12:00:00.5Z\"".to_owned(),
        "leaves = \"2030-01-31 12:00:00Z\"".to_owned(),
        "leaves = \"1969-12-31T23:59:59Z\"".to_owned(),
        "leaves = \"soon\"".to_owned(),
        "leaves = \"\"".to_owned(),
        "leaves = 2030-01-31T12:00:00Z".to_owned(),
        "discovery = \"descriptor:x25519:AAAA\"".to_owned(),
        "left = true".to_owned(),
    ] {
        let text = peer("a", 1, "").replace("discovery", "#discovery") + &bad + "\n";
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
fn a_node_starts_with_a_circle_that_is_too_small_and_its_client_does_not() {
    let place = scratch_dir();
    let path = node(place.path(), &peer("a", 1, &joining()));
    let started = unanimity_config::load_node_config(&path).unwrap();
    assert_eq!(started.peers.entries().len(), 1);
    assert_eq!(started.peers_path, place.path().join("peers.toml"));
    assert_eq!(started.cycle.state, place.path().join("state"));
    for error in [
        started.client_config(NOW).unwrap_err(),
        unanimity_config::load_client_config(&path, NOW).unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(error.starts_with(&format!("{}: 0 distinct", started.peers_path.display())));
    }
    // The file may have changed since.
    node(place.path(), &peers_of_every_membership());
    let started = started.reload().unwrap();
    let config = started.client_config(BEFORE).unwrap();
    assert_eq!((config.peers.iter().count(), config.addresses.len()), (4, 4));
    assert_eq!(unanimity_config::load_client_config(&path, NOW).unwrap().peers.iter().count(), 3);
}

#[test]
fn a_key_has_one_role_also_that_of_a_peer_who_does_not_count() {
    for standing in ["".to_owned(), joining(), leaves(NOW)] {
        for seed in [11, 10] {
            let place = scratch_dir();
            let path = node(place.path(), &peer("eve", seed, &standing));
            let error = unanimity_config::load_node_config(&path).unwrap_err().to_string();
            assert!(error.contains("eve") && error.contains("one role"), "{error}");
            // Nor if it comes later.
            let started =
                unanimity_config::load_node_config(&node(place.path(), &peer("a", 1, ""))).unwrap();
            node(place.path(), &peer("eve", seed, &standing));
            let error = started.reload().unwrap_err().to_string();
            assert!(error.contains("eve") && error.contains("one role"), "{error}");
        }
    }
}

#[test]
fn a_file_longer_than_the_bound_is_refused_and_not_read_in_part() {
    let place = scratch_dir();
    let path = place.path().join("peers.toml");
    let filler = "#".repeat((1 << 20) - 1) + "\n";
    fs::write(&path, &filler).unwrap();
    assert!(PeerList::load(&path).unwrap().entries().is_empty());
    fs::write(&path, filler + &peer("a", 1, "")).unwrap();
    let error = PeerList::load(&path).unwrap_err().to_string();
    assert!(error.contains("more than the 1048576 bytes"), "{error}");
}
