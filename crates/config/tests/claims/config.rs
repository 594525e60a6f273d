//! Configuration: what contradicts itself is refused, and the error says where and why.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use unanimity_config::tor_settings::{Bridges, TorNetwork};
use unanimity_config::{
    AlertSettings, ClientConfig, ConfigError, HookSettings, OnionAddress, ServeArtifactsSettings,
    ServePolicy,
};
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
    let place = scratch_dir();
    fs::write(place.path().join(NODE), node).unwrap();
    fs::write(place.path().join(PEERS), peers).unwrap();
    let loaded = unanimity_config::load_client_config(&place.path().join(NODE), NOW);
    (place, loaded)
}

/// The error of a bad configuration, which has to name the file.
#[track_caller]
fn load_error(node: &str, peers: &str, file: &str) -> String {
    let (place, loaded) = load(node, peers);
    let error = loaded.expect_err("refused").to_string();
    let path = place.path().join(file);
    let why = error.strip_prefix(&format!("{}: ", path.display()));
    why.unwrap_or_else(|| panic!("{error:?} does not begin with {file}")).to_owned()
}

#[track_caller]
fn assert_contains_all(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{error:?} does not say {part:?}");
    }
}

/// A good text with one piece replaced. The piece has to be in it once.
#[track_caller]
fn with(text: &str, piece: &str, replacement: &str) -> String {
    assert_eq!(text.matches(piece).count(), 1, "{piece:?} in {text}");
    text.replace(piece, replacement)
}

#[test]
fn a_good_configuration_is_read_as_it_stands() {
    let (place, loaded) = load(&good_node(), &good_peers());
    let config = loaded.unwrap();
    assert_eq!(config.cycle.policy.publishers().len(), 3);
    assert_eq!(config.cycle.policy.threshold(), 2);
    assert_eq!(config.cycle.platform, unanimity_config::this_platform());
    let names: Vec<_> = config.peers.iter().map(|peer| peer.name.to_string()).collect();
    assert_eq!(names, ["peer-1", "peer-2", "peer-3"]);
    assert_eq!(config.addresses[&peer_key("peer-2", 2).raw()].to_string(), address(2));
    assert!(config.cycle.pinned.is_none());
    // Relative paths begin at the file's directory.
    assert_eq!(config.cycle.install_root, place.path().join("hello"));
    assert_eq!(config.cycle.state, Path::new("/var/lib/unanimity"));
}

#[test]
fn what_is_not_written_is_as_the_design_says() {
    let (_place, loaded) = load(&good_node(), &good_peers());
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
    // min_peers is 3.
    let error = load_error(&good_node(), &peers(1..=2), PEERS);
    assert_contains_all(&error, &["2 distinct operators", "min_peers is 3"]);
}

#[test]
fn what_is_written_is_taken() {
    let limits = "[limits]\nsettle = \"0s\"\nroll_ttl = \"10m\"\nview_ttl = \"1day\"\n\
        ask_timeout = \"2min 30s\"\nroll_timeout = \"150s\"\npoll_min = \"1m\"\npoll_max = \"1m\"\nmax_poll_age = \"61s\"\n";
    let node = with(&good_node(), "[limits]\n", limits);
    let node =
        with(&node, "channel = \"stable\"", "channel = \"beta\"\nplatform = \"riscv64-linux\"");
    let (_place, loaded) = load(&node, &format!("min_peers = 1\n{}", peers([1])));
    let config = loaded.unwrap();
    // No settling time is the operator's word.
    assert_eq!(config.cycle.limits.settle, Duration::ZERO);
    assert_eq!(config.cycle.limits.max_cosignature_age, Duration::from_secs(86_400));
    assert_eq!(config.cycle.ask_timeout, Duration::from_secs(150));
    assert_eq!(config.cycle.round_timeout, Duration::from_secs(150));
    assert_eq!(config.cycle.polling.max_age, Duration::from_secs(61));
    assert_eq!(config.cycle.platform.as_str(), "riscv64-linux");
    assert_eq!(config.peers.iter().count(), 1);
}

#[test]
fn what_belongs_to_a_switch_is_taken_as_written_and_is_nothing_by_default() {
    let config = load(&good_node(), &good_peers()).1.unwrap();
    assert_eq!((config.cycle.hooks, config.cycle.freshness), (HookSettings::default(), None));
    let written = r#"root = "hello"
freshness = "7d"
keep = 2
pre_install = ["/bin/a", "1"]
handover = ["/bin/b", "-i", "{}"]
post_install = ["/bin/c"]
restart = "hello.service"
when_good = ["/bin/e"]
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
fn what_makes_no_sense_of_a_switch_is_refused() {
    for (line, why) in [
        ("keep = 1", "keep is 2 to 1000"),
        ("keep = 1001", "keep is 2 to 1000"),
        ("pre_install = [\"true\"]", "by an absolute path"),
        ("post_install = [\"./true\"]", "by an absolute path"),
        ("post_install = [\"\"]", "by an absolute path"),
        ("when_good = [\"e\"]", "by an absolute path"),
        ("health = { check = [\"true\"] }", "by an absolute path"),
        ("handover = [\"dpkg\", \"-i\", \"{}\"]", "by an absolute path"),
        ("handover = [\"/usr/bin/dpkg\", \"-i\"]", "handover has an argument {}, or {path}"),
        ("restart = \"\"", "restart is the name of one"),
        ("restart = \"a b\"", "restart is the name of one"),
        ("timeout = \"0s\"", "a timeout is one second to one hour"),
        ("health = { timeout = \"2h\" }", "a timeout is one second to one hour"),
        ("freshness = \"59s\"", "freshness is one minute to 30 days"),
        ("freshness = \"31d\"", "freshness is one minute to 30 days"),
    ] {
        let node = with(&good_node(), "root = \"hello\"", &format!("root = \"hello\"\n{line}"));
        let error = load_error(&node, &good_peers(), NODE);
        assert_contains_all(&error, &["[install] ", why]);
    }
}

#[test]
fn what_a_node_keeps_is_in_places_apart_whatever_they_are_called() {
    let place = scratch_dir();
    let here = place.path();
    fs::create_dir_all(here.join("there/deep")).unwrap();
    symlink("there", here.join("link")).unwrap();
    fs::write(here.join(PEERS), good_peers()).unwrap();
    let load = |root: &str, state: &str, spool: &str| {
        let places = [root, state, spool].map(|at| at.replace("HERE", here.to_str().unwrap()));
        let [root, state, spool] = &places;
        let places = format!("root = \"{root}\"\nstate = \"{state}\"\nspool = \"{spool}\"\n");
        let old = "root = \"hello\"\nstate = \"/var/lib/unanimity\"\n";
        fs::write(here.join(NODE), with(&good_node(), old, &places)).unwrap();
        unanimity_config::load_client_config(&here.join(NODE), NOW)
    };
    for (root, state, spool) in [
        ("hello", "state", "spool"),
        ("there/deep", "HERE/there/deeper", "link/spool"),
        ("none/a", "none/b", "none/../a"),
    ] {
        load(root, state, spool).unwrap();
    }
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
        let error = load(root, state, spool).unwrap_err().to_string();
        assert_contains_all(&error, &["[install] root, state and spool are apart"]);
    }
}

#[test]
fn peers_that_are_no_quorum_are_refused() {
    let node = good_node();
    let refused = |peers: &str| load_error(&node, peers, PEERS);
    assert_contains_all(&refused(""), &["0 distinct operators", "min_peers is 3"]);
    assert_contains_all(&refused("min_peers = 0\n"), &["min_peers is 0", "nobody has to confirm"]);
    assert_contains_all(&refused(&format!("min_peers = 0\n{}", good_peers())), &["min_peers is 0"]);
    assert_contains_all(
        &refused(&format!("min_peers = 4\n{}", good_peers())),
        &["3 distinct", "min_peers is 4"],
    );
    // Many peers of one operator are one witness.
    let one_operator = (1..=5)
        .map(|i| {
            let name = format!("peer-{i}");
            peer(&name, "acme", &address(i), &peer_key(&name, i))
        })
        .collect::<String>();
    assert_contains_all(&refused(&one_operator), &["1 distinct operators", "min_peers is 3"]);
    assert_contains_all(&refused("min_peers = -1\n"), &["line 1"]);
    // A negative or missing number never becomes a small one.
    assert_contains_all(
        &refused(&format!("min_peers = 18446744073709551616\n{}", good_peers())),
        &["line 1"],
    );
}

#[test]
fn one_peer_under_two_names_is_refused() {
    let node = good_node();
    // The same key under another name has another id and another line.
    let twice = good_peers() + &peer("dora", "dora", &address(4), &peer_key("other", 2));
    assert_contains_all(&load_error(&node, &twice, PEERS), &["dora", "peer-2", "same key"]);
    let same_name = good_peers() + &peer("peer-2", "dora", &address(4), &peer_key("dora", 4));
    assert_contains_all(&load_error(&node, &same_name, PEERS), &["two peers are named peer-2"]);
    // One service in another spelling, or on another port, is one service.
    let label = address(2).split('.').next().unwrap().to_owned();
    for spelling in [
        address(2),
        format!("{}.onion", label.to_uppercase()),
        format!("{label}.onion.:4242"),
        format!("{label}.onion:80"),
    ] {
        let twice = good_peers() + &peer("dora", "dora", &spelling, &peer_key("dora", 4));
        let error = load_error(&node, &twice, PEERS);
        assert_contains_all(&error, &["peer-2", "dora", "same onion address"]);
    }
}

#[test]
fn a_key_has_one_role() {
    let node = good_node();
    // 11 is a publisher's seed, 10 the log's.
    for seed in [11, 10] {
        let peers = good_peers() + &peer("dora", "dora", &address(4), &peer_key("dora", seed));
        let error = load_error(&node, &peers, PEERS);
        assert_contains_all(&error, &["dora", "one role"]);
    }
    let publisher = note_key("publisher-b", 12).to_string();
    let same_as_log = with(&node, &publisher, &note_key("publisher-b", 10).to_string());
    assert_contains_all(
        &load_error(&same_as_log, &good_peers(), NODE),
        &["publisher-b", "log's key", "one role"],
    );
    let twice = with(&node, &publisher, &note_key("other-name", 11).to_string());
    assert_contains_all(
        &load_error(&twice, &good_peers(), NODE),
        &["publisher-a", "other-name", "same key"],
    );
    let named_twice = with(&node, &publisher, &note_key("publisher-a", 14).to_string());
    assert_contains_all(
        &load_error(&named_twice, &good_peers(), NODE),
        &["two publisher keys", "publisher-a"],
    );
}

#[test]
fn a_peer_that_is_a_mirror_or_serves_artifacts_where_it_is_asked_is_refused() {
    let onion = |seed| address(seed).replace(":4242", "");
    for mirror in [format!("http://{}", onion(2)), format!("http://{}:8080/log", onion(2))] {
        let node = with(&good_node(), "\"file:/srv/log\"", &format!("\"file:/a\", \"{mirror}\""));
        let error = load_error(&node, &good_peers(), PEERS);
        assert_contains_all(&error, &["peer peer-2 is also one of [log] mirrors"]);
    }
    let elsewhere = format!("\"http://{}\"", onion(9));
    load(&with(&good_node(), "\"file:/srv/log\"", &elsewhere), &good_peers()).1.unwrap();
    let serving = |site: &str| good_peers() + &format!("artifacts = \"{site}\"\n");
    for site in [
        format!("http://{}", onion(3)),
        format!("http://{}", onion(1)),
        "https://a.example".into(),
        format!("https://{}", onion(9)),
    ] {
        let error = load_error(&good_node(), &serving(&site), PEERS);
        assert_contains_all(&error, &["peer peer-3: artifacts has to be http://"]);
    }
    for site in ["", "a.example", "http://a.example", "file:/srv"] {
        load_error(&good_node(), &serving(site), PEERS);
    }
    let site = format!("http://{}", onion(9));
    let config = load(&good_node(), &serving(&site)).1.unwrap();
    let [(name, found)] = &config.artifacts[..] else { panic!("{:?}", config.artifacts) };
    assert_eq!((name.as_str(), found.to_string()), ("peer-3", site));
}

#[test]
fn a_threshold_that_nobody_or_not_everybody_can_meet_is_refused() {
    for threshold in ["0", "4", "1000000"] {
        let node = with(&good_node(), "threshold = 2", &format!("threshold = {threshold}"));
        let error = load_error(&node, &good_peers(), NODE);
        assert_contains_all(
            &error,
            &["[publisher]", &format!("a threshold of {threshold} with 3")],
        );
    }
    let node = with(&good_node(), "threshold = 2", "threshold = -1");
    assert_contains_all(&load_error(&node, &good_peers(), NODE), &["line 6"]);
}

#[test]
fn a_field_that_is_not_known_is_an_error_that_names_its_line() {
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
fn a_value_of_the_wrong_form_is_an_error_that_names_its_line_and_reason() {
    let (node, peers) = (good_node(), good_peers());
    let log_key = note_key("log.example", 10).to_string();
    let peer_for_log = peer_key("log.example", 10).to_string();
    let mut mistyped = log_key.clone().into_bytes();
    let last = mistyped.len() - 5;
    mistyped[last] = if mistyped[last] == b'A' { b'B' } else { b'A' };
    let mistyped = String::from_utf8(mistyped).unwrap();
    for (piece, bad, line, why) in [
        ("name = \"hello\"", "name = \"../hello\"".to_owned(), 2, "not a safe name"),
        ("channel = \"stable\"", "channel = \"\"".to_owned(), 3, "not a safe name"),
        (&*log_key, peer_for_log, 15, "is a peer's key, and a publisher's"),
        (&*log_key, mistyped, 15, "key log.example"),
        ("\"log.example/releases\"", "\"unanimity/x\"".to_owned(), 14, "origin"),
        ("\"file:/srv/log\"", "\"file:log\"".to_owned(), 16, "file:/absolute/directory"),
        ("threshold = 2", "threshold = \"2\"".to_owned(), 6, "expected"),
        ("[limits]\n", "[limits]\nsettle = 3600\n".to_owned(), 23, "expected a string"),
        ("[limits]\n", "[limits]\nsettle = \"soon\"\n".to_owned(), 23, ""),
        ("[limits]\n", "[limits]\nsettle = \"-1h\"\n".to_owned(), 23, ""),
        ("[limits]\n", "[limits]\nroll_ttl = \"15\"\n".to_owned(), 23, "unit"),
    ] {
        let error = load_error(&with(&node, piece, &bad), &peers, NODE);
        assert_contains_all(&error, &[&format!("line {line},"), why]);
    }
    let wrong = with(&peers, &address(2), "example.org:4242");
    assert_contains_all(&load_error(&node, &wrong, PEERS), &["line 11,", "not an onion address"]);
    let typo = address(2).replacen('a', "b", 1);
    assert_contains_all(
        &load_error(&node, &with(&peers, &address(2), &typo), PEERS),
        &["line 11,", "mistyped"],
    );
    let wrong = with(&peers, &peer_key("peer-2", 2).to_string(), &log_key);
    assert_contains_all(&load_error(&node, &wrong, PEERS), &["line 12,", "a peer's key is needed"]);
    assert_contains_all(&load_error("[product", &peers, NODE), &["line 1"]);
}

#[test]
fn a_table_or_field_that_is_missing_is_named() {
    for (piece, missing) in
        [("threshold = 2\n", "threshold"), ("origin = \"log.example/releases\"\n", "origin")]
    {
        let error = load_error(&with(&good_node(), piece, ""), &good_peers(), NODE);
        assert_contains_all(&error, &["missing field", missing]);
    }
    let place = scratch_dir();
    let error = unanimity_config::load_client_config(&place.path().join("nothing.toml"), NOW)
        .unwrap_err()
        .to_string();
    assert_contains_all(&error, &["nothing.toml"]);
    fs::write(place.path().join(NODE), good_node()).unwrap();
    let error = unanimity_config::load_client_config(&place.path().join(NODE), NOW)
        .unwrap_err()
        .to_string();
    assert_contains_all(&error, &[PEERS]);
}

#[test]
fn a_log_without_mirrors_is_refused() {
    let node = with(&good_node(), "[\"file:/srv/log\"]", "[]");
    assert_contains_all(
        &load_error(&node, &good_peers(), NODE),
        &["mirrors is empty", "at least one"],
    );
}

#[test]
fn times_that_make_a_check_empty_are_refused() {
    for (limits, why) in [
        ("roll_ttl = \"25h\"", "at most one day"),
        ("view_ttl = \"25h\"", "at most one day"),
        ("max_poll_age = \"25h\"", "at most one day"),
        ("roll_ttl = \"0s\"", "at least one second"),
        ("view_ttl = \"999ms\"", "at least one second"),
        ("ask_timeout = \"0s\"", "at least one second"),
        ("ask_timeout = \"121s\"", "roll_timeout is not shorter than ask_timeout"),
        ("roll_timeout = \"44s\"", "roll_timeout is not shorter than ask_timeout"),
        ("roll_timeout = \"841s\"", "one minute shorter than view_ttl and roll_ttl"),
        ("view_ttl = \"179s\"", "one minute shorter than view_ttl and roll_ttl"),
        ("roll_ttl = \"179s\"", "one minute shorter than view_ttl and roll_ttl"),
        ("roll_timeout = \"500000000000years\"", "one minute shorter than view_ttl and roll_ttl"),
        ("poll_min = \"0s\"", "poll_min"),
        ("poll_min = \"16m\"", "poll_max not smaller"),
        ("poll_max = \"30m\"", "max_poll_age larger"),
        ("max_poll_age = \"15m\"", "max_poll_age larger"),
    ] {
        let node = good_node() + limits + "\n";
        assert_contains_all(&load_error(&node, &good_peers(), NODE), &["[limits]", why]);
    }
    for limits in ["roll_timeout = \"840s\"", "view_ttl = \"3m\"\nroll_ttl = \"3m\""] {
        let (_place, loaded) = load(&(good_node() + limits + "\n"), &good_peers());
        loaded.unwrap();
    }
}

#[test]
fn a_pinned_checkpoint_has_to_be_one_of_the_log() {
    let place = scratch_dir();
    let node = with(&good_node(), "[install]", "pinned = \"pinned\"\n\n[install]");
    fs::write(place.path().join(NODE), &node).unwrap();
    fs::write(place.path().join(PEERS), good_peers()).unwrap();
    let secret = |seed| NoteSigningKey::from_seed("log.example".parse().unwrap(), &[seed; 32]);
    let pin = |origin: &str, seed| {
        let origin = origin.parse().unwrap();
        let checkpoint = Checkpoint { origin, size: 5, root: Hash([5; 32]) };
        fs::write(place.path().join("pinned"), checkpoint.sign(&secret(seed)).to_string()).unwrap();
        unanimity_config::load_client_config(&place.path().join(NODE), NOW)
    };
    let pinned = pin("log.example/releases", 10).unwrap().cycle.pinned.unwrap();
    assert_eq!((pinned.size(), *pinned.root()), (5, Hash([5; 32])));
    let other_log = pin("log.example/other", 10).unwrap_err().to_string();
    assert_contains_all(&other_log, &[NODE, "pinned", "log.example/other", "log.example/releases"]);
    let other_key = pin("log.example/releases", 9).unwrap_err().to_string();
    assert_contains_all(&other_key, &[NODE, "pinned", "not signed"]);
    fs::write(place.path().join("pinned"), "rubbish").unwrap();
    assert_contains_all(
        &unanimity_config::load_client_config(&place.path().join(NODE), NOW)
            .unwrap_err()
            .to_string(),
        &[NODE, "pinned"],
    );
    fs::remove_file(place.path().join("pinned")).unwrap();
    unanimity_config::load_client_config(&place.path().join(NODE), NOW)
        .expect_err("nothing is pinned then");
}

#[test]
fn a_refusal_does_not_repeat_addresses_needlessly() {
    // Errors are pasted into tickets; who one's peers are need not be.
    let twice = good_peers() + &peer("dora", "dora", &address(2), &peer_key("dora", 4));
    let error = load_error(&good_node(), &twice, PEERS);
    assert!(!error.contains(".onion"), "{error}");
}

fn load_node(tables: &str) -> (TempDir, Result<unanimity_config::NodeConfig, ConfigError>) {
    let place = scratch_dir();
    fs::write(place.path().join(NODE), format!("{}{tables}", good_node())).unwrap();
    fs::write(place.path().join(PEERS), good_peers()).unwrap();
    fs::write(place.path().join("network.toml"), "nothing").unwrap();
    let loaded = unanimity_config::load_node_config(&place.path().join(NODE));
    (place, loaded)
}

#[test]
fn taking_part_has_the_documented_defaults() {
    let (_place, node) = load_node("");
    let node = node.unwrap();
    assert_eq!(node.serve, None);
    assert_eq!(node.tor.network, TorNetwork::Public(Bridges::default()));
    assert_eq!(node.tor.state, Path::new("/var/lib/unanimity/tor"));
    assert_eq!(node.alert, AlertSettings::default());
    assert_eq!(node.removal_delay, Duration::from_secs(7 * 24 * 3600));

    let (_place, node) = load_node("[serve]\nname = \"dora\"\n");
    let serve = node.unwrap().serve.unwrap();
    assert_eq!((serve.port, serve.policy), (4242, ServePolicy::Notify));
    assert!(serve.client_auth && !serve.proof_of_work);
    assert_eq!(serve.artifacts, None);
    for (tables, max_bytes, bytes_per_second) in [
        ("[serve.artifacts]\n", 1 << 30, 1 << 20),
        ("[serve.artifacts]\nkeep = \"20KiB\"\nrate = \"3MiB\"\n", 20 << 10, 3 << 20),
    ] {
        let (_place, node) = load_node(&format!("[serve]\nname = \"dora\"\n{tables}"));
        let artifacts = node.unwrap().serve.unwrap().artifacts;
        assert_eq!(artifacts, Some(ServeArtifactsSettings { max_bytes, bytes_per_second }));
    }
}

#[test]
fn what_is_written_of_taking_part_is_taken() {
    let (place, node) = load_node(
        "removal_delay = \"2h\"\n[serve]\nname = \"dora\"\nport = 99\npolicy = \"install\"\nroll_min = \"1s\"\n\
         roll_max = \"2s\"\nrestricted_discovery = false\n\
         [alarm]\ncommand = [\"/bin/tell\", \"me\"]\nincomplete_after = \"1h\"\n\
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
    assert_eq!(node.tor.state, place.path().join("t"));
    assert_eq!(node.tor.cache, place.path().join("c"));

    let (_place, node) = load_node("[tor]\nbridges = [\"one line\"]\noffline = true\n");
    assert_eq!(node.unwrap().tor.network, TorNetwork::Offline, "whatever else is written");
    let (_place, node) = load_node("[tor]\nbridges = [\"one line\"]\n");
    let bridges = Bridges { lines: vec!["one line".to_owned()], transports: Vec::new() };
    assert_eq!(node.unwrap().tor.network, TorNetwork::Public(bridges));
}

#[test]
fn what_makes_no_sense_of_taking_part_is_refused() {
    for (tables, part) in [
        ("[serve]\n", "name"),
        ("[serve]\nname = \"a b\"\n", "name"),
        ("[serve]\nname = \"a+b\"\n", "'+'"),
        ("[serve]\nname = \"a\"\nport = 0\n", "port"),
        ("[serve]\nname = \"a\"\nport = 80\n", "not 80"),
        ("[serve]\nname = \"a\"\n[serve.artifacts]\nkeep = \"0GiB\"\n", "more than nothing"),
        ("[serve]\nname = \"a\"\n[serve.artifacts]\nrate = \"255KiB\"\n", "256KiB"),
        ("[serve]\nname = \"a\"\n[serve.artifacts]\nrate = \"1MB\"\n", "KiB, MiB or GiB"),
        (
            "[serve]\nname = \"a\"\n[serve.artifacts]\nkeep = \"99999999999GiB\"\n",
            "KiB, MiB or GiB",
        ),
        ("[serve]\nname = \"a\"\n[serve.artifacts]\nkeep = \"-1GiB\"\n", "KiB, MiB or GiB"),
        ("[serve]\nname = \"a\"\n[serve.artifacts]\nall = true\n", "all"),
        ("[serve]\nname = \"a\"\npolicy = \"trust\"\n", "policy"),
        ("[serve]\nname = \"a\"\nroll_min = \"0s\"\n", "roll_min"),
        ("[serve]\nname = \"a\"\nroll_min = \"2h\"\nroll_max = \"1h\"\n", "roll_max"),
        ("[serve]\nname = \"a\"\nroll_max = \"25h\"\n", "one day"),
        ("[alarm]\ncommand = \"mail me\"\n", "command"),
        ("[alarm]\ncommand = [\"mail\", \"me\"]\n", "absolute"),
        ("[alarm]\nincomplete_after = \"31days\"\n", "30 days"),
        ("[tor]\nnetwork = \"absent.toml\"\n", "absent.toml"),
        ("[tor]\nnetwork = \"network.toml\"\nbridges = [\"b\"]\n", "bridges"),
        ("[tor]\nsocks = 9050\n", "socks"),
        ("removal_delay = \"59m\"\n", "removal_delay"),
        ("removal_delay = \"9000years\"\n", "removal_delay"),
    ] {
        let (_place, node) = load_node(tables);
        assert_contains_all(&node.expect_err(tables).to_string(), &[part]);
    }
    let (_place, node) = load_node("[serve]\nname = \"a\"\nproof_of_work = true\n");
    let node = node.unwrap();
    node.check_proof_of_work(true).unwrap();
    assert_contains_all(&node.check_proof_of_work(false).unwrap_err().to_string(), &["pow"]);
}
