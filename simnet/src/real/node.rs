//! One node: a peer that polls and answers, and a client that calls the roll.

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

use super::actors;
use super::fuse::Fuse;
use super::honest::HonestPeer;
use super::hub::address;
use super::line::Line;
use super::logs::platform;
use super::process::Process;
use super::tor::Tor;
use super::world::World;
use crate::Seed;
use crate::scenario::fault::Kind;
use crate::trace::{Cycle, What};

/// What one node is made of, shared by its tasks.
pub(super) struct Node {
    world: Arc<World>,
    number: u32,
    honest: Arc<HonestPeer>,
    stored: EvidenceStore,
    /// Set once evidence of a fork is stored.
    evidence: OnceLock<()>,
}

/// Where a node remembers, and where it installs, on its own machine.
const STATE: &str = "/state";
const ROOT: &str = "/root";

fn name(number: u32) -> Name {
    // Names are ordered as the numbers are.
    format!("n{number:07}").parse().expect("a safe name")
}

pub(super) fn secret(seed: Seed, number: u32) -> CosignatureSigningKey {
    let draws = seed.draws("node key");
    let words: [u64; 4] = std::array::from_fn(|word| draws.bits(number.into(), word as u64));
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    CosignatureSigningKey::from_seed(name(number).as_str().parse().expect("a key name"), &bytes)
}

impl Node {
    /// Starts a node's tasks: polling, answering, calling the roll, and going away and coming back.
    pub(super) fn start(world: &Arc<World>, number: u32) -> Result<Vec<JoinHandle<()>>, String> {
        let secret = world.secrets[number as usize].clone();
        let machine = PowerLossFs::without_power_loss();
        let disk = Storage::default().with_filesystem(machine.clone());
        let config = config(world, number)?;
        let process = process(world, number, secret.clone(), machine.clone());
        let node = Arc::new(Node {
            world: world.clone(),
            number,
            honest: Arc::new(HonestPeer::new(world, number, secret, process)),
            stored: EvidenceStore::new(Path::new(STATE), &world.logs.keys.log, disk),
            evidence: OnceLock::new(),
        });
        node.honest.process.start().map_err(|error| error.to_string())?;
        Ok(vec![
            tokio::spawn(node.clone().come_and_go()),
            tokio::spawn(node.clone().answer(world.hub.open())),
            tokio::spawn(node.clone().poll()),
            tokio::spawn(node.roll(config, machine)),
        ])
    }

    async fn come_and_go(self: Arc<Self>) {
        for off in self.world.environment.absences(self.number) {
            self.world.time.until(off.start).await;
            self.honest.process.stop().await;
            self.world.time.until(off.end).await;
            self.start_again();
        }
    }

    fn start_again(&self) {
        if let Err(error) = self.honest.process.start() {
            panic!("node {} does not start as a peer: {error}", self.number);
        }
    }

    async fn poll(self: Arc<Self>) {
        let (environment, number) = (&self.world.environment, self.number);
        let mut at = 0;
        for polled in 0.. {
            at += environment.poll_wait(number, polled);
            self.world.time.until(at).await;
            let Some((peer, fuse)) =
                self.honest.process.peer().filter(|_| !environment.is_off(number, at))
            else {
                continue;
            };
            let mut rng = environment.cycle_rng(number, u64::MAX - polled);
            if environment.faults(number, at).any(|kind| kind == Kind::PeerCrash) {
                fuse.light(rng.random_range(0..MOST_STEPS_OF_A_POLL));
            }
            let goes = environment.goes_off(number, at, environment.scenario.horizon);
            let found = tokio::select! {
                biased;
                () = self.world.time.until_then(goes) => continue,
                found = peer.poll(&mut rng) => found,
            };
            if let Ok(PollOutcome::Fork(_)) = found {
                self.has_evidence();
            }
            drop(peer);
            fuse.put_out();
            if fuse.is_blown() {
                self.honest.process.stop().await;
                self.start_again();
                self.look_for_evidence();
            }
            let fresh = self.honest.process.peer().is_some_and(|(peer, _)| peer.is_fresh());
            let held = self.honest.held().filter(|_| fresh);
            self.world.tell(number, What::Polled(held));
        }
    }

    async fn answer(self: Arc<Self>, mut arriving: UnboundedReceiver<(u32, Line)>) {
        while let Some((from, line)) = arriving.recv().await {
            let environment = &self.world.environment;
            let now = self.world.time.millis();
            if environment.lies_to(self.number, from) {
                self.honest.process.answer_with(actors::collude(self.honest.clone(), from, line));
            } else if let Some(kind) = environment.peer_fault(self.number, from, now) {
                self.honest.process.answer_with(actors::misbehave(self.honest.clone(), kind, line));
            } else {
                self.honest.process.answer(line);
            }
        }
    }

    async fn roll(self: Arc<Self>, config: ClientConfig, machine: PowerLossFs) {
        let (world, number) = (&self.world, self.number);
        let environment = &world.environment;
        let tor = Arc::new(Tor::new(world, number));
        let mirrors = [mirror(world, number, Some(tor.clone()))];
        let root = InstallRoot::new(
            &config.cycle.install_root,
            Storage::default().with_filesystem(machine.clone()),
        );
        let (mut at, mut cycle, mut has, mut last) = (0, 0, 0, 0);
        let (mut client, mut fuse) = (None, Fuse::default());
        loop {
            at += environment.roll_wait(number, cycle);
            cycle += 1;
            if at < world.time.millis() {
                continue;
            }
            world.time.until(at).await;
            if fuse.is_blown() || environment.goes_off(number, last, at).is_some() {
                (client, fuse) = (None, Fuse::default());
            }
            last = at;
            if environment.is_off(number, at) {
                continue;
            }
            let client = match &mut client {
                Some(client) => client,
                none => {
                    match Client::open(&config, &mirrors, &*tor, &world.time, fuse.disk(&machine)) {
                        Ok(client) => none.insert(client),
                        Err(error) => panic!("node {number} does not start: {error}"),
                    }
                }
            };
            tor.begin(cycle - 1);
            let mut rng = environment.cycle_rng(number, cycle - 1);
            if environment.faults(number, at).any(|kind| kind == Kind::Crash) {
                fuse.light(rng.random_range(0..MOST_STEPS));
            }
            let goes = environment.goes_off(number, at, environment.scenario.horizon);
            let (_, outcome) = tokio::select! {
                biased;
                () = world.time.until_then(goes) => continue,
                updated = client.update(&mut rng) => updated,
            };
            // Killed after the switch, it has installed, whatever it came to say.
            let installed = root.installed().ok().flatten().filter(|new| new.sequence != has);
            has = installed.as_ref().map_or(has, |installed| installed.sequence);
            let came_to =
                self.what(installed.map_or(outcome, |new| Ok(CycleOutcome::Installed(new))));
            fuse.put_out();
            if came_to == Cycle::Fork {
                self.has_evidence();
            }
            if fuse.is_blown() {
                self.look_for_evidence();
            }
            world.tell(number, What::Cycled(world.time.millis() - at, came_to));
        }
    }

    /// Killed after it had stored evidence, it has some, whatever it came to say.
    fn look_for_evidence(&self) {
        if let Ok(Some(_)) = self.stored.find_unacknowledged() {
            self.has_evidence();
        }
    }

    fn has_evidence(&self) {
        if self.evidence.set(()).is_ok() {
            self.world.tell(self.number, What::Evidence);
        }
    }

    fn what(&self, outcome: Result<CycleOutcome, CycleError>) -> Cycle {
        match outcome {
            Ok(CycleOutcome::UpToDate) => Cycle::UpToDate,
            Ok(CycleOutcome::Installed(installed)) => {
                match self.world.logs.release_of(installed.sequence) {
                    Some((index, chain)) => Cycle::Installed { index, chain },
                    None => Cycle::Undecided,
                }
            }
            Err(CycleError::Refused(refusal)) => match refusal {
                Refusal::Settling { .. } => Cycle::Settling,
                Refusal::Incomplete(_) => Cycle::Incomplete,
                Refusal::Fork(_) => Cycle::Fork,
                Refusal::Withdrawn { installed: true, .. } => Cycle::Withdrawn,
                // It is said once of what is not installed, and then nothing is new.
                Refusal::Withdrawn { installed: false, .. } => Cycle::UpToDate,
                _ => Cycle::Undecided,
            },
            Err(CycleError::Mirror(
                MirrorProblem::Stale { .. } | MirrorProblem::Rollback { .. },
            )) => Cycle::Stale,
            Err(CycleError::LogForked(_)) => Cycle::Latched,
            Ok(CycleOutcome::Available(_))
            | Err(CycleError::Mirror(_) | CycleError::Install(_) | CycleError::Client(_)) => {
                Cycle::Undecided
            }
        }
    }
}

/// More steps on the disk than most cycles and polls have: a node may also get through.
const MOST_STEPS: u64 = 40;
const MOST_STEPS_OF_A_POLL: u64 = 12;

/// A node's peer role.
fn process(
    world: &Arc<World>,
    number: u32,
    secret: CosignatureSigningKey,
    machine: PowerLossFs,
) -> Process {
    let scenario = &world.environment.scenario;
    let polling = PollingSettings {
        min: Duration::from_millis(scenario.poll.0),
        max: Duration::from_millis(scenario.poll.1),
        max_age: Duration::from_millis(scenario.max_poll_age),
    };
    let (log, time) = (world.logs.keys.log.clone(), world.time);
    let mirrors = vec![mirror(world, number, None)];
    Process::new(machine, move |disk| {
        let (log, secret, mirrors) = (log.clone(), secret.clone(), mirrors.clone());
        Witness::open(
            WitnessConfig { log, signing_key: secret, mirrors, polling },
            Path::new(STATE),
            disk,
            time,
        )
    })
}

/// A node's mirror: while it is up, it shows what the surroundings say. The client's first look at it
/// is when its roll has closed.
fn mirror(world: &Arc<World>, number: u32, client: Option<Arc<Tor>>) -> Mirror {
    let world = Arc::downgrade(world);
    Mirror::from_async_fn(format!("mirror of {number}"), move |path| {
        if let Some(tor) = &client {
            tor.close();
        }
        let Some(world) = world.upgrade() else {
            return Box::pin(async { Err(io::ErrorKind::NotConnected.into()) });
        };
        if !world.mirror_is_up(number) {
            return Box::pin(async { Err(io::ErrorKind::NotFound.into()) });
        }
        let now = world.time.millis();
        let fault = world.environment.mirror_fault(number, now);
        let sent = actors::mirror(&world, fault, world.environment.mirror(number, now), path);
        let slow = fault == Some(Kind::MirrorSlow);
        Box::pin(async move {
            if slow {
                sleep(2 * READ_TIMEOUT).await;
            }
            sent
        })
    })
}

fn config(world: &World, number: u32) -> Result<ClientConfig, String> {
    let scenario = &world.environment.scenario;
    let mut peers = Vec::new();
    let mut addresses: BTreeMap<PublicKeyBytes, OnionAddress> = BTreeMap::new();
    for &peer in world.environment.circle(number) {
        let key = world.secrets[peer as usize].public();
        addresses.insert(key.raw(), address(peer));
        peers.push(Peer { name: name(peer), operator: name(peer), key });
    }
    let cycle = CycleSettings {
        policy: world.logs.keys.policy(),
        platform: platform(),
        limits: RoundLimits {
            settle: Duration::from_millis(scenario.settle),
            ..RoundLimits::default()
        },
        ask_timeout: Duration::from_millis(scenario.ask_timeout),
        round_timeout: Duration::from_millis(scenario.roll_timeout),
        polling: PollingSettings::default(),
        pinned: None,
        install_root: ROOT.into(),
        hooks: HookSettings::default(),
        spool: None,
        freshness: None,
        state: STATE.into(),
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
