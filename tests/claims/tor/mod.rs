//! Peers over real Tor: a private network on loopback, real onion services, every node a process.
//!
//! Nothing waits for time to pass: only for something to be seen, within a bound. Whatever a circle's
//! nodes logged is searched for addresses and keys when the circle ends.

mod crowd;
mod files;
mod hostile;
mod install;
mod interrupt;
mod leaks;
mod lifecycle;
mod listing;
mod private;
mod socket;
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
use unanimity_testkit::{Circle, Draft, PEER_NAMES, Stage};
use unanimity_testkit_tor::{Ended, Nodes, Process, TorNetwork};

const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");

/// One network for all tests that run at the same time; it ends with the last of them.
fn network() -> Arc<TorNetwork> {
    static NETWORK: Mutex<Weak<TorNetwork>> = Mutex::new(Weak::new());
    let mut known = NETWORK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(network) = known.upgrade() {
        return network;
    }
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tor-package");
    let network = Arc::new(TorNetwork::start(&package, |_| {}).unwrap());
    *known = Arc::downgrade(&network);
    network
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs())
}

/// A circle: some peers and a client.
struct Circles {
    nodes: Nodes,
    peers: Vec<Process>,
    client: Process,
    directory: TempDir,
    network: Arc<TorNetwork>,
}

impl Circles {
    /// Everybody's files. Nobody runs yet.
    fn prepare(peers: usize) -> Circles {
        let network = network();
        let directory = tempfile::tempdir().unwrap();
        let circle = Circle::draw(&mut StdRng::from_rng(&mut rand::rng()));
        let stage = Stage::create(&directory.path().join("stage"), circle).unwrap();
        let nodes = Nodes::create(stage, &network, Path::new(PROGRAM), peers).unwrap();
        let process = |who: &str| {
            let mut process = nodes.process(who);
            // Says more than usual, so that more would be seen that is not to be said.
            process.through = ["env", "UNANIMITY_LOG=info"].map(Into::into).to_vec();
            process
        };
        let peers = PEER_NAMES[..peers].iter().map(|who| process(who)).collect();
        let client = process("client");
        Circles { nodes, peers, client, directory, network }
    }

    /// Everybody at work.
    fn start(peers: usize) -> Circles {
        let mut circles = Circles::prepare(peers);
        circles.serve();
        circles
    }

    /// Starts everybody, and waits until the peers can be found.
    fn serve(&mut self) {
        self.peers.iter_mut().for_each(|peer| peer.serve().unwrap());
        self.client.serve().unwrap();
        self.peers.iter_mut().for_each(reachable);
    }

    /// Publishes a release, and waits until every peer has seen it.
    fn publish(&mut self, draft: &Draft) {
        self.nodes.stage.release("log", draft, now()).unwrap();
        self.everybody_sees("log");
    }

    /// Waits until every peer has seen what is in a log of the stage.
    fn everybody_sees(&mut self, log: &str) {
        let size = self.nodes.stage.head_of(log).unwrap().size();
        self.peers.iter_mut().for_each(|peer| sees(peer, size));
    }

    /// Updates until it no longer waits for `settle`.
    fn update(&mut self) -> Ended {
        let mut ended = None;
        let update = |client: &Process| {
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
        self.nodes.stage.installed().unwrap().map(|installed| installed.sequence)
    }

    /// Changes the line of a node's configuration that begins so. The node may not be running.
    fn retell(&self, who: &str, begins: &str, line: &str) {
        let path = self.nodes.place(who).join("unanimity.toml");
        let text = fs::read_to_string(&path).unwrap();
        let found = text.lines().filter(|line| line.starts_with(begins));
        assert_eq!(found.count(), 1, "{begins:?}: {text}");
        let lines = text.lines().map(|old| if old.starts_with(begins) { line } else { old });
        fs::write(path, lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    }
}

impl Drop for Circles {
    fn drop(&mut self) {
        // A test that failed has said why.
        if !std::thread::panicking() {
            leaks::nothing_private_was_logged(&self.nodes);
        }
    }
}

/// Waits until a node can be found by those it lists.
fn reachable(node: &mut Process) {
    node.wait_status("published service", |status| status["serving"]["reachable"] == true).unwrap();
}

/// Waits until a node's own mirror has shown it a log of that size.
fn sees(node: &mut Process, size: u64) {
    let seen = |status: &Value| {
        status["serving"]["head"]["size"] == size && status["serving"]["fresh"] == true
    };
    node.wait_status("fresh head", seen).unwrap();
}

/// What each peer said in a cycle: the size of its view, or why there is none.
fn answers(report: &Value) -> BTreeMap<String, Result<u64, String>> {
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
fn incomplete_for(ended: &Ended, who: &str, words: &str, size: u64) {
    let Ended { exit, report } = ended;
    assert_eq!((*exit, report["outcome"].as_str()), (12, Some("incomplete")), "{report}");
    let message = report["message"].as_str().unwrap();
    assert!(message.contains(who) && !message.contains("fork"), "{message}");
    for (name, answer) in answers(report) {
        match answer {
            Err(why) if name == who => {
                assert!(why.contains(words), "{who} should be {words:?}: {why}");
                assert!(message.contains(&why), "{message}");
            }
            answer => assert!(name != who && answer == Ok(size), "{report}"),
        }
    }
}
