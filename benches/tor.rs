//! Benchmark of asking peers over a private Tor network on loopback.
//!
//! Each figure is compared with the bare work that it contains:
//!
//! - *Ask to verdict*: one cycle of a client that lacks only the answers, for 1, 3, 5 and 9 peers.
//!   It is compared with the slowest of these peers asked alone, and with asking all of them at
//!   once. Cold: no circuit is open, and no descriptor is known. Warm: the circuits of the last
//!   round are used again. Asking at once takes longer than asking alone, because this machine's
//!   two cores also run six relays and the peers.
//! - *A warm question* on an open onion stream, compared with an echo of as many bytes on another
//!   onion stream.
//! - *Resident memory* of an idle `serve`.
//!
//! The relays and the peers' services share this machine's cores with the client. The benchmark
//! takes about five minutes, and has at most 9 circuits open at a time.

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

/// A Tor host with nine peers and an echo service, and the authorization key with which clients
/// find their services.
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
        let scratch = network.scratch_path("bench");
        let world = World::create(&scratch.join("world"), 7, Timestamp(1_700_000_000))?;
        world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"))?;
        let mut bench = BenchNetwork {
            network: network.arti_config(),
            client_auth: ClientAuthSecret::from_seed(rand::random()),
            peers: Vec::new(),
            echo: OnionAddress { key: [0; 32], port: 4242 },
            _host: TorClient::new(&settings(&network.arti_config(), &scratch.join("host")), None)?,
            directory: scratch,
            world,
        };
        bench._host.bootstrap(|_, _| {}).await?;
        let clients = AuthorizedClients::Listed(BTreeSet::from([bench.client_auth.public()]));
        for i in 0..=MAX_PEERS {
            let service =
                ServiceSettings { nickname: format!("n{i}"), port: 4242, proof_of_work: false };
            let mut listener = bench._host.launch_service(&service, &clients)?;
            let address = listener.address().clone();
            listener.service().wait_until_reachable().await;
            if i == MAX_PEERS {
                bench.echo = address;
                tokio::spawn(async move {
                    while let Ok(mut stream) = listener.accept().await {
                        tokio::spawn(async move { echo(&mut stream).await.ok() });
                    }
                });
                continue;
            }
            let key =
                CosignatureSigningKey::from_seed(format!("peer-{i}").parse()?, &rand::random());
            let witness_config = WitnessConfig {
                log: bench.log().clone(),
                signing_key: key.clone(),
                mirrors: vec![Mirror::from_directory(bench.world.log_directory())],
                polling: PollingSettings::default(),
            };
            let state = bench.directory.join(format!("peer-{i}"));
            let peer =
                Arc::new(Witness::open(witness_config, &state, Storage::default(), SystemClock)?);
            peer.poll(&mut rand::rng()).await?;
            tokio::spawn(peer.serve_connections(listener));
            bench.peers.push((key, address));
        }
        Ok(bench)
    }

    fn log(&self) -> &Log {
        &self.world.keys.log
    }

    /// Makes a Tor client that has the network's directory, but no circuits and no descriptors of
    /// onion services.
    async fn new_client(&self) -> Result<TorClient, BenchError> {
        let directory = self.directory.join(format!("asker-{:x}", rand::random::<u64>()));
        let client_auth = Some(self.client_auth.clone());
        let tor = TorClient::new(&settings(&self.network, &directory), client_auth)?;
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

    /// Measures one cycle of a client. It is an error if a peer does not answer.
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

    /// Measures asking the first `peers` peers at once and verifying their answers, without a
    /// cycle.
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

fn settings(network: &str, directory: &Path) -> TorSettings {
    TorSettings {
        state: directory.join("state"),
        cache: directory.join("cache"),
        network: Network::Private(network.to_owned()),
    }
}

/// Answers frames without parsing or signatures.
///
/// A frame is a length of four bytes, the answer's length in four bytes, and as many bytes as the
/// first length says.
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
    let bench = BenchNetwork::build(network).await?;
    println!("ask to verdict, medians in ms (cold {COLD_RUNS} times, warm {WARM_RUNS} times)");
    println!(
        "{:>6} {:>6} {:>8} {:>9} {:>6} {:>14} {:>6}",
        "", "peers", "verdict", "at once", "ratio", "slowest alone", "ratio"
    );
    for peers in [1, 3, 5, 9] {
        let mut times = Times::default();
        for _ in 0..COLD_RUNS {
            let config = bench.config(peers)?;
            times.verdict.push(bench.run_cycle(&bench.new_client().await?, &config).await?);
            times.at_once.push(bench.ask_all(&bench.new_client().await?, peers).await?);
            let mut slowest = Duration::ZERO;
            for peer in 0..peers {
                slowest = slowest.max(bench.ask_one(&bench.new_client().await?, peer).await?);
            }
            times.alone.push(slowest);
        }
        times.row("cold", peers);
        let (tor, config) = (bench.new_client().await?, bench.config(peers)?);
        bench.run_cycle(&tor, &config).await?;
        let mut times = Times::default();
        for _ in 0..WARM_RUNS {
            times.verdict.push(bench.run_cycle(&tor, &config).await?);
            times.at_once.push(bench.ask_all(&tor, peers).await?);
            let mut slowest = Duration::ZERO;
            for peer in 0..peers {
                slowest = slowest.max(bench.ask_one(&tor, peer).await?);
            }
            times.alone.push(slowest);
        }
        times.row("warm", peers);
    }
    measure_question(&bench).await
}

/// The times of whole cycles, of asking all peers at once, and of the slowest peer asked alone.
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

/// Measures a warm question and an echo in turn, so that other load affects both. Each peer gets
/// new circuits, since one circuit may be twice as slow as another.
async fn measure_question(bench: &BenchNetwork) -> Result<(), BenchError> {
    let question = Question::CosignedHead(bench.log().id());
    let (length, answer) = (
        unanimity_net::message::QUESTION_BYTES as u32,
        unanimity_net::message::ANSWER_BYTES as u32,
    );
    let (mut asked, mut echoed) = (Vec::new(), Vec::new());
    for (_, address) in &bench.peers {
        let tor = bench.new_client().await?;
        let (mut peer, mut echo) = (tor.dial(address).await?, tor.dial(&bench.echo).await?);
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
        // The first eight bytes are the two lengths, so the rest is that much shorter.
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

/// Measures the resident memory of an idle `serve` that keeps the circuits to three peers open.
fn measure_memory(network: &PrivateTorNetwork) -> Result<(), BenchError> {
    let keys = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
    let fixture = Fixture::create(&network.scratch_path("idle"), keys)?;
    fixture.publish_release(
        "log",
        &ReleaseSpec::new(1, "1.0.0", b"hello"),
        Timestamp(1_700_000_000),
    )?;
    let program = Path::new(env!("CARGO_BIN_EXE_unanimity"));
    let world = OnionWorld::create(fixture, network, program, 3)?;
    let mut nodes = Vec::new();
    for name in ["alice", "bela", "carol", "client"] {
        let mut node = world.process(name);
        node.serve()?;
        node.wait_status("published service", |status| status["serving"]["reachable"] == true)?;
        nodes.push(node);
    }
    let client = nodes.last().ok_or("no client")?;
    client.run(&["check"])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", client.id().ok_or("ended")?))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    println!(
        "\nresident memory of an idle `serve` after one round: {}",
        resident.unwrap_or("?").trim()
    );
    Ok(())
}
