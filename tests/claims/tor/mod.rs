//! Peers over real Tor: a private network on loopback, real onion services, and one process for
//! each node.
//!
//! The tests wait for events within a bound, never for time to pass. At the end of each test, the
//! logs of its nodes are searched for addresses and keys.

mod book;
mod files;
mod hostile;
mod install;
mod interrupt;
mod leaks;
mod lifecycle;
mod listing;
mod private;
mod socket;
mod stream_load;
mod unasked;
mod web;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tempfile::TempDir;
use unanimity_protocol::Timestamp;
use unanimity_testkit::{Fixture, FixtureKeys, PEER_NAMES, ReleaseSpec};
use unanimity_testkit_tor::{NodeProcess, OnionWorld, PrivateTorNetwork, ProcessResult};

const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");

/// The network of all tests that run at the same time. It ends with the last of them.
fn shared_network() -> Arc<PrivateTorNetwork> {
    static NETWORK: Mutex<Weak<PrivateTorNetwork>> = Mutex::new(Weak::new());
    let mut known = NETWORK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(network) = known.upgrade() {
        return network;
    }
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tor-package");
    let network = Arc::new(PrivateTorNetwork::start(&package, |_| {}).unwrap());
    *known = Arc::downgrade(&network);
    network
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// Some peers and a client on the shared network.
struct TorTestWorld {
    onion: OnionWorld,
    peers: Vec<NodeProcess>,
    client: NodeProcess,
    directory: TempDir,
    network: Arc<PrivateTorNetwork>,
}

impl TorTestWorld {
    /// Creates the files of all nodes, and starts no process.
    fn prepare(peers: usize) -> TorTestWorld {
        let network = shared_network();
        let directory = tempfile::tempdir().unwrap();
        let keys = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
        let fixture = Fixture::create(&directory.path().join("fixture"), keys).unwrap();
        let onion = OnionWorld::create(fixture, &network, Path::new(PROGRAM), peers).unwrap();
        let process = |name: &str| {
            let mut process = onion.process(name);
            // A verbose log, in which the search for addresses and keys would find more.
            process.wrapper = ["env", "UNANIMITY_LOG=info"].map(Into::into).to_vec();
            process
        };
        let peers = PEER_NAMES[..peers].iter().map(|name| process(name)).collect();
        let client = process("client");
        TorTestWorld { onion, peers, client, directory, network }
    }

    /// Prepares a world and starts its daemons.
    fn start(peers: usize) -> TorTestWorld {
        let mut world = TorTestWorld::prepare(peers);
        world.start_daemons();
        world
    }

    /// Starts all daemons, and waits until the peers' onion services are reachable.
    fn start_daemons(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.serve().unwrap());
        self.client.serve().unwrap();
        self.peers.iter_mut().for_each(wait_reachable);
    }

    /// Publishes a release, and waits until every peer has verified it.
    fn publish(&mut self, draft: &ReleaseSpec) {
        self.onion.fixture.publish_release("log", draft, now()).unwrap();
        self.wait_for_peers_to_see("log");
    }

    /// Waits until every peer has verified the head of a log of the fixture.
    fn wait_for_peers_to_see(&mut self, log: &str) {
        let size = self.onion.fixture.head_of(log).unwrap().size();
        self.peers.iter_mut().for_each(|peer| wait_for_head(peer, size));
    }

    /// Updates the client until the outcome is no longer `settling`.
    fn update_until_settled(&mut self) -> ProcessResult {
        let mut result = None;
        let update = |client: &NodeProcess| {
            let update = client.run(&["update"])?;
            let is_settling = update.report["outcome"] == "settling";
            result = Some(update);
            Ok(!is_settling)
        };
        self.client.wait("end of settle", update).unwrap();
        result.unwrap()
    }

    /// The sequence of the client's installed release.
    fn installed(&self) -> Option<u64> {
        self.onion.fixture.installed_version().unwrap().map(|installed| installed.sequence)
    }

    /// Replaces the line of a node's configuration that begins with `begins`. The node must not be
    /// running.
    fn replace_config_line(&self, name: &str, begins: &str, line: &str) {
        let path = self.onion.node_directory(name).join("unanimity.toml");
        let text = fs::read_to_string(&path).unwrap();
        let found = text.lines().filter(|line| line.starts_with(begins));
        assert_eq!(found.count(), 1, "{begins:?}: {text}");
        let lines = text.lines().map(|old| if old.starts_with(begins) { line } else { old });
        fs::write(path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

impl Drop for TorTestWorld {
    fn drop(&mut self) {
        // A failed test has already panicked with its reason.
        if !std::thread::panicking() {
            leaks::assert_no_private_data_logged(&self.onion);
        }
    }
}

/// Waits until the peers that a node lists can find its onion service.
fn wait_reachable(node: &mut NodeProcess) {
    node.wait_status("published service", |status| status["serving"]["reachable"] == true).unwrap();
}

/// Waits until a node has verified a fresh head of that size from its own mirror.
fn wait_for_head(node: &mut NodeProcess, size: u64) {
    let seen = |status: &Value| {
        status["serving"]["head"]["size"] == size && status["serving"]["fresh"] == true
    };
    node.wait_status("fresh head", seen).unwrap();
}

/// The answer of each peer in a report: the size of its cosigned head, or the failure.
fn peer_answers(report: &Value) -> BTreeMap<String, Result<u64, String>> {
    let peers = report["peers"].as_array().unwrap_or_else(|| panic!("no peers: {report}"));
    let answer = |peer: &Value| {
        let name = peer["name"].as_str().unwrap().to_owned();
        match peer["failure"].as_str() {
            Some(why) => (name, Err(why.to_owned())),
            // The report of a cycle has the size, that of `peers test` the head.
            None => (name, Ok(peer["size"].as_u64().or(peer["head"]["size"].as_u64()).unwrap())),
        }
    };
    peers.iter().map(answer).collect()
}

/// Asserts that a cycle was incomplete because of one peer and not because of a fork, and that the
/// answers of all others counted. Returns the failure of that peer.
fn assert_incomplete_for(result: &ProcessResult, peer: &str, size: u64) -> String {
    let ProcessResult { exit_code: exit, report } = result;
    assert_eq!((*exit, report["outcome"].as_str()), (12, Some("incomplete")), "{report}");
    let message = report["message"].as_str().unwrap();
    assert!(!message.contains("fork"), "{message}");
    let mut failure = None;
    for (name, answer) in peer_answers(report) {
        match answer {
            Err(why) if name == peer => {
                assert!(message.contains(peer) && message.contains(&why), "{message}");
                failure = Some(why);
            }
            answer => assert!(name != peer && answer == Ok(size), "{report}"),
        }
    }
    failure.unwrap_or_else(|| panic!("{peer} did not fail: {report}"))
}

/// A failure without the details in parentheses, which arti words.
fn without_details(failure: &str) -> &str {
    failure.split_once(" (").map_or(failure, |(step, _)| step)
}
