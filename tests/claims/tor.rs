//! Peers over real Tor: a private network on loopback, real onion services, every node a process.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::Value;
use tempfile::TempDir;
use unanimity::demo::circle::Circle;
use unanimity::demo::onion::{Ended, Nodes, Process};
use unanimity::demo::tornet::TorNetwork;
use unanimity::demo::{Draft, PEER_NAMES, Stage};
use unanimity::net::network::{TorNetwork as Network, TorSettings};
use unanimity::net::tor::Tor;
use unanimity::verify::Timestamp;

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

/// A circle at work: some peers and a client, all serving.
struct Circles {
    nodes: Nodes,
    peers: Vec<Process>,
    client: Process,
    _directory: TempDir,
    _network: Arc<TorNetwork>,
}

impl Circles {
    fn start(peers: usize) -> Circles {
        let network = network();
        let directory = tempfile::tempdir().unwrap();
        let circle = Circle::draw(&mut StdRng::from_rng(&mut rand::rng()));
        let stage = Stage::create(&directory.path().join("stage"), circle).unwrap();
        let nodes = Nodes::create(stage, &network, Path::new(PROGRAM), peers).unwrap();
        let serve = |who: &str| {
            let mut node = nodes.process(who);
            node.serve().unwrap();
            node
        };
        let peers = PEER_NAMES[..peers].iter().map(|who| serve(who)).collect();
        let client = serve("client");
        let mut circles =
            Circles { nodes, peers, client, _directory: directory, _network: network };
        for peer in &mut circles.peers {
            reachable(peer);
        }
        circles
    }

    fn publish(&mut self, draft: &Draft) {
        self.nodes.stage.release("log", draft, now()).unwrap();
        let head = self.nodes.stage.head_of("log").unwrap();
        for peer in &mut self.peers {
            peer.wait_status("fresh head", |status| {
                status["serving"]["head"]["size"] == head.size()
                    && status["serving"]["fresh"] == true
            })
            .unwrap();
        }
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
}

fn reachable(node: &mut Process) {
    node.wait_status("published service", |status| status["serving"]["reachable"] == true).unwrap();
}

#[test]
fn peers_that_are_processes_of_their_own_confirm_and_one_that_is_stopped_holds_the_update_back() {
    let mut circles = Circles::start(3);
    circles.publish(&Draft::new(1, "1.0.0", b"hello over Tor"));
    let ended = circles.update();
    assert_eq!(ended.exit, 0, "{}", ended.report);
    assert_eq!(circles.nodes.stage.installed().unwrap().unwrap().sequence, 1);

    circles.publish(&Draft::new(2, "1.1.0", b"hello again"));
    circles.peers[1].stop().unwrap();
    let ended = circles.update();
    assert_eq!(ended.report["outcome"], "incomplete", "{}", ended.report);
    assert_eq!(circles.nodes.stage.installed().unwrap().unwrap().sequence, 1);
    let silent = |report: &Value| {
        let peers = report["peers"].as_array().unwrap().clone();
        let silent = peers.into_iter().filter(|peer| !peer["silent"].is_null());
        silent.map(|peer| peer["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(silent(&ended.report), ["bela"], "{}", ended.report);

    circles.peers[1].serve().unwrap();
    reachable(&mut circles.peers[1]);
    let ended = circles.update();
    assert_eq!(ended.exit, 0, "{}", ended.report);
    assert_eq!(circles.nodes.stage.installed().unwrap().unwrap().sequence, 2);
}

#[test]
fn a_private_network_that_is_not_on_loopback_is_refused_before_anything_starts() {
    let place = tempfile::tempdir().unwrap();
    let settings = |text: String| TorSettings {
        state: place.path().join("state"),
        cache: place.path().join("cache"),
        network: Network::Private(text),
    };
    let id = "A".repeat(40);
    let ed = "hReuzbHS+PIPnKq6y6WtjWMM5xMVKuMtS0PbOWvKhFM";
    let with = |relay: &str, authority: &str| {
        format!(
            "[tor_network]\nfallback_caches = [{{ rsa_identity = \"{id}\", ed_identity = \"{ed}\", orports = [\"{relay}\"] }}]\n\
             [tor_network.authorities]\nv3idents = [\"{id}\"]\n\
             uploads = [[\"{authority}\"]]\ndownloads = [[\"{authority}\"]]\nvotes = [[\"{authority}\"]]\n"
        )
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    assert!(Tor::new(&settings(with("127.0.0.1:9", "127.0.0.1:9")), None).is_ok());
    for (relay, authority) in [("192.0.2.1:9", "127.0.0.1:9"), ("127.0.0.1:9", "192.0.2.1:9")] {
        let error = Tor::new(&settings(with(relay, authority)), None).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1"), "{error}");
    }
    // Without relays or authorities of its own it would be the public network.
    let error = Tor::new(&settings(String::new()), None).unwrap_err().to_string();
    assert!(error.contains("fallback_caches and authorities"), "{error}");
}
