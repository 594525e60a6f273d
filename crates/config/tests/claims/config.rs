//! The configuration: its defaults, and the error for each contradiction, with file and reason.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use unanimity_config::tor_settings::{Bridges, TorNetwork};
use unanimity_config::{
    AlertSettings, ClientConfig, ConfigError, ConfigErrorKind, HookSettings, OnionAddress,
    PeerListError, ServeArtifactsSettings, ServePolicy,
};
use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{
    Checkpoint, CosignatureSigningKey, CosignatureVerifyingKey, Hash, NoteSigningKey,
    NoteVerifyingKey,
};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::NOW;

const NODE: &str = "node.toml";
const PEERS: &str = "peers.toml";

fn note_key(name: &str, seed: u8) -> NoteVerifyingKey {
    NoteSigningKey::from_seed(name.parse().unwrap(), &[seed; 32]).public()
}

fn peer_key(name: &str, seed: u8) -> CosignatureVerifyingKey {
    CosignatureSigningKey::from_seed(name.parse().unwrap(), &[seed; 32]).public()
}

fn address(seed: u8) -> String {
    OnionAddress { key: [seed; 32], port: 4242 }.to_string()
}

fn good_node() -> String {
    let [a, b, c] = [("publisher-a", 11), ("publisher-b", 12), ("publisher-c", 13)]
        .map(|(name, seed)| note_key(name, seed));
    let log = note_key("log.example", 10);
    format!(
        r#"[product]
name = "hello"
channel = "stable"

[publisher]
threshold = 2
keys = [
  "{a}",
  "{b}",
  "{c}",
]

[log]
origin = "log.example/releases"
key = "{log}"
mirrors = ["file:/srv/log"]

[install]
root = "hello"
state = "/var/lib/unanimity"

[limits]
"#
    )
}

fn peer(name: &str, operator: &str, address: &str, key: &CosignatureVerifyingKey) -> String {
    format!(
        "\n[[peer]]\nname = \"{name}\"\noperator = \"{operator}\"\naddress = \"{address}\"\nkey = \"{key}\"\n"
    )
}

fn peers(seeds: impl IntoIterator<Item = u8>) -> String {
    let one = |seed| {
        let name = format!("peer-{seed}");
        peer(&name, &name, &address(seed), &peer_key(&name, seed))
    };
    seeds.into_iter().map(one).collect()
}

fn good_peers() -> String {
    peers(1..=3)
}

fn load(node: &str, peers: &str) -> (TempDir, Result<ClientConfig, ConfigError>) {
    let scratch = scratch_dir();
    fs::write(scratch.path().join(NODE), node).unwrap();
    fs::write(scratch.path().join(PEERS), peers).unwrap();
    let loaded = unanimity_config::load_client_config(&scratch.path().join(NODE), NOW);
    (scratch, loaded)
}

/// The error of a refused configuration, without the file name that it has to begin with.
#[track_caller]
fn load_error(node: &str, peers: &str, file: &str) -> String {
    let (scratch, loaded) = load(node, peers);
    let error = loaded.expect_err("refused").to_string();
    let path = scratch.path().join(file);
    let why = error.strip_prefix(&format!("{}: ", path.display()));
    why.unwrap_or_else(|| panic!("{error:?} does not begin with {file}")).to_owned()
}

#[track_caller]
fn assert_contains_all(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

/// A line for a snapshot: the case, with its own lines joined, and the message.
fn case_line(case: &str, message: &str) -> String {
    format!("{}: {}\n", case.trim_end().replace('\n', " "), message.trim_end())
}

/// A valid text with one piece replaced, which must occur in it exactly once.
#[track_caller]
fn with(text: &str, piece: &str, replacement: &str) -> String {
    assert_eq!(text.matches(piece).count(), 1, "{piece:?} in {text}");
    text.replace(piece, replacement)
}

#[test]
fn config_loads_keys_peers_and_relative_paths() {
    let (scratch, loaded) = load(&good_node(), &good_peers());
    let config = loaded.unwrap();
    assert_eq!(config.cycle.policy.publishers().len(), 3);
    assert_eq!(config.cycle.policy.threshold(), 2);
    assert_eq!(config.cycle.platform, unanimity_config::this_platform());
    let names: Vec<_> = config.peers.iter().map(|peer| peer.name.to_string()).collect();
    assert_eq!(names, ["peer-1", "peer-2", "peer-3"]);
    assert_eq!(config.addresses[&peer_key("peer-2", 2).raw()].to_string(), address(2));
    assert!(config.cycle.pinned.is_none());
    // Relative paths start at the directory of the file.
    assert_eq!(config.cycle.install_root, scratch.path().join("hello"));
    assert_eq!(config.cycle.state, Path::new("/var/lib/unanimity"));
}

#[test]
fn config_has_documented_default_limits() {
    let (_scratch, loaded) = load(&good_node(), &good_peers());
    let config = loaded.unwrap();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    assert_eq!(config.cycle.limits.settle, minutes(60));
    assert_eq!(config.cycle.limits.round_ttl, minutes(15));
    assert_eq!(config.cycle.limits.max_cosignature_age, minutes(15));
    assert_eq!(config.cycle.polling.min, minutes(5));
    assert_eq!(config.cycle.polling.max, minutes(15));
    assert_eq!(config.cycle.polling.max_age, minutes(30));
    assert_eq!(config.cycle.ask_timeout, Duration::from_secs(45));
    assert_eq!(config.cycle.round_timeout, minutes(2));
    let message = load_error(&good_node(), &peers(1..=2), PEERS);
    assert_contains_all(&message, &["distinct operators", "min_peers is 3"]);
    let error = load(&good_node(), &peers(1..=2)).1.unwrap_err();
    let ConfigErrorKind::PeerList(PeerListError::Peers(why)) = error.why else { panic!("{error}") };
    assert_eq!(why, PeerSetError::TooFew { operators: 2, min_peers: 3 });
}

#[test]
fn config_takes_written_limits_and_platform() {
    let limits = "[limits]\nsettle = \"0s\"\nround_ttl = \"10m\"\nmax_cosignature_age = \"1day\"\n\
        ask_timeout = \"2min 30s\"\nround_timeout = \"150s\"\npoll_min = \"1m\"\npoll_max = \"1m\"\nmax_poll_age = \"61s\"\n";
    let node = with(&good_node(), "[limits]\n", limits);
    let node =
        with(&node, "channel = \"stable\"", "channel = \"beta\"\nplatform = \"riscv64-linux\"");
    let (_scratch, loaded) = load(&node, &format!("min_peers = 1\n{}", peers([1])));
    let config = loaded.unwrap();
    // The operator may choose no settling time.
    assert_eq!(config.cycle.limits.settle, Duration::ZERO);
    assert_eq!(config.cycle.limits.max_cosignature_age, Duration::from_secs(86_400));
    assert_eq!(config.cycle.ask_timeout, Duration::from_secs(150));
    assert_eq!(config.cycle.round_timeout, Duration::from_secs(150));
    assert_eq!(config.cycle.polling.max_age, Duration::from_secs(61));
    assert_eq!(config.cycle.platform.as_str(), "riscv64-linux");
    assert_eq!(config.peers.iter().count(), 1);
}

#[test]
fn config_takes_written_hooks_and_has_none_by_default() {
    let config = load(&good_node(), &good_peers()).1.unwrap();
    assert_eq!((config.cycle.hooks, config.cycle.freshness), (HookSettings::default(), None));
    let written = r#"root = "hello"
freshness = "7d"
keep = 2
pre_install = ["/bin/a", "1"]
handover = ["/bin/b", "-i", "{}"]
post_install = ["/bin/c"]
restart = "hello.service"
on_success = ["/bin/e"]
timeout = "2m"
health = { check = ["/bin/d", ""], timeout = "3s" }"#;
    let node = with(&good_node(), "root = \"hello\"", written);
    let config = load(&node, &good_peers()).1.unwrap();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let expected = HookSettings {
        keep: 2,
        pre_install: words(&["/bin/a", "1"]),
        handover: words(&["/bin/b", "-i", "{}"]),
        post_install: words(&["/bin/c"]),
        restart: Some("hello.service".to_owned()),
        timeout: Duration::from_secs(120),
        check: words(&["/bin/d", ""]),
        check_timeout: Duration::from_secs(3),
        on_success: words(&["/bin/e"]),
    };
    assert_eq!(config.cycle.hooks, expected);
    assert_eq!(config.cycle.freshness, Some(Duration::from_secs(7 * 24 * 3600)));
}

#[test]
fn config_refuses_invalid_install_values() {
    let mut messages = String::new();
    for line in [
        "keep = 1",
        "keep = 1001",
        "pre_install = [\"true\"]",
        "post_install = [\"./true\"]",
        "post_install = [\"\"]",
        "on_success = [\"e\"]",
        "health = { check = [\"true\"] }",
        "handover = [\"dpkg\", \"-i\", \"{}\"]",
        "handover = [\"/usr/bin/dpkg\", \"-i\"]",
        "restart = \"\"",
        "restart = \"a b\"",
        "timeout = \"0s\"",
        "health = { timeout = \"2h\" }",
        "freshness = \"59s\"",
        "freshness = \"31d\"",
    ] {
        let node = with(&good_node(), "root = \"hello\"", &format!("root = \"hello\"\n{line}"));
        messages += &case_line(line, &load_error(&node, &good_peers(), NODE));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_install.txt"]);
}

#[test]
fn config_refuses_overlapping_root_state_and_spool() {
    let scratch = scratch_dir();
    let here = scratch.path();
    fs::create_dir_all(here.join("there/deep")).unwrap();
    symlink("there", here.join("link")).unwrap();
    fs::write(here.join(PEERS), good_peers()).unwrap();
    let load = |root: &str, state: &str, spool: &str| {
        let paths = [root, state, spool].map(|path| path.replace("HERE", here.to_str().unwrap()));
        let [root, state, spool] = &paths;
        let lines = format!("root = \"{root}\"\nstate = \"{state}\"\nspool = \"{spool}\"\n");
        let old = "root = \"hello\"\nstate = \"/var/lib/unanimity\"\n";
        fs::write(here.join(NODE), with(&good_node(), old, &lines)).unwrap();
        unanimity_config::load_client_config(&here.join(NODE), NOW)
    };
    for (root, state, spool) in [
        ("hello", "state", "spool"),
        ("there/deep", "HERE/there/deeper", "link/spool"),
        ("none/a", "none/b", "none/../a"),
    ] {
        load(root, state, spool).unwrap();
    }
    let mut messages = String::new();
    for (root, state, spool) in [
        ("hello", "hello", "spool"),
        ("hello", "hello/state", "spool"),
        ("state/hello", "state", "spool"),
        ("hello", "HERE/hello/state", "spool"),
        ("hello", "./none/../hello/state", "spool"),
        ("there/deep", "link/deep", "spool"),
        ("link", "there/deep", "spool"),
        ("link/none", "there/none/deep", "spool"),
        ("hello", "state", "HERE/hello"),
        ("hello", "state", "HERE"),
        ("link/deep", "state", "link/../link/deep/spool"),
        ("hello", "there", "link/spool"),
    ] {
        let error = load(root, state, spool).unwrap_err();
        messages += &case_line(&format!("{root} {state} {spool}"), &error.why.to_string());
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_directories.txt"]);
}

#[test]
fn config_refuses_too_few_peers() {
    let three = good_peers();
    // Two peers of one operator count once.
    let one_operator: String = (1..=5)
        .map(|i| {
            let name = format!("peer-{i}");
            peer(&name, "acme", &address(i), &peer_key(&name, i))
        })
        .collect();
    let mut messages = String::new();
    for (case, peers) in [
        ("no peers", String::new()),
        ("min_peers = 0, no peers", "min_peers = 0\n".to_owned()),
        ("min_peers = 0, 3 peers", format!("min_peers = 0\n{three}")),
        ("min_peers = 4, 3 peers", format!("min_peers = 4\n{three}")),
        ("5 peers of one operator", one_operator),
        // A negative or too large number never becomes a small one.
        ("min_peers = -1", "min_peers = -1\n".to_owned()),
        ("min_peers = 2^64, 3 peers", format!("min_peers = 18446744073709551616\n{three}")),
    ] {
        messages += &case_line(case, &load_error(&good_node(), &peers, PEERS));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_too_few_peers.txt"]);
}

#[test]
fn config_refuses_one_peer_under_two_names() {
    let label = address(2).split('.').next().unwrap().to_owned();
    let dora = |name: &str, address: &str, key| peer(name, "dora", address, &key);
    let mut messages = String::new();
    for (case, entry) in [
        // The same key under another name has another id and another line.
        ("same key", dora("dora", &address(4), peer_key("other", 2))),
        ("same name", dora("peer-2", &address(4), peer_key("dora", 4))),
        // An onion service is one service in every spelling and on every port.
        ("same address", dora("dora", &address(2), peer_key("dora", 4))),
        (
            "upper case",
            dora("dora", &format!("{}.onion", label.to_uppercase()), peer_key("dora", 4)),
        ),
        ("final dot", dora("dora", &format!("{label}.onion.:4242"), peer_key("dora", 4))),
        ("other port", dora("dora", &format!("{label}.onion:80"), peer_key("dora", 4))),
    ] {
        let error = load_error(&good_node(), &(good_peers() + &entry), PEERS);
        messages += &case_line(case, &error);
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_one_peer_twice.txt"]);
}

#[test]
fn config_refuses_one_key_in_two_roles() {
    let node = good_node();
    let mut messages = String::new();
    // 11 is the seed of a publisher, 10 the seed of the log.
    for (case, seed) in [("a publisher is a peer", 11), ("the log is a peer", 10)] {
        let peers = good_peers() + &peer("dora", "dora", &address(4), &peer_key("dora", seed));
        messages += &case_line(case, &load_error(&node, &peers, PEERS));
    }
    let publisher = note_key("publisher-b", 12).to_string();
    for (case, key) in [
        ("the log is a publisher", note_key("publisher-b", 10)),
        ("a publisher under two names", note_key("other-name", 11)),
        ("two publishers of one name", note_key("publisher-a", 14)),
    ] {
        let node = with(&node, &publisher, &key.to_string());
        messages += &case_line(case, &load_error(&node, &good_peers(), NODE));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_one_key_two_roles.txt"]);
}

#[test]
fn config_refuses_peer_as_mirror_and_artifacts_at_peer_address() {
    let onion = |seed| address(seed).replace(":4242", "");
    let mut messages = String::new();
    for mirror in [format!("http://{}", onion(2)), format!("http://{}:8080/log", onion(2))] {
        let node = with(&good_node(), "\"file:/srv/log\"", &format!("\"file:/a\", \"{mirror}\""));
        messages += &case_line(&mirror, &load_error(&node, &good_peers(), PEERS));
    }
    let elsewhere = format!("\"http://{}\"", onion(9));
    load(&with(&good_node(), "\"file:/srv/log\"", &elsewhere), &good_peers()).1.unwrap();
    let with_artifacts = |url: &str| good_peers() + &format!("artifacts = \"{url}\"\n");
    for url in [
        format!("http://{}", onion(3)),
        format!("http://{}", onion(1)),
        "https://a.example".into(),
        format!("https://{}", onion(9)),
    ] {
        let error = load_error(&good_node(), &with_artifacts(&url), PEERS);
        messages += &case_line(&format!("artifacts at {url}"), &error);
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_peer_addresses.txt"]);
    for url in ["", "a.example", "http://a.example", "file:/srv"] {
        load_error(&good_node(), &with_artifacts(url), PEERS);
    }
    let url = format!("http://{}", onion(9));
    let config = load(&good_node(), &with_artifacts(&url)).1.unwrap();
    let [(name, found)] = &config.artifacts[..] else { panic!("{:?}", config.artifacts) };
    assert_eq!((name.as_str(), found.to_string()), ("peer-3", url));
}

#[test]
fn config_refuses_threshold_of_zero_or_above_key_count() {
    let mut messages = String::new();
    for threshold in ["0", "4", "1000000", "-1"] {
        let node = with(&good_node(), "threshold = 2", &format!("threshold = {threshold}"));
        messages += &case_line(threshold, &load_error(&node, &good_peers(), NODE));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_threshold.txt"]);
}

#[test]
fn unknown_field_is_an_error_that_names_its_line() {
    let node = good_node();
    let line_of = |text: &str, piece: &str| {
        let at = text.lines().position(|line| line == piece).unwrap() + 1;
        format!("line {at}")
    };
    for table in ["[product]", "[publisher]", "[log]", "[install]", "[limits]"] {
        let text = with(&node, &format!("{table}\n"), &format!("{table}\nsurprise = 1\n"));
        let error = load_error(&text, &good_peers(), NODE);
        assert_contains_all(
            &error,
            &["surprise", "unknown field", &line_of(&text, "surprise = 1")],
        );
    }
    let text = format!("surprise = 1\n{node}");
    assert_contains_all(
        &load_error(&text, &good_peers(), NODE),
        &["surprise", "unknown field", "line 1"],
    );
    let text = format!("{node}\n[surprise]\n");
    assert_contains_all(
        &load_error(&text, &good_peers(), NODE),
        &["surprise", &line_of(&text, "[surprise]")],
    );
    let text = format!("{}surprise = 1\n", good_peers());
    assert_contains_all(
        &load_error(&node, &text, PEERS),
        &["surprise", &line_of(&text, "surprise = 1")],
    );
    let text = format!("minpeers = 1\n{}", good_peers());
    assert_contains_all(&load_error(&node, &text, PEERS), &["minpeers", "line 1"]);
}

#[test]
fn malformed_value_is_an_error_that_names_its_line_and_reason() {
    let (node, peers) = (good_node(), good_peers());
    let log_key = note_key("log.example", 10).to_string();
    let peer_for_log = peer_key("log.example", 10).to_string();
    let mut mistyped = log_key.clone().into_bytes();
    let last = mistyped.len() - 5;
    mistyped[last] = if mistyped[last] == b'A' { b'B' } else { b'A' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    let mut messages = String::new();
    for (piece, bad, line) in [
        ("name = \"hello\"", "name = \"../hello\"".to_owned(), 2),
        ("channel = \"stable\"", "channel = \"\"".to_owned(), 3),
        (&*log_key, peer_for_log, 15),
        (&*log_key, mistyped, 15),
        ("\"log.example/releases\"", "\"unanimity/x\"".to_owned(), 14),
        ("\"file:/srv/log\"", "\"file:log\"".to_owned(), 16),
        ("threshold = 2", "threshold = \"2\"".to_owned(), 6),
        ("[limits]\n", "[limits]\nsettle = 3600\n".to_owned(), 23),
        ("[limits]\n", "[limits]\nsettle = \"soon\"\n".to_owned(), 23),
        ("[limits]\n", "[limits]\nsettle = \"-1h\"\n".to_owned(), 23),
        ("[limits]\n", "[limits]\nround_ttl = \"15\"\n".to_owned(), 23),
    ] {
        let error = load_error(&with(&node, piece, &bad), &peers, NODE);
        assert_contains_all(&error, &[&format!("line {line},")]);
        messages += &case_line(&bad, &error);
    }
    let typo = address(2).replacen('a', "b", 1);
    for (piece, bad, line) in [
        (address(2), "example.org:4242", 11),
        (address(2), &*typo, 11),
        (peer_key("peer-2", 2).to_string(), &*log_key, 12),
    ] {
        let error = load_error(&node, &with(&peers, &piece, bad), PEERS);
        assert_contains_all(&error, &[&format!("line {line},")]);
        messages += &case_line(bad, &error);
    }
    messages += &case_line("[product", &load_error("[product", &peers, NODE));
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_malformed_values.txt"]);
}

#[test]
fn error_names_missing_field_or_file() {
    for (piece, missing) in
        [("threshold = 2\n", "threshold"), ("origin = \"log.example/releases\"\n", "origin")]
    {
        let error = load_error(&with(&good_node(), piece, ""), &good_peers(), NODE);
        assert_contains_all(&error, &["missing field", missing]);
    }
    let scratch = scratch_dir();
    let error = unanimity_config::load_client_config(&scratch.path().join("nothing.toml"), NOW)
        .unwrap_err()
        .to_string();
    assert_contains_all(&error, &["nothing.toml"]);
    fs::write(scratch.path().join(NODE), good_node()).unwrap();
    let error = unanimity_config::load_client_config(&scratch.path().join(NODE), NOW)
        .unwrap_err()
        .to_string();
    assert_contains_all(&error, &[PEERS]);
}

#[test]
fn config_refuses_log_without_mirrors() {
    let node = with(&good_node(), "[\"file:/srv/log\"]", "[]");
    let error = load(&node, &good_peers()).1.unwrap_err();
    assert!(matches!(error.why, ConfigErrorKind::NoMirrors), "{error}");
    let message = load_error(&node, &good_peers(), NODE);
    assert_contains_all(&message, &["mirrors is empty", "at least one"]);
}

#[test]
fn config_refuses_limits_that_make_a_check_ineffective() {
    let mut messages = String::new();
    for limits in [
        "round_ttl = \"25h\"",
        "max_cosignature_age = \"25h\"",
        "max_poll_age = \"25h\"",
        "round_ttl = \"0s\"",
        "max_cosignature_age = \"999ms\"",
        "ask_timeout = \"0s\"",
        "ask_timeout = \"121s\"",
        "round_timeout = \"44s\"",
        "round_timeout = \"841s\"",
        "max_cosignature_age = \"179s\"",
        "round_ttl = \"179s\"",
        "round_timeout = \"500000000000years\"",
        "poll_min = \"0s\"",
        "poll_min = \"16m\"",
        "poll_max = \"30m\"",
        "max_poll_age = \"15m\"",
    ] {
        let node = good_node() + limits + "\n";
        messages += &case_line(limits, &load_error(&node, &good_peers(), NODE));
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_limits.txt"]);
    for limits in ["round_timeout = \"840s\"", "max_cosignature_age = \"3m\"\nround_ttl = \"3m\""] {
        let (_scratch, loaded) = load(&(good_node() + limits + "\n"), &good_peers());
        loaded.unwrap();
    }
}

#[test]
fn config_refuses_pinned_checkpoint_of_another_log() {
    let scratch = scratch_dir();
    let node = with(&good_node(), "[install]", "pinned = \"pinned\"\n\n[install]");
    fs::write(scratch.path().join(NODE), &node).unwrap();
    fs::write(scratch.path().join(PEERS), good_peers()).unwrap();
    let load = || unanimity_config::load_client_config(&scratch.path().join(NODE), NOW);
    let key = |seed| NoteSigningKey::from_seed("log.example".parse().unwrap(), &[seed; 32]);
    let pin = |origin: &str, seed| {
        let origin = origin.parse().unwrap();
        let checkpoint = Checkpoint { origin, size: 5, root: Hash([5; 32]) };
        fs::write(scratch.path().join("pinned"), checkpoint.sign(&key(seed)).to_string()).unwrap();
        load()
    };
    let pinned = pin("log.example/releases", 10).unwrap().cycle.pinned.unwrap();
    assert_eq!((pinned.size(), *pinned.root()), (5, Hash([5; 32])));
    let mut messages = String::new();
    let mut add = |case: &str, error: ConfigError| {
        let error = error.to_string().replace(scratch.path().to_str().unwrap(), "[DIR]");
        messages += &case_line(case, &error);
    };
    add("other log", pin("log.example/other", 10).unwrap_err());
    add("other key", pin("log.example/releases", 9).unwrap_err());
    fs::write(scratch.path().join("pinned"), "rubbish").unwrap();
    add("not a checkpoint", load().unwrap_err());
    fs::remove_file(scratch.path().join("pinned")).unwrap();
    add("no file", load().unwrap_err());
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_pinned.txt"]);
}

#[test]
fn refusal_contains_no_onion_address() {
    // Operators paste errors into bug reports, which must not name the addresses of their peers.
    let twice = good_peers() + &peer("dora", "dora", &address(2), &peer_key("dora", 4));
    let error = load_error(&good_node(), &twice, PEERS);
    assert!(!error.contains(".onion"), "{error}");
}

fn load_node(tables: &str) -> (TempDir, Result<unanimity_config::NodeConfig, ConfigError>) {
    let scratch = scratch_dir();
    fs::write(scratch.path().join(NODE), format!("{}{tables}", good_node())).unwrap();
    fs::write(scratch.path().join(PEERS), good_peers()).unwrap();
    fs::write(scratch.path().join("network.toml"), "nothing").unwrap();
    let loaded = unanimity_config::load_node_config(&scratch.path().join(NODE));
    (scratch, loaded)
}

#[test]
fn serve_alert_and_tor_have_documented_defaults() {
    let (_scratch, node) = load_node("");
    let node = node.unwrap();
    assert_eq!(node.serve, None);
    assert_eq!(node.tor.network, TorNetwork::Public(Bridges::default()));
    assert_eq!(node.tor.state, Path::new("/var/lib/unanimity/tor"));
    assert_eq!(node.alert, AlertSettings::default());
    assert_eq!(node.removal_delay, Duration::from_secs(7 * 24 * 3600));

    let (_scratch, node) = load_node("[serve]\nname = \"dora\"\n");
    let serve = node.unwrap().serve.unwrap();
    assert_eq!((serve.port, serve.policy), (4242, ServePolicy::Notify));
    assert!(serve.client_auth && !serve.proof_of_work);
    assert_eq!(serve.artifacts, None);
    for (tables, max_bytes, bytes_per_second) in [
        ("[serve.artifacts]\n", 1 << 30, 1 << 20),
        ("[serve.artifacts]\nkeep = \"20KiB\"\nrate = \"3MiB\"\n", 20 << 10, 3 << 20),
    ] {
        let (_scratch, node) = load_node(&format!("[serve]\nname = \"dora\"\n{tables}"));
        let artifacts = node.unwrap().serve.unwrap().artifacts;
        assert_eq!(artifacts, Some(ServeArtifactsSettings { max_bytes, bytes_per_second }));
    }
}

#[test]
fn config_takes_written_serve_alert_and_tor_settings() {
    let (scratch, node) = load_node(
        "removal_delay = \"2h\"\n[serve]\nname = \"dora\"\nport = 99\npolicy = \"install\"\nround_interval_min = \"1s\"\n\
         round_interval_max = \"2s\"\nclient_auth = false\n\
         [alert]\ncommand = [\"/bin/tell\", \"me\"]\nincomplete_after = \"1h\"\n\
         [tor]\nstate = \"t\"\ncache = \"c\"\nnetwork = \"network.toml\"\n",
    );
    let node = node.unwrap();
    let serve = node.serve.unwrap();
    assert_eq!((serve.port, serve.policy), (99, ServePolicy::Install));
    assert_eq!((serve.round_interval_min.as_secs(), serve.round_interval_max.as_secs()), (1, 2));
    assert!(!serve.client_auth);
    assert_eq!(node.alert.command, ["/bin/tell", "me"]);
    assert_eq!(node.alert.incomplete_after, Duration::from_secs(3600));
    assert_eq!(node.removal_delay, Duration::from_secs(7200));
    assert_eq!(node.tor.network, TorNetwork::Private("nothing".to_owned()));
    assert_eq!(node.tor.state, scratch.path().join("t"));
    assert_eq!(node.tor.cache, scratch.path().join("c"));

    let (_scratch, node) = load_node("[tor]\nbridges = [\"one line\"]\noffline = true\n");
    assert_eq!(node.unwrap().tor.network, TorNetwork::Offline, "offline overrides bridges");
    let (_scratch, node) = load_node("[tor]\nbridges = [\"one line\"]\n");
    let bridges = Bridges { lines: vec!["one line".to_owned()], transports: Vec::new() };
    assert_eq!(node.unwrap().tor.network, TorNetwork::Public(bridges));
}

#[test]
fn config_refuses_invalid_serve_alert_tor_and_removal_values() {
    let mut messages = String::new();
    for tables in [
        "[serve]\n",
        "[serve]\nname = \"a b\"\n",
        "[serve]\nname = \"a+b\"\n",
        "[serve]\nname = \"a\"\nport = 0\n",
        "[serve]\nname = \"a\"\nport = 80\n",
        "[serve]\nname = \"a\"\n[serve.artifacts]\nkeep = \"0GiB\"\n",
        "[serve]\nname = \"a\"\n[serve.artifacts]\nrate = \"255KiB\"\n",
        "[serve]\nname = \"a\"\n[serve.artifacts]\nrate = \"1MB\"\n",
        "[serve]\nname = \"a\"\n[serve.artifacts]\nkeep = \"99999999999GiB\"\n",
        "[serve]\nname = \"a\"\n[serve.artifacts]\nkeep = \"-1GiB\"\n",
        "[serve]\nname = \"a\"\n[serve.artifacts]\nall = true\n",
        "[serve]\nname = \"a\"\npolicy = \"trust\"\n",
        "[serve]\nname = \"a\"\nround_interval_min = \"0s\"\n",
        "[serve]\nname = \"a\"\nround_interval_min = \"2h\"\nround_interval_max = \"1h\"\n",
        "[serve]\nname = \"a\"\nround_interval_max = \"25h\"\n",
        "[alert]\ncommand = \"mail me\"\n",
        "[alert]\ncommand = [\"mail\", \"me\"]\n",
        "[alert]\nincomplete_after = \"31days\"\n",
        "[tor]\nnetwork = \"absent.toml\"\n",
        "[tor]\nnetwork = \"network.toml\"\nbridges = [\"b\"]\n",
        "[tor]\nsocks = 9050\n",
        "removal_delay = \"59m\"\n",
        "removal_delay = \"9000years\"\n",
    ] {
        let (scratch, node) = load_node(tables);
        let error = node.expect_err(tables).why.to_string();
        let error = error.replace(scratch.path().to_str().unwrap(), "[DIR]");
        messages += &case_line(tables, &error);
    }
    let (_scratch, node) = load_node("[serve]\nname = \"a\"\nproof_of_work = true\n");
    let node = node.unwrap();
    node.check_proof_of_work(true).unwrap();
    let error = node.check_proof_of_work(false).unwrap_err();
    messages += &case_line("proof_of_work = true", &error.why.to_string());
    snapbox::assert_data_eq!(messages, snapbox::file!["words/config_serve_alert_tor.txt"]);
}
