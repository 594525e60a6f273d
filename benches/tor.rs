//! Asking peers over a private Tor network on loopback, each figure beside what it contains.
//!
//! - *Ask to verdict*: one cycle of a client that has everything but the answers, for 1, 3, 5 and 9
//!   peers, against the slowest of the same peers asked alone, and against all of them asked at once
//!   and nothing else. Cold: no circuit is open, no descriptor known. Warm: the circuits of the roll
//!   before are used again. What asking at once costs above asking alone is this machine's: two
//!   cores that also carry six relays and the peers.
//! - *A warm question* on an open onion stream, against an echo of as many bytes on another.
//! - *Resident memory* of a `serve` that has nothing to do.
//!
//! The relays and the peers' services share this machine's cores with the client. Bounded: about
//! five minutes, and at most 9 circuits at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use unanimity_client::{Client, ask_once};
use unanimity_config::tor_settings::{TorNetwork as Network, TorSettings};
use unanimity_config::{
    ClientAuthSecret, ClientConfig, CycleSettings, OnionAddress, PollingSettings,
};
use unanimity_net::message::Question;
use unanimity_net::{Listener as _, Mirror, Transport as _};
use unanimity_protocol::{CosignatureSigningKey, Log, Peer, PeerSet, Timestamp};
use unanimity_storage::{Storage, SystemClock};
use unanimity_testkit::{Fixture, FixtureKeys, ReleaseSpec, World};
use unanimity_testkit_tor::{OnionWorld, PrivateTorNetwork};
use unanimity_tor::{AuthorizedClients, ServiceSettings, TorClient, TorStream};
use unanimity_witness::{Witness, WitnessConfig};

type BenchError = Box<dyn Error + Send + Sync>;

const MAX_PEERS: usize = 9;
const COLD_RUNS: usize = 3;
const WARM_RUNS: usize = 10;
const QUESTIONS: usize = 12;

fn main() -> Result<(), BenchError> {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tor-package");
    let network = PrivateTorNetwork::start(&package, |words| eprintln!("{words}"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(&network))?;
    runtime.shutdown_timeout(Duration::from_secs(5));
    measure_memory(&network)
}

/// A host of nine peers and of an echo, and who may ask them.
struct BenchNetwork {
    network: String,
    directory: PathBuf,
    client_auth: ClientAuthSecret,
    peers: Vec<(CosignatureSigningKey, OnionAddress)>,
    echo: OnionAddress,
    world: World,
    _host: TorClient,
}

impl BenchNetwork {
    async fn build(network: &PrivateTorNetwork) -> Result<BenchNetwork, BenchError> {
        let place = network.scratch_path("bench");
        let world = World::create(&place.join("world"), 7, Timestamp(1_700_000_000))?;
        world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"))?;
        let discovery = ClientAuthSecret::from_seed(rand::random());
        let mut scene = BenchNetwork {
            network: network.arti_config(),
            client_auth: discovery,
            peers: Vec::new(),
            echo: OnionAddress { key: [0; 32], port: 4242 },
            _host: TorClient::new(&settings(&network.arti_config(), &place.join("host")), None)?,
            directory: place,
            world,
        };
        scene._host.bootstrap(|_, _| {}).await?;
        let readers = AuthorizedClients::Listed(BTreeSet::from([scene.client_auth.public()]));
        for i in 0..=MAX_PEERS {
            let hosting =
                ServiceSettings { nickname: format!("n{i}"), port: 4242, proof_of_work: false };
            let mut listener = scene._host.launch_service(&hosting, &readers)?;
            let address = listener.address().clone();
            listener.service().wait_until_reachable().await;
            if i == MAX_PEERS {
                scene.echo = address;
                tokio::spawn(async move {
                    while let Ok(mut stream) = listener.accept().await {
                        tokio::spawn(async move { echo(&mut stream).await.ok() });
                    }
                });
                continue;
            }
            let secret =
                CosignatureSigningKey::from_seed(format!("peer-{i}").parse()?, &rand::random());
            let follow = WitnessConfig {
                log: scene.log().clone(),
                signing_key: secret.clone(),
                mirrors: vec![Mirror::from_directory(scene.world.log_directory())],
                polling: PollingSettings::default(),
            };
            let state = scene.directory.join(format!("peer-{i}"));
            let peer = Arc::new(Witness::open(follow, &state, Storage::default(), SystemClock)?);
            peer.poll(&mut rand::rng()).await?;
            tokio::spawn(peer.serve_connections(listener));
            scene.peers.push((secret, address));
        }
        Ok(scene)
    }

    fn log(&self) -> &Log {
        &self.world.keys.log
    }

    /// A client of Tor that knows nothing yet but what the network looks like.
    async fn new_client(&self) -> Result<TorClient, BenchError> {
        let place = self.directory.join(format!("asker-{:x}", rand::random::<u64>()));
        let tor = TorClient::new(&settings(&self.network, &place), Some(self.client_auth.clone()))?;
        tor.bootstrap(|_, _| {}).await?;
        Ok(tor)
    }

    fn config(&self, peers: usize) -> Result<ClientConfig, BenchError> {
        let mut set = Vec::new();
        let mut addresses = BTreeMap::new();
        for (secret, address) in &self.peers[..peers] {
            let key = secret.public();
            let name: unanimity_protocol::Name = key.name().as_str().parse()?;
            addresses.insert(key.raw(), address.clone());
            set.push(Peer { name: name.clone(), operator: name, key });
        }
        let state = self.directory.join(format!("client-{:x}", rand::random::<u64>()));
        let cycle = CycleSettings {
            ask_timeout: Duration::from_secs(45),
            round_timeout: Duration::from_secs(120),
            install_root: state.join("root"),
            state: state.join("state"),
            ..self.world.config.cycle.clone()
        };
        let peers = PeerSet::new(set, 1)?;
        Ok(ClientConfig { peers, addresses, cycle, ..self.world.config.clone() })
    }

    /// One cycle of a client; every peer has to have answered.
    async fn run_cycle(
        &self,
        tor: &TorClient,
        config: &ClientConfig,
    ) -> Result<Duration, BenchError> {
        let began = Instant::now();
        let mirrors = [Mirror::from_directory(self.world.log_directory())];
        let mut client = Client::open(config, &mirrors, tor, &SystemClock, Storage::default())?;
        let (report, _) = client.check(&mut StdRng::from_rng(&mut rand::rng())).await;
        let took = began.elapsed();
        match report.peers.iter().find(|(_, answer)| answer.is_err()) {
            None => Ok(took),
            Some((name, answer)) => Err(format!("{name}: {answer:?}").into()),
        }
    }

    /// All of the first `peers` at once: their answers, verified, and nothing else.
    async fn ask_all(&self, tor: &TorClient, peers: usize) -> Result<Duration, BenchError> {
        let began = Instant::now();
        try_join_all((0..peers).map(|peer| self.ask_one(tor, peer))).await?;
        Ok(began.elapsed())
    }

    async fn ask_one(&self, tor: &TorClient, peer: usize) -> Result<Duration, BenchError> {
        let (secret, address) = &self.peers[peer];
        let began = Instant::now();
        ask_once(tor, address, self.log(), &secret.public()).await?;
        Ok(began.elapsed())
    }
}

fn settings(network: &str, place: &Path) -> TorSettings {
    TorSettings {
        state: place.join("state"),
        cache: place.join("cache"),
        network: Network::Private(network.to_owned()),
    }
}

/// Answers frames of four bytes of length: how long the answer shall be, and then as many bytes as
/// the length says. No parsing, no signature.
async fn echo(stream: &mut TorStream) -> std::io::Result<()> {
    loop {
        let (length, answer) = (stream.read_u32().await?, stream.read_u32().await?);
        let mut bytes = vec![0; length.min(1 << 16) as usize];
        stream.read_exact(&mut bytes).await?;
        stream.write_all(&vec![0; answer.min(1 << 16) as usize]).await?;
        stream.flush().await?;
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

async fn measure(network: &PrivateTorNetwork) -> Result<(), BenchError> {
    let scene = BenchNetwork::build(network).await?;
    println!("ask to verdict, medians in ms (cold {COLD_RUNS} times, warm {WARM_RUNS} times)");
    println!(
        "{:>6} {:>6} {:>8} {:>9} {:>6} {:>14} {:>6}",
        "", "peers", "verdict", "at once", "ratio", "slowest alone", "ratio"
    );
    for peers in [1, 3, 5, 9] {
        let mut times = Times::default();
        for _ in 0..COLD_RUNS {
            let config = scene.config(peers)?;
            times.verdict.push(scene.run_cycle(&scene.new_client().await?, &config).await?);
            times.at_once.push(scene.ask_all(&scene.new_client().await?, peers).await?);
            let mut slowest = Duration::ZERO;
            for peer in 0..peers {
                slowest = slowest.max(scene.ask_one(&scene.new_client().await?, peer).await?);
            }
            times.alone.push(slowest);
        }
        times.row("cold", peers);
        let (tor, config) = (scene.new_client().await?, scene.config(peers)?);
        scene.run_cycle(&tor, &config).await?;
        let mut times = Times::default();
        for _ in 0..WARM_RUNS {
            times.verdict.push(scene.run_cycle(&tor, &config).await?);
            times.at_once.push(scene.ask_all(&tor, peers).await?);
            let mut slowest = Duration::ZERO;
            for peer in 0..peers {
                slowest = slowest.max(scene.ask_one(&tor, peer).await?);
            }
            times.alone.push(slowest);
        }
        times.row("warm", peers);
    }
    measure_question(&scene).await
}

/// How long the same question took, asked in three ways.
#[derive(Default)]
struct Times {
    verdict: Vec<Duration>,
    at_once: Vec<Duration>,
    alone: Vec<Duration>,
}

impl Times {
    fn row(self, what: &str, peers: usize) {
        let [verdict, at_once, alone] =
            [self.verdict, self.at_once, self.alone].map(|times| millis(median(times)));
        println!(
            "{what:>6} {peers:>6} {verdict:>8.1} {at_once:>9.1} {:>6.2} {alone:>14.1} {:>6.2}",
            verdict / at_once,
            verdict / alone
        );
    }
}

/// Turn by turn, so that whatever else the machine does is shared; and on new circuits for each peer,
/// since one circuit may be twice as slow as another.
async fn measure_question(scene: &BenchNetwork) -> Result<(), BenchError> {
    let question = Question::CosignedHead(scene.log().id());
    let (length, answer) = (
        unanimity_net::message::QUESTION_BYTES as u32,
        unanimity_net::message::ANSWER_BYTES as u32,
    );
    let (mut asked, mut echoed) = (Vec::new(), Vec::new());
    for (_, address) in &scene.peers {
        let tor = scene.new_client().await?;
        let (mut peer, mut echo) = (tor.dial(address).await?, tor.dial(&scene.echo).await?);
        compare_to_echo(&question, &mut peer, &mut echo, &mut asked, &mut echoed).await?;
    }
    let (asked, echoed) = (millis(median(asked)), millis(median(echoed)));
    println!(
        "\na warm question ({length} bytes, answered by {answer}) {asked:.2} ms, an echo of as many {echoed:.2} ms: {:.2}",
        asked / echoed
    );
    Ok(())
}

async fn compare_to_echo(
    question: &Question,
    peer: &mut TorStream,
    echo: &mut TorStream,
    asked: &mut Vec<Duration>,
    echoed: &mut Vec<Duration>,
) -> Result<(), BenchError> {
    let (length, answer) = (
        unanimity_net::message::QUESTION_BYTES as u32,
        unanimity_net::message::ANSWER_BYTES as u32,
    );
    for _ in 0..QUESTIONS {
        let began = Instant::now();
        unanimity_net::message::exchange(peer, question).await?;
        asked.push(began.elapsed());
        let began = Instant::now();
        // Its first eight bytes say how long both are, so the rest is that much shorter.
        let mut bytes = vec![0; length as usize];
        bytes[..4].copy_from_slice(&(length - 8).to_be_bytes());
        bytes[4..8].copy_from_slice(&answer.to_be_bytes());
        echo.write_all(&bytes).await?;
        echo.flush().await?;
        echo.read_exact(&mut vec![0; answer as usize]).await?;
        echoed.push(began.elapsed());
    }
    Ok(())
}

/// The resident memory of a node that serves, with three peers that it keeps warm.
fn measure_memory(network: &PrivateTorNetwork) -> Result<(), BenchError> {
    let circle = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
    let stage = Fixture::create(&network.scratch_path("idle"), circle)?;
    stage.publish_release(
        "log",
        &ReleaseSpec::new(1, "1.0.0", b"hello"),
        Timestamp(1_700_000_000),
    )?;
    let program = Path::new(env!("CARGO_BIN_EXE_unanimity"));
    let nodes = OnionWorld::create(stage, network, program, 3)?;
    let mut peers = Vec::new();
    for who in ["alice", "bela", "carol", "client"] {
        let mut node = nodes.process(who);
        node.serve()?;
        node.wait_status("published service", |status| status["serving"]["reachable"] == true)?;
        peers.push(node);
    }
    let client = peers.last().ok_or("no client")?;
    client.run(&["check"])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.id().ok_or("ended")?))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    println!(
        "\nresident memory of an idle `serve` after one roll: {}",
        resident.unwrap_or("?").trim()
    );
    Ok(())
}
