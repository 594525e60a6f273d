//! Many simultaneous streams to one peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;
use tokio::time::{sleep, timeout};
use unanimity_config::peers::edit;
use unanimity_config::tor_settings::TorSettings;
use unanimity_config::{Invite, OnionAddress};
use unanimity_net::Transport as _;
use unanimity_state::Identity;
use unanimity_storage::Storage;
use unanimity_testkit::ReleaseSpec;
use unanimity_tor::TorClient;
use unanimity_witness::MAX_STREAMS;

use super::{TorTestWorld, peer_answers};

/// The number of simultaneous streams.
const STREAMS: usize = 200;
/// The number of Tor clients that open the streams.
const CONNECTIONS: usize = 4;
/// The most streams that may be opening at one moment.
const MAX_DIALING: usize = 32;
/// The time within which all streams must have been accepted or refused.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// Counters of the streams' results.
#[derive(Default)]
struct StreamLoad {
    tried: AtomicUsize,
    opened: AtomicUsize,
    answered: AtomicUsize,
    open: AtomicUsize,
    /// The most streams that were open at once.
    peak: AtomicUsize,
}

impl StreamLoad {
    /// Opens a stream, sends the question if there is one, and holds the stream until the peer ends
    /// it.
    async fn open_stream(
        &self,
        tor: &TorClient,
        address: &OnionAddress,
        asks: Option<&unanimity_net::message::Question>,
    ) {
        let dialled = timeout(LOAD_TIMEOUT, tor.dial(address)).await;
        self.tried.fetch_add(1, Ordering::Relaxed);
        let Ok(Ok(mut stream)) = dialled else { return };
        self.opened.fetch_add(1, Ordering::Relaxed);
        let open = 1 + self.open.fetch_add(1, Ordering::Relaxed);
        self.peak.fetch_max(open, Ordering::Relaxed);
        if let Some(question) = asks
            && unanimity_net::message::exchange(&mut stream, question).await.is_ok()
        {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        while stream.read(&mut [0]).await.is_ok_and(|read| read > 0) {}
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    async fn wait(&self, what: &str, is: impl Fn(&StreamLoad) -> bool) {
        let began = Instant::now();
        while !is(self) {
            assert!(began.elapsed() < LOAD_TIMEOUT, "not {what}: {self:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl std::fmt::Debug for StreamLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let StreamLoad { tried, opened, answered, open, peak } = self;
        write!(
            f,
            "{tried:?} tried, {opened:?} opened, {answered:?} answered, {open:?} open, {peak:?} at most"
        )
    }
}

#[test]
fn a_peer_bounds_the_streams_of_a_client_and_serves_another_meanwhile() {
    let mut world = TorTestWorld::prepare(3);
    // Alice lists dario. Dario is no node here: an attacker has his keys.
    let dario = world.onion.node_directory("dario");
    world.onion.configure("dario", 1).unwrap();
    let invite = world.onion.process("dario").run_json(&["peers", "invite"]).unwrap();
    let invite: Invite = invite["invite"].as_str().unwrap().parse().unwrap();
    let log = world.onion.fixture.keys.log.clone();
    let alice = world.onion.node_directory("alice").join("peers.toml");
    edit::add(&alice, &invite.to_peer_entry(&log).unwrap(), &Storage::default()).unwrap();
    // The client makes one try, with enough time for it.
    world.replace_config_line("client", "ask_timeout", "ask_timeout = \"100s\"");
    world.replace_config_line("client", "round_timeout", "round_timeout = \"100s\"");
    world.start_daemons();
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));

    let config = unanimity_config::load_node_config(
        &world.onion.node_directory("client").join("unanimity.toml"),
    )
    .unwrap();
    let address = config.peers.find(&"alice".parse().unwrap()).unwrap().address.clone();
    let client_auth = Identity::read(&dario.join("state")).unwrap().unwrap().client_auth;
    let question = unanimity_net::message::Question::CosignedHead(log.id());
    let runtime = Runtime::new().unwrap();
    let load = Arc::new(StreamLoad::default());
    let mut connections = Vec::new();
    for connection in 0..CONNECTIONS {
        let directory = dario.join(format!("connection-{connection}"));
        let settings = TorSettings {
            state: directory.join("state"),
            cache: directory.join("cache"),
            network: config.tor.network.clone(),
        };
        let tor = runtime.block_on(async {
            let tor = TorClient::new(&settings, Some(client_auth.clone())).unwrap();
            tor.bootstrap(|_, _| {}).await.unwrap();
            // From now on, the client has the service's descriptor.
            let began = Instant::now();
            while let Err(error) = tor.dial(&address).await {
                assert!(began.elapsed() < LOAD_TIMEOUT, "{error}");
            }
            tor
        });
        connections.push(tor);
    }
    let began = Instant::now();
    for tor in connections {
        for member in 0..STREAMS / CONNECTIONS {
            let (load, tor, address) = (load.clone(), tor.clone(), address.clone());
            runtime.spawn(async move {
                load.open_stream(&tor, &address, (member % 2 == 0).then_some(&question)).await;
            });
        }
    }
    runtime.block_on(load.wait("many", |load| load.open.load(Ordering::Relaxed) >= 32));
    println!("after {:?}: {load:?}", began.elapsed());
    let asked = Instant::now();
    let tested = world.client.run(&["peers", "test"]).unwrap();
    println!("the other client had its answers after {:?}: {load:?}", asked.elapsed());
    assert_eq!(peer_answers(&tested.report)["alice"], Ok(1), "{}", tested.report);
    let wait = load.wait("tried", |load| load.tried.load(Ordering::Relaxed) == STREAMS);
    runtime.block_on(wait);
    println!("after {:?}: {load:?}", began.elapsed());
    assert!(load.opened.load(Ordering::Relaxed) > MAX_STREAMS, "{load:?}");
    // The peer has ended some streams whose end has not arrived here yet.
    let peak = load.peak.load(Ordering::Relaxed);
    assert!(peak <= MAX_STREAMS + MAX_DIALING, "{load:?}");
    runtime.shutdown_timeout(Duration::from_secs(10));

    let result = world.update_until_settled();
    assert_eq!((result.exit_code, world.installed()), (0, Some(1)), "{}", result.report);
}
