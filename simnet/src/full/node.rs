//! One node: a witness that polls and answers, and a client that runs cycles.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use unanimity_client::{Client, CycleError, CycleOutcome, MirrorProblem};
use unanimity_config::{ClientConfig, CycleSettings, HookSettings, OnionAddress, PollingSettings};
use unanimity_install::InstallRoot;
use unanimity_net::{Mirror, READ_TIMEOUT};
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::{CosignatureSigningKey, Name, Peer, PeerSet, PublicKeyBytes, Refusal};
use unanimity_state::EvidenceStore;
use unanimity_storage::Storage;
use unanimity_testkit::power_loss_fs::PowerLossFs;
use unanimity_witness::{PollOutcome, Witness, WitnessConfig};

use super::adversaries;
use super::crash_injector::CrashInjector;
use super::delayed_stream::DelayedStream;
use super::honest_peer::HonestPeer;
use super::logs::platform;
use super::network::address;
use super::peer_process::PeerProcess;
use super::tor::SimulatedTor;
use super::world::SimulatedWorld;
use crate::Seed;
use crate::scenario::fault::FaultKind;
use crate::trace::{CycleResult, EventKind};

/// The state of one node, shared by its tasks.
pub(super) struct SimulatedNode {
    world: Arc<SimulatedWorld>,
    number: u32,
    honest: Arc<HonestPeer>,
    evidence_store: EvidenceStore,
    /// Set once evidence of a fork is stored.
    evidence_recorded: OnceLock<()>,
}

/// The state directory of a node, on the node's own file system.
const STATE_DIR: &str = "/state";
/// The install root of a node, on the node's own file system.
const INSTALL_ROOT: &str = "/root";

fn node_name(number: u32) -> Name {
    // Leading zeros give the names the order of the numbers.
    format!("n{number:07}").parse().expect("a safe name")
}

pub(super) fn cosignature_key(seed: Seed, number: u32) -> CosignatureSigningKey {
    let draws = seed.draws("node key");
    let words: [u64; 4] = std::array::from_fn(|word| draws.bits(number.into(), word as u64));
    let mut bytes = [0; 32];
    for (part, word) in bytes.chunks_exact_mut(8).zip(words) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    CosignatureSigningKey::from_seed(
        node_name(number).as_str().parse().expect("a key name"),
        &bytes,
    )
}

impl SimulatedNode {
    /// Starts a node's tasks: absences, answers, polls and cycles. Fails if the node cannot be set
    /// up.
    pub(super) fn start(
        world: &Arc<SimulatedWorld>,
        number: u32,
    ) -> Result<Vec<JoinHandle<()>>, String> {
        let signing_key = world.signing_keys[number as usize].clone();
        let machine = PowerLossFs::without_power_loss();
        let disk = Storage::default().with_filesystem(machine.clone());
        let config = client_config(world, number)?;
        let process = peer_process(world, number, signing_key.clone(), machine.clone());
        let node = Arc::new(SimulatedNode {
            world: world.clone(),
            number,
            honest: Arc::new(HonestPeer::new(world, number, signing_key, process)),
            evidence_store: EvidenceStore::new(Path::new(STATE_DIR), &world.logs.keys.log, disk),
            evidence_recorded: OnceLock::new(),
        });
        node.honest.process.start().map_err(|error| error.to_string())?;
        Ok(vec![
            tokio::spawn(node.clone().run_offline_periods()),
            tokio::spawn(node.clone().answer_loop(world.network.listen())),
            tokio::spawn(node.clone().poll_loop()),
            tokio::spawn(node.round_loop(config, machine)),
        ])
    }

    async fn run_offline_periods(self: Arc<Self>) {
        for off in self.world.environment.offline_periods(self.number) {
            self.world.clock.wait_until(off.start).await;
            self.honest.process.stop().await;
            self.world.clock.wait_until(off.end).await;
            self.restart_peer();
        }
    }

    fn restart_peer(&self) {
        if let Err(error) = self.honest.process.start() {
            panic!("node {} does not start as a peer: {error}", self.number);
        }
    }

    async fn poll_loop(self: Arc<Self>) {
        let (environment, number) = (&self.world.environment, self.number);
        let mut at = 0;
        for polled in 0.. {
            at += environment.poll_wait(number, polled);
            self.world.clock.wait_until(at).await;
            let Some((peer, injector)) =
                self.honest.process.peer().filter(|_| !environment.is_offline(number, at))
            else {
                continue;
            };
            let mut rng = environment.cycle_rng(number, u64::MAX - polled);
            if environment.faults_at(number, at).any(|kind| kind == FaultKind::PeerCrash) {
                injector.arm(rng.random_range(0..MAX_POLL_STEPS));
            }
            let goes_off = environment.first_offline_at(number, at, environment.scenario.horizon);
            let outcome = tokio::select! {
                biased;
                () = self.world.clock.wait_until_or_forever(goes_off) => continue,
                outcome = peer.poll(&mut rng) => outcome,
            };
            if let Ok(PollOutcome::Fork(_)) = outcome {
                self.record_evidence();
            }
            drop(peer);
            injector.disarm();
            if injector.has_crashed() {
                self.honest.process.stop().await;
                self.restart_peer();
                self.check_stored_evidence();
            }
            let fresh = self.honest.process.peer().is_some_and(|(peer, _)| peer.is_fresh());
            let held = self.honest.held_head().filter(|_| fresh);
            self.world.record_event(number, EventKind::Polled(held));
        }
    }

    async fn answer_loop(self: Arc<Self>, mut arriving: UnboundedReceiver<(u32, DelayedStream)>) {
        while let Some((from, stream)) = arriving.recv().await {
            let environment = &self.world.environment;
            let now = self.world.clock.millis();
            if environment.lies_to(self.number, from) {
                self.honest.process.answer_with_task(adversaries::answer_as_colluder(
                    self.honest.clone(),
                    from,
                    stream,
                ));
            } else if let Some(kind) = environment.peer_fault(self.number, from, now) {
                self.honest.process.answer_with_task(adversaries::answer_as_faulty_peer(
                    self.honest.clone(),
                    kind,
                    stream,
                ));
            } else {
                self.honest.process.forward_to_peer(stream);
            }
        }
    }

    async fn round_loop(self: Arc<Self>, config: ClientConfig, machine: PowerLossFs) {
        let (world, number) = (&self.world, self.number);
        let environment = &world.environment;
        let tor = Arc::new(SimulatedTor::new(world, number));
        let mirrors = [simulated_mirror(world, number, Some(tor.clone()))];
        let root = InstallRoot::new(
            &config.cycle.install_root,
            Storage::default().with_filesystem(machine.clone()),
        );
        let (mut at, mut cycle, mut installed_sequence, mut last) = (0, 0, 0, 0);
        let (mut client, mut injector) = (None, CrashInjector::default());
        loop {
            at += environment.round_wait(number, cycle);
            cycle += 1;
            if at < world.clock.millis() {
                continue;
            }
            world.clock.wait_until(at).await;
            if injector.has_crashed() || environment.first_offline_at(number, last, at).is_some() {
                (client, injector) = (None, CrashInjector::default());
            }
            last = at;
            if environment.is_offline(number, at) {
                continue;
            }
            let client = match &mut client {
                Some(client) => client,
                none => {
                    match Client::open(
                        &config,
                        &mirrors,
                        &*tor,
                        &world.clock,
                        injector.storage(&machine),
                    ) {
                        Ok(client) => none.insert(client),
                        Err(error) => panic!("node {number} does not start: {error}"),
                    }
                }
            };
            tor.begin_cycle(cycle - 1);
            let mut rng = environment.cycle_rng(number, cycle - 1);
            if environment.faults_at(number, at).any(|kind| kind == FaultKind::Crash) {
                injector.arm(rng.random_range(0..MAX_CYCLE_STEPS));
            }
            let goes_off = environment.first_offline_at(number, at, environment.scenario.horizon);
            let (_, outcome) = tokio::select! {
                biased;
                () = world.clock.wait_until_or_forever(goes_off) => continue,
                updated = client.update(&mut rng) => updated,
            };
            // A client that was killed after the switch to a release has installed that release,
            // whatever its cycle returned.
            let installed = root.installed().ok().flatten();
            let installed = installed.filter(|new| new.sequence != installed_sequence);
            installed_sequence =
                installed.as_ref().map_or(installed_sequence, |installed| installed.sequence);
            let result = self
                .cycle_result(installed.map_or(outcome, |new| Ok(CycleOutcome::Installed(new))));
            injector.disarm();
            if result == CycleResult::Fork {
                self.record_evidence();
            }
            if injector.has_crashed() {
                self.check_stored_evidence();
            }
            world.record_event(number, EventKind::Cycled(world.clock.millis() - at, result));
        }
    }

    /// Records the event `Evidence` if a killed witness or client had stored evidence before.
    fn check_stored_evidence(&self) {
        if let Ok(Some(_)) = self.evidence_store.find_unacknowledged() {
            self.record_evidence();
        }
    }

    fn record_evidence(&self) {
        if self.evidence_recorded.set(()).is_ok() {
            self.world.record_event(self.number, EventKind::Evidence);
        }
    }

    fn cycle_result(&self, outcome: Result<CycleOutcome, CycleError>) -> CycleResult {
        match outcome {
            Ok(CycleOutcome::UpToDate) => CycleResult::UpToDate,
            Ok(CycleOutcome::Installed(installed)) => {
                match self.world.logs.find_release(installed.sequence) {
                    Some((index, chain)) => CycleResult::Installed { index, chain },
                    None => CycleResult::Undecided,
                }
            }
            Err(CycleError::Refused(refusal)) => match refusal {
                Refusal::Settling { .. } => CycleResult::Settling,
                Refusal::Incomplete(_) => CycleResult::Incomplete,
                Refusal::Fork(_) => CycleResult::Fork,
                Refusal::Withdrawn { installed: true, .. } => CycleResult::Withdrawn,
                // The client reports each withdrawn release that it has not installed only once.
                // Nothing is new in that cycle.
                Refusal::Withdrawn { installed: false, .. } => CycleResult::UpToDate,
                _ => CycleResult::Undecided,
            },
            Err(CycleError::Mirror(
                MirrorProblem::Stale { .. } | MirrorProblem::Rollback { .. },
            )) => CycleResult::Stale,
            Err(CycleError::LogForked(_)) => CycleResult::Latched,
            Ok(CycleOutcome::Available(_))
            | Err(CycleError::Mirror(_) | CycleError::Install(_) | CycleError::Client(_)) => {
                CycleResult::Undecided
            }
        }
    }
}

/// Exclusive upper bound of the disk step at which a client crashes. Most cycles have fewer steps,
/// so some finish.
const MAX_CYCLE_STEPS: u64 = 40;
/// Exclusive upper bound of the disk step at which a witness crashes. Most polls have fewer steps,
/// so some finish.
const MAX_POLL_STEPS: u64 = 12;

/// The witness of a node as a process that is not running yet.
fn peer_process(
    world: &Arc<SimulatedWorld>,
    number: u32,
    signing_key: CosignatureSigningKey,
    machine: PowerLossFs,
) -> PeerProcess {
    let scenario = &world.environment.scenario;
    let polling = PollingSettings {
        min: Duration::from_millis(scenario.poll.0),
        max: Duration::from_millis(scenario.poll.1),
        max_age: Duration::from_millis(scenario.max_poll_age),
    };
    let (log, time) = (world.logs.keys.log.clone(), world.clock);
    let mirrors = vec![simulated_mirror(world, number, None)];
    PeerProcess::new(machine, move |disk| {
        let (log, signing_key, mirrors) = (log.clone(), signing_key.clone(), mirrors.clone());
        Witness::open(
            WitnessConfig { log, signing_key, mirrors, polling },
            Path::new(STATE_DIR),
            disk,
            time,
        )
    })
}

/// A node's mirror. While the mirror is up, it shows the head that the environment gives. A client
/// first reads its mirror after its round has closed. That read tells `client` that further
/// connections take no time.
fn simulated_mirror(
    world: &Arc<SimulatedWorld>,
    number: u32,
    client: Option<Arc<SimulatedTor>>,
) -> Mirror {
    let world = Arc::downgrade(world);
    Mirror::from_async_fn(format!("mirror of {number}"), move |path| {
        if let Some(tor) = &client {
            tor.close_round();
        }
        let Some(world) = world.upgrade() else {
            return Box::pin(async { Err(io::ErrorKind::NotConnected.into()) });
        };
        if !world.mirror_is_up(number) {
            return Box::pin(async { Err(io::ErrorKind::NotFound.into()) });
        }
        let now = world.clock.millis();
        let fault = world.environment.mirror_fault(number, now);
        let sent = adversaries::read_faulty_mirror(
            &world,
            fault,
            world.environment.mirror_head(number, now),
            path,
        );
        let slow = fault == Some(FaultKind::MirrorSlow);
        Box::pin(async move {
            if slow {
                sleep(2 * READ_TIMEOUT).await;
            }
            sent
        })
    })
}

fn client_config(world: &SimulatedWorld, number: u32) -> Result<ClientConfig, String> {
    let scenario = &world.environment.scenario;
    let mut peers = Vec::new();
    let mut addresses: BTreeMap<PublicKeyBytes, OnionAddress> = BTreeMap::new();
    for &peer in world.environment.peers_of(number) {
        let key = world.signing_keys[peer as usize].public();
        addresses.insert(key.raw(), address(peer));
        peers.push(Peer { name: node_name(peer), operator: node_name(peer), key });
    }
    let cycle = CycleSettings {
        policy: world.logs.keys.policy(),
        platform: platform(),
        limits: RoundLimits {
            settle: Duration::from_millis(scenario.settle),
            ..RoundLimits::default()
        },
        ask_timeout: Duration::from_millis(scenario.ask_timeout),
        round_timeout: Duration::from_millis(scenario.round_timeout),
        polling: PollingSettings::default(),
        pinned: None,
        install_root: INSTALL_ROOT.into(),
        hooks: HookSettings::default(),
        spool: None,
        freshness: None,
        state: STATE_DIR.into(),
    };
    Ok(ClientConfig {
        source: None,
        cycle,
        peers: PeerSet::new(peers, 1).map_err(|error| error.to_string())?,
        addresses,
        artifacts: Vec::new(),
        artifact_cache_bytes: None,
    })
}
