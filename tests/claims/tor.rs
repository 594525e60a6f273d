//! Peers over real Tor: a private network on loopback, real onion services, restricted discovery.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::task::JoinHandle;
use unanimity::demo::tornet::TorNetwork;
use unanimity::demo::{Draft, PEERS, World};
use unanimity::durable::Disk;
use unanimity::net::tor::{OnionListener, Tor, TorNetwork as Settings, TorSettings};
use unanimity::net::{DiscoveryKey, OnionAddress, Transport as _};
use unanimity::update::{Client, Failure, Outcome};
use unanimity::verify::{Refusal, Silence, Timestamp};

const HOUR: Duration = Duration::from_secs(3660);

/// A circle whose peers are onion services of one node, asked by a client that is another.
struct OnionCircle {
    world: World,
    hosts: Tor,
    asker: Tor,
    addresses: Vec<OnionAddress>,
    readers: Vec<BTreeMap<String, DiscoveryKey>>,
    serving: Vec<Option<JoinHandle<()>>>,
}

impl OnionCircle {
    async fn build(network: &TorNetwork) -> OnionCircle {
        let settings = settings(network, "hosts");
        let nickname = |peer: usize| World::peer_name(peer);
        let addresses: Vec<OnionAddress> =
            (0..PEERS).map(|peer| settings.address_of(nickname(peer), 4242).unwrap()).collect();
        let asker = Tor::new(&self::settings(network, "asker")).unwrap();
        let readers = addresses.iter().map(|address| {
            BTreeMap::from([("asker".to_owned(), asker.discovery_key(address).unwrap())])
        });
        let readers: Vec<_> = readers.collect();
        let hosts = Tor::new(&settings).unwrap();
        let mut heard = Vec::new();
        hosts.bootstrap(|part, words| heard.push((part, words))).await.unwrap();
        assert!(heard.last().is_some_and(|(part, _)| *part > 0.9), "{heard:?}");
        asker.bootstrap(|_, _| {}).await.unwrap();
        let mut world =
            World::create(&network.place("world"), 7, Timestamp(1_800_000_000)).unwrap();
        world.config.ask_timeout = Duration::from_secs(20);
        world.config.roll_timeout = Duration::from_secs(40);
        world.config.addresses = (world.circle.peer_secrets.iter())
            .map(|secret| secret.public().raw())
            .zip(addresses.iter().cloned())
            .collect();
        let serving = (0..PEERS).map(|_| None).collect();
        let mut circle = OnionCircle { world, hosts, asker, addresses, readers, serving };
        for peer in 0..PEERS {
            circle.start(peer).await;
        }
        circle
    }

    /// Hosts a peer's service, and waits until it can be reached.
    async fn start(&mut self, peer: usize) {
        let listener = self.listener(peer).await;
        assert_eq!(listener.address(), &self.addresses[peer], "the address survives");
        listener.reachable().await;
        let node = self.world.peer(peer).clone();
        self.serving[peer] = Some(tokio::spawn(node.answer_all(listener)));
    }

    /// A service that was stopped a moment ago may still hold its state.
    async fn listener(&self, peer: usize) -> OnionListener {
        let mut wait = tokio::time::interval(Duration::from_millis(50));
        for _ in 0..400 {
            wait.tick().await;
            let name = World::peer_name(peer);
            if let Ok(listener) = self.hosts.host(name, 4242, &self.readers[peer]) {
                return listener;
            }
        }
        self.hosts.host(World::peer_name(peer), 4242, &self.readers[peer]).unwrap()
    }

    async fn stop(&mut self, peer: usize) {
        let serving = self.serving[peer].take().unwrap();
        serving.abort();
        serving.await.unwrap_err();
    }

    async fn update(&self) -> Result<Outcome, Failure> {
        let (config, clock) = (&self.world.config, &self.world.clock);
        let mut client = Client::open(config, &self.asker, clock, Disk::default()).unwrap();
        client.update(&mut rand::rng()).await.1
    }
}

/// Debian's package of tor, should it be needed, is unpacked beside the build.
fn start() -> TorNetwork {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tor-package");
    TorNetwork::start(&package, |step| eprintln!("{step}")).unwrap()
}

fn settings(network: &TorNetwork, name: &str) -> TorSettings {
    TorSettings {
        state: network.place(&format!("{name}/state")),
        cache: network.place(&format!("{name}/cache")),
        network: Settings::Private(network.arti()),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn five_peers_over_onion_services_confirm_and_one_that_is_stopped_holds_the_update_back() {
    let network = start();
    let runtime = runtime();
    runtime.block_on(async {
        let mut circle = OnionCircle::build(&network).await;
        circle.world.publish(&Draft::new(1, "1.0.0", b"hello over Tor")).unwrap();
        circle.world.poll_all().await.unwrap();
        let waits = circle.update().await;
        assert!(matches!(waits, Err(Failure::Refused(Refusal::Settling { .. }))), "{waits:?}");

        // A stopped peer is silent, by name, and its word is not replaced by the others'.
        circle.world.advance(HOUR);
        circle.world.poll_all().await.unwrap();
        circle.stop(2).await;
        match circle.update().await {
            Err(Failure::Refused(Refusal::Incomplete(missing))) => {
                assert_eq!(missing.len(), 1, "{missing:?}");
                assert_eq!(missing[0].peer.as_str(), World::peer_name(2));
                let silence = missing[0].silence.as_ref().unwrap();
                let unreached =
                    matches!(silence, Silence::Unreachable(_) | Silence::Broke(_) | Silence::Late);
                assert!(unreached, "{silence}");
            }
            other => panic!("{other:?}"),
        }
        assert!(circle.world.installed().unwrap().is_none());

        // At the same address again, it is asked on a new circuit.
        circle.start(2).await;
        let installed = circle.update().await;
        assert!(matches!(installed, Ok(Outcome::Installed(_))), "{installed:?}");

        // Who is not listed cannot even find a service.
        let stranger = Tor::new(&settings(&network, "stranger")).unwrap();
        stranger.bootstrap(|_, _| {}).await.unwrap();
        let error = stranger.dial(&circle.addresses[0]).await.unwrap_err().to_string();
        assert!(error.starts_with("descriptor:"), "{error}");
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

#[test]
fn a_private_network_that_is_not_on_loopback_is_refused_before_anything_starts() {
    let place = tempfile::tempdir().unwrap();
    let settings = |text: String| TorSettings {
        state: place.path().join("state"),
        cache: place.path().join("cache"),
        network: Settings::Private(text),
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
    let runtime = runtime();
    let _inside = runtime.enter();
    assert!(Tor::new(&settings(with("127.0.0.1:9", "127.0.0.1:9"))).is_ok());
    for (relay, authority) in [("192.0.2.1:9", "127.0.0.1:9"), ("127.0.0.1:9", "192.0.2.1:9")] {
        let error = Tor::new(&settings(with(relay, authority))).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1"), "{error}");
    }
    // Without relays or authorities of its own it would be the public network.
    let error = Tor::new(&settings(String::new())).unwrap_err().to_string();
    assert!(error.contains("fallback_caches and authorities"), "{error}");
}
