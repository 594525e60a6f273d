//! Many streams at once to one peer.

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

/// How many streams there are at once, and on how many connections to Tor.
const STREAMS: usize = 200;
const CONNECTIONS: usize = 4;
/// How many of them may be on their way at any moment.
const MAX_DIALING: usize = 32;
/// Within which all of them have been taken or refused.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// What became of the streams.
#[derive(Default)]
struct StreamLoad {
    tried: AtomicUsize,
    opened: AtomicUsize,
    answered: AtomicUsize,
    open: AtomicUsize,
    /// The most that were open at once.
    peak: AtomicUsize,
}

impl StreamLoad {
    /// Opens a stream, asks or does not, and holds it until the peer ends it.
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
fn two_hundred_streams_of_one_client_are_bounded_and_another_client_is_served_meanwhile() {
    let mut circles = TorTestWorld::prepare(3);
    // Dario is listed by alice, and is not a node here: only keys in the wrong hands.
    let dario = circles.world.node_directory("dario");
    circles.world.configure("dario", 1).unwrap();
    let ticket = circles.world.process("dario").run_json(&["peers", "invite"]).unwrap();
    let ticket: Invite = ticket["ticket"].as_str().unwrap().parse().unwrap();
    let log = circles.world.fixture.keys.log.clone();
    let alice = circles.world.node_directory("alice").join("peers.toml");
    edit::add(&alice, &ticket.to_peer_entry(&log).unwrap(), &Storage::default()).unwrap();
    // One try, and time for it.
    circles.replace_config_line("client", "ask_timeout", "ask_timeout = \"100s\"");
    circles.replace_config_line("client", "roll_timeout", "roll_timeout = \"100s\"");
    circles.start_daemons();
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));

    let told = unanimity_config::load_node_config(
        &circles.world.node_directory("client").join("unanimity.toml"),
    )
    .unwrap();
    let address = told.peers.find(&"alice".parse().unwrap()).unwrap().address.clone();
    let discovery = Identity::read(&dario.join("state")).unwrap().unwrap().client_auth;
    let question = unanimity_net::message::Question::CosignedHead(log.id());
    let runtime = Runtime::new().unwrap();
    let crowd = Arc::new(StreamLoad::default());
    let mut connections = Vec::new();
    for connection in 0..CONNECTIONS {
        let place = dario.join(format!("connection-{connection}"));
        let settings = TorSettings {
            state: place.join("state"),
            cache: place.join("cache"),
            network: told.tor.network.clone(),
        };
        let tor = runtime.block_on(async {
            let tor = TorClient::new(&settings, Some(discovery.clone())).unwrap();
            tor.bootstrap(|_, _| {}).await.unwrap();
            // It knows the way.
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
            let (crowd, tor, address) = (crowd.clone(), tor.clone(), address.clone());
            runtime.spawn(async move {
                crowd.open_stream(&tor, &address, (member % 2 == 0).then_some(&question)).await;
            });
        }
    }
    runtime.block_on(crowd.wait("many", |crowd| crowd.open.load(Ordering::Relaxed) >= 32));
    println!("after {:?}: {crowd:?}", began.elapsed());
    let asked = Instant::now();
    let tested = circles.client.run(&["peers", "test"]).unwrap();
    println!("the other client had its answers after {:?}: {crowd:?}", asked.elapsed());
    assert_eq!(peer_answers(&tested.report)["alice"], Ok(1), "{}", tested.report);
    let wait = crowd.wait("tried", |crowd| crowd.tried.load(Ordering::Relaxed) == STREAMS);
    runtime.block_on(wait);
    println!("after {:?}: {crowd:?}", began.elapsed());
    assert!(crowd.opened.load(Ordering::Relaxed) > MAX_STREAMS, "{crowd:?}");
    // Of some it is not known here yet that the peer has ended them.
    let peak = crowd.peak.load(Ordering::Relaxed);
    assert!(peak <= MAX_STREAMS + MAX_DIALING, "{crowd:?}");
    runtime.shutdown_timeout(Duration::from_secs(10));

    let ended = circles.update_until_settled();
    assert_eq!((ended.exit_code, circles.installed()), (0, Some(1)), "{}", ended.report);
}
