//! Peers over real Tor: a private network on loopback, real onion services, every node a process.
//!
//! Nothing waits for time to pass: only for something to be seen, within a bound. Whatever a circle's
//! nodes logged is searched for addresses and keys when the circle ends.

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

/// One network for all tests that run at the same time; it ends with the last of them.
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

/// A circle: some peers and a client.
struct TorTestWorld {
    world: OnionWorld,
    peers: Vec<NodeProcess>,
    client: NodeProcess,
    directory: TempDir,
    network: Arc<PrivateTorNetwork>,
}

impl TorTestWorld {
    /// Everybody's files. Nobody runs yet.
    fn prepare(peers: usize) -> TorTestWorld {
        let network = shared_network();
        let directory = tempfile::tempdir().unwrap();
        let circle = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
        let stage = Fixture::create(&directory.path().join("stage"), circle).unwrap();
        let nodes = OnionWorld::create(stage, &network, Path::new(PROGRAM), peers).unwrap();
        let process = |who: &str| {
            let mut process = nodes.process(who);
            // Says more than usual, so that more would be seen that is not to be said.
            process.wrapper = ["env", "UNANIMITY_LOG=info"].map(Into::into).to_vec();
            process
        };
        let peers = PEER_NAMES[..peers].iter().map(|who| process(who)).collect();
        let client = process("client");
        TorTestWorld { world: nodes, peers, client, directory, network }
    }

    /// Everybody at work.
    fn start(peers: usize) -> TorTestWorld {
        let mut circles = TorTestWorld::prepare(peers);
        circles.start_daemons();
        circles
    }

    /// Starts everybody, and waits until the peers can be found.
    fn start_daemons(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.serve().unwrap());
        self.client.serve().unwrap();
        self.peers.iter_mut().for_each(wait_reachable);
    }

    /// Publishes a release, and waits until every peer has seen it.
    fn publish(&mut self, draft: &ReleaseSpec) {
        self.world.fixture.publish_release("log", draft, now()).unwrap();
        self.wait_for_peers_to_see("log");
    }

    /// Waits until every peer has seen what is in a log of the stage.
    fn wait_for_peers_to_see(&mut self, log: &str) {
        let size = self.world.fixture.head_of(log).unwrap().size();
        self.peers.iter_mut().for_each(|peer| wait_for_head(peer, size));
    }

    /// Updates until it no longer waits for `settle`.
    fn update_until_settled(&mut self) -> ProcessResult {
        let mut ended = None;
        let update = |client: &NodeProcess| {
            let said = client.run(&["update"])?;
            let waits = said.report["outcome"] == "settling";
            ended = Some(said);
            Ok(!waits)
        };
        self.client.wait("end of settle", update).unwrap();
        ended.unwrap()
    }

    /// The sequence of what the client has installed.
    fn installed(&self) -> Option<u64> {
        self.world.fixture.installed_version().unwrap().map(|installed| installed.sequence)
    }

    /// Changes the line of a node's configuration that begins so. The node may not be running.
    fn replace_config_line(&self, who: &str, begins: &str, line: &str) {
        let path = self.world.node_directory(who).join("unanimity.toml");
        let text = fs::read_to_string(&path).unwrap();
        let found = text.lines().filter(|line| line.starts_with(begins));
        assert_eq!(found.count(), 1, "{begins:?}: {text}");
        let lines = text.lines().map(|old| if old.starts_with(begins) { line } else { old });
        fs::write(path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

impl Drop for TorTestWorld {
    fn drop(&mut self) {
        // A test that failed has said why.
        if !std::thread::panicking() {
            leaks::assert_no_private_data_logged(&self.world);
        }
    }
}

/// Waits until a node can be found by those it lists.
fn wait_reachable(node: &mut NodeProcess) {
    node.wait_status("published service", |status| status["serving"]["reachable"] == true).unwrap();
}

/// Waits until a node's own mirror has shown it a log of that size.
fn wait_for_head(node: &mut NodeProcess, size: u64) {
    let seen = |status: &Value| {
        status["serving"]["head"]["size"] == size && status["serving"]["fresh"] == true
    };
    node.wait_status("fresh head", seen).unwrap();
}

/// What each peer said in a cycle: the size of its view, or why there is none.
fn peer_answers(report: &Value) -> BTreeMap<String, Result<u64, String>> {
    let peers = report["peers"].as_array().unwrap_or_else(|| panic!("no peers: {report}"));
    let answer = |peer: &Value| {
        let name = peer["name"].as_str().unwrap().to_owned();
        match peer["silent"].as_str() {
            Some(why) => (name, Err(why.to_owned())),
            // A cycle says the size, `peers test` the head.
            None => (name, Ok(peer["size"].as_u64().or(peer["head"]["size"].as_u64()).unwrap())),
        }
    };
    peers.iter().map(answer).collect()
}

/// Asserts that a cycle was incomplete for the sake of one peer, that this is said of that peer and
/// in such words, and that everybody else's answer counted.
fn assert_incomplete_for(ended: &ProcessResult, who: &str, words: &str, size: u64) {
    let ProcessResult { exit_code: exit, report } = ended;
    assert_eq!((*exit, report["outcome"].as_str()), (12, Some("incomplete")), "{report}");
    let message = report["message"].as_str().unwrap();
    assert!(message.contains(who) && !message.contains("fork"), "{message}");
    for (name, answer) in peer_answers(report) {
        match answer {
            Err(why) if name == who => {
                assert!(why.contains(words), "{who} should be {words:?}: {why}");
                assert!(message.contains(&why), "{message}");
            }
            answer => assert!(name != who && answer == Ok(size), "{report}"),
        }
    }
}
