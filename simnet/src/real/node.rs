//! One node: a peer that polls and answers, and a client that calls the roll.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use unanimity::config::Config;
use unanimity::durable::Disk;
use unanimity::install::Root;
use unanimity::net::mirror::READ_TIMEOUT;
use unanimity::net::wire::Answer;
use unanimity::net::{Mirror, OnionAddress};
use unanimity::peer::{Follow, PeerNode, Polled, Polling};
use unanimity::update::{Client, Failure, Outcome};
use unanimity::verify::roll::Limits;
use unanimity::verify::{CosignerSecret, Name, Peer, PeerSet, RawKey, Refusal};

use super::actors;
use super::disk::Memory;
use super::hub::{Accepted, Tor, address};
use super::line::Line;
use super::logs::platform;
use super::{Time, World};
use crate::Seed;
use crate::faults::Kind;
use crate::trace::{Cycle, What};

/// What one node is made of, shared by its tasks.
pub(super) struct Node {
    pub(super) world: Arc<World>,
    pub(super) number: u32,
    pub(super) secret: CosignerSecret,
    pub(super) peer: Arc<PeerNode<Time>>,
    /// What it answered when it began to replay.
    pub(super) first_answer: OnceLock<Answer>,
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

pub(super) fn secret(seed: Seed, number: u32) -> CosignerSecret {
    let draws = seed.draws("node key");
    let words: [u64; 4] = std::array::from_fn(|word| draws.bits(number.into(), word as u64));
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    CosignerSecret::from_seed(name(number).as_str().parse().expect("a key name"), &bytes)
}

impl Node {
    /// Starts a node's three tasks: polling, answering, calling the roll. None of them ever ends.
    pub(super) fn start(world: &Arc<World>, number: u32) -> Result<[JoinHandle<()>; 3], String> {
        let secret = world.secrets[number as usize].clone();
        let scenario = &world.environment.scenario;
        let follow = Follow {
            log: world.logs.keys.log.clone(),
            secret: secret.clone(),
            mirrors: vec![mirror(world, number, None)],
            polling: Polling {
                min: Duration::from_millis(scenario.poll.0),
                max: Duration::from_millis(scenario.poll.1),
                max_age: Duration::from_millis(scenario.max_poll_age),
            },
        };
        let machine = Memory::default();
        let disk = Disk::default().on(machine.clone());
        let peer = PeerNode::open(follow, Path::new(STATE), disk, world.time)
            .map_err(|error| error.to_string())?;
        let config = config(world, number)?;
        let peer = Arc::new(peer);
        let node = Arc::new(Node {
            world: world.clone(),
            number,
            secret,
            peer,
            first_answer: OnceLock::new(),
            evidence: OnceLock::new(),
        });
        Ok([
            tokio::spawn(node.clone().answer(world.hub.open())),
            tokio::spawn(node.clone().poll()),
            tokio::spawn(node.roll(config, machine)),
        ])
    }

    async fn poll(self: Arc<Self>) {
        let mut at = 0;
        for polled in 0.. {
            at += self.world.environment.poll_wait(self.number, polled);
            self.world.time.until(at).await;
            let mut rng = self.world.environment.cycle_rng(self.number, u64::MAX - polled);
            let found = self.peer.poll(&mut rng).await;
            if let Ok(Polled::Fork(_)) = found {
                self.has_evidence();
            }
            let held = self.peer.head().filter(|_| self.peer.is_fresh());
            let held = held.map(|head| self.world.logs.view(&head));
            self.world.tell(self.number, What::Polled(held));
        }
    }

    async fn answer(self: Arc<Self>, mut arriving: UnboundedReceiver<(u32, Line)>) {
        let (honest, accepted) = mpsc::unbounded_channel();
        tokio::spawn(self.peer.clone().answer_all(Accepted(accepted)));
        while let Some((from, line)) = arriving.recv().await {
            let environment = &self.world.environment;
            let now = self.world.time.millis();
            let fault = environment.faults(self.number, now).find(|kind| kind.is_of_peer());
            if environment.colludes(self.number) && environment.is_victim(from) {
                tokio::spawn(actors::collude(self.clone(), from, line));
            } else if let Some(kind) = fault {
                tokio::spawn(actors::misbehave(self.clone(), kind, line));
            } else if honest.send(line).is_err() {
                return;
            }
        }
    }

    async fn roll(self: Arc<Self>, config: Config, machine: Memory) {
        let (world, number) = (&self.world, self.number);
        let tor = Arc::new(Tor::new(world, number));
        let config = Config { mirrors: vec![mirror(world, number, Some(tor.clone()))], ..config };
        let root = Root::new(&config.install_root, Disk::default().on(machine.clone()));
        let (mut at, mut cycle, mut has) = (0, 0, 0);
        loop {
            let fuse = Fuse::default();
            let mut client = match Client::open(&config, &*tor, &world.time, fuse.disk(&machine)) {
                Ok(client) => client,
                Err(error) => panic!("node {number} does not start: {error}"),
            };
            while !fuse.is_blown() {
                at += world.environment.roll_wait(number, cycle);
                cycle += 1;
                if at < world.time.millis() {
                    continue;
                }
                world.time.until(at).await;
                tor.begin(cycle - 1);
                let mut rng = world.environment.cycle_rng(number, cycle - 1);
                if world.environment.faults(number, at).any(|kind| kind == Kind::Crash) {
                    fuse.light(rng.random_range(0..MOST_STEPS));
                }
                let (_, outcome) = client.update(&mut rng).await;
                // Killed after the switch, it has installed, whatever it came to say.
                let installed = root.installed().ok().flatten().filter(|new| new.sequence != has);
                has = installed.as_ref().map_or(has, |installed| installed.sequence);
                let came_to =
                    self.what(installed.map_or(outcome, |new| Ok(Outcome::Installed(new))));
                fuse.put_out();
                if came_to == Cycle::Fork {
                    self.has_evidence();
                }
                world.tell(number, What::Cycled(world.time.millis() - at, came_to));
            }
        }
    }

    fn has_evidence(&self) {
        if self.evidence.set(()).is_ok() {
            self.world.tell(self.number, What::Evidence);
        }
    }

    fn what(&self, outcome: Result<Outcome, Failure>) -> Cycle {
        match outcome {
            Ok(Outcome::UpToDate) => Cycle::UpToDate,
            Ok(Outcome::Installed(installed)) => {
                match self.world.logs.release_of(installed.sequence) {
                    Some((index, chain)) => Cycle::Installed { index, chain },
                    None => Cycle::Undecided,
                }
            }
            Err(Failure::Refused(refusal)) => match refusal {
                Refusal::Settling { .. } => Cycle::Settling,
                Refusal::Incomplete(_) => Cycle::Incomplete,
                Refusal::Stale { .. } | Refusal::MirrorRollback { .. } => Cycle::Stale,
                Refusal::Fork(_) => Cycle::Fork,
                Refusal::Latched { .. } => Cycle::Latched,
                _ => Cycle::Undecided,
            },
            Ok(Outcome::Available(_)) | Err(Failure::Error(_)) => Cycle::Undecided,
        }
    }
}

/// A machine that dies at a step on its disk. Then every later step fails, until it is started again.
#[derive(Clone)]
struct Fuse(Arc<AtomicU64>);

/// More steps than most cycles have: a node may also get through.
const MOST_STEPS: u64 = 40;

impl Default for Fuse {
    fn default() -> Fuse {
        Fuse(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl Fuse {
    fn light(&self, steps: u64) {
        self.0.store(steps, Ordering::Relaxed);
    }

    /// The machine survived the cycle, if it did.
    fn put_out(&self) {
        if !self.is_blown() {
            self.light(u64::MAX);
        }
    }

    fn is_blown(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    fn disk(&self, machine: &Memory) -> Disk {
        let left = self.0.clone();
        let burn = move |_: &_| match left.load(Ordering::Relaxed) {
            u64::MAX => Ok(()),
            0 => Err(io::Error::other("the machine is dead")),
            steps => {
                left.store(steps - 1, Ordering::Relaxed);
                Ok(())
            }
        };
        Disk::watched(burn).on(machine.clone())
    }
}

/// A node's mirror: while it is up, it shows what the surroundings say. The client's first look at it
/// is when its roll has closed.
fn mirror(world: &Arc<World>, number: u32, client: Option<Arc<Tor>>) -> Mirror {
    let world = Arc::downgrade(world);
    Mirror::remote(format!("mirror of {number}"), move |path| {
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
        let fault = world.environment.faults(number, now).find(|kind| kind.is_of_mirror());
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

fn config(world: &World, number: u32) -> Result<Config, String> {
    let scenario = &world.environment.scenario;
    let mut peers = Vec::new();
    let mut addresses: BTreeMap<RawKey, OnionAddress> = BTreeMap::new();
    for &peer in world.environment.circle(number) {
        let key = world.secrets[peer as usize].public();
        addresses.insert(key.raw(), address(peer));
        peers.push(Peer { name: name(peer), operator: name(peer), key });
    }
    Ok(Config {
        source: None,
        policy: world.logs.keys.policy(),
        platform: platform(),
        peers: PeerSet::new(peers, 1).map_err(|error| error.to_string())?,
        addresses,
        mirrors: Vec::new(),
        limits: Limits { settle: Duration::from_millis(scenario.settle), ..Limits::default() },
        ask_timeout: Duration::from_millis(scenario.ask_timeout),
        roll_timeout: Duration::from_millis(scenario.roll_timeout),
        polling: Polling::default(),
        pinned: None,
        install_root: ROOT.into(),
        state: STATE.into(),
    })
}
