//! Tier 2: up to a million nodes as numbers. No bytes, no keys, and the decisions of the client
//! and the peer that ship.
//!
//! **Modelled**, each as the code that ships does it: when a peer polls, what it makes of its mirror,
//! up or down, and for how long it vouches for that (`peer`); the tries, deadlines and waits of a roll (`call`,
//! after `unanimity_client`'s `ask`; the waits are drawn by the function it uses itself); which
//! answers count, what is remembered, the joining of all heads heard, staleness, the trusted
//! head, the rolls kept while a release settles, and the choice among releases (`decide`, after
//! `Client::decide`). Three rules are the client's own, of [`unanimity_protocol::decision`]: which answers
//! count, which head is adopted, and what a roll amounts to. Moments that the code signs or
//! compares are whole seconds, as there.
//!
//! **Not modelled**: signatures, proofs and files, which are taken to be right; more than one mirror
//! to a node; the time that mirrors, tiles and artifacts take; a peer's limit of streams; expiry
//! and conflict of releases, and withdrawals but of a logged trojan; acknowledged evidence; faults that are made of bytes or of
//! steps on a disk ([`plays`]).
//! Two refusals are told as one word: a mirror that shows less than the trusted head (a rollback)
//! is [`Cycle::Stale`] too.
//!
//! What happens at one time happens in order of the nodes it happens to: a question to the peer
//! that is asked, everything else to whoever does it. What was arranged first happens first.

mod call;
mod decide;
mod kept;
mod peer;
mod tree;

use std::collections::BTreeMap;

use call::{Call, Slot};
use kept::{Entry, Kept};
use peer::Peer;
use tree::Tree;
use unanimity_protocol::decision::admission::Limits;
use unanimity_protocol::decision::confirmation::Standing;

use crate::engine::Queue;
use crate::environment::{Environment, Service};
use crate::scenario::fault::Kind;
use crate::trace::{Cycle, Event, What, Witness};
use crate::{Millis, Scenario};

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ran {
    /// Steps of the engine: a poll, the beginning of a cycle, a try after the first, a question
    /// that reaches a peer, the end of a cycle.
    pub events: u64,
    /// The memory held at the end, for each node: state, circle, and what is to come.
    pub bytes: f64,
}

/// A fault that a population does not play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a population of numbers has no bytes and no disks, so it cannot play the fault `{0}`; tier 1, the code that ships, plays it: simnet run --real"
)]
pub struct Unplayable(pub Kind);

/// Refuses a world in which something happens that a population would have to leave out.
pub fn plays(scenario: &Scenario) -> Result<(), Unplayable> {
    let mut kinds = scenario.faults.iter().map(|fault| fault.kind);
    kinds.find(|kind| !kind.is_of_numbers()).map_or(Ok(()), |kind| Err(Unplayable(kind)))
}

/// Plays a world from its beginning to its horizon, which itself is no part of it.
///
/// # Panics
/// If it is a world that [`plays`] refuses: what came of it would be told as if it were true.
pub fn run(environment: &Environment, witness: &mut impl Witness) -> Ran {
    plays(&environment.scenario).unwrap_or_else(|why| panic!("{why}"));
    let mut population = Population::new(environment, witness);
    let mut events = 0;
    while let Some((now, node, step)) = population.queue.pop() {
        events += 1;
        population.look_ahead();
        population.step(now, node, step);
    }
    let nodes = environment.scenario.nodes;
    Ran { events, bytes: population.bytes() as f64 / f64::from(nodes.max(1)) }
}

/// About how much memory a run needs, in bytes: a little more than it takes when every release is
/// installed before the next but two comes.
pub fn bytes_needed(scenario: &Scenario) -> u64 {
    let circle = u64::from(scenario.circle);
    let each = size_of::<Service>() + size_of::<Peer>() + size_of::<Client>();
    let mirror = if scenario.mirrors.fail() { size_of::<Service>() } else { 0 };
    // The circle, and the largest view of each of its peers.
    let each = (each + mirror) as u64 + circle * 8;
    // Two events a node that are to come, half a node's questions, and a queue's other arrays.
    let queue = (2 + circle / 2) * 24 * 5 / 4;
    let call = size_of::<Call>() as u64 + circle * size_of::<Slot>() as u64;
    let kept = 2 * kept::bytes(circle);
    (1 << 16) + u64::from(scenario.nodes) * (each + queue + call / 4 + kept)
}

/// One thing that is to happen to a node.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// As a peer it looks at its mirror.
    Poll,
    /// As a client it begins a cycle.
    Begin,
    /// It connects to a peer of its circle once more.
    Try { call: call::Id, place: u8, tries: u8 },
    /// The question of a call, to the peer at a place of the circle, reaches it; and what was wrong
    /// with the peer when it accepted the connection.
    Question { call: call::Id, place: u8, fault: Option<Kind> },
    /// Its roll closes.
    Close { call: call::Id },
    /// It goes off.
    Leave,
}

/// What a node remembers as a client.
#[derive(Clone, Copy, Debug)]
struct Client {
    /// Cycles begun, or skipped.
    cycles: u32,
    /// The trusted head; at first none.
    trusted: Tree,
    /// The installed sequence; at first 0.
    floor: u32,
    /// Whether it has read that the adversary's release was taken back.
    withdrawn: bool,
    /// The rolls that pending releases wait with, earliest first.
    kept: Kept,
    /// The roll that is being called.
    call: Option<call::Id>,
}

/// All nodes, one array for what is used together.
struct Population<'a, W> {
    environment: &'a Environment,
    witness: &'a mut W,
    queue: Queue<Step>,
    limits: Limits,
    /// The size up to which both chains are one.
    split: u32,
    peers: Vec<Peer>,
    services: Vec<Service>,
    /// Empty if no mirror ever fails.
    mirrors: Vec<Service>,
    clients: Vec<Client>,
    /// For each node and each place of its circle, the largest tree that peer ever showed it.
    largest: Vec<Tree>,
    calls: call::Calls,
    kept: kept::Pool,
    /// The first view, and its time, of each peer that ever replayed.
    replayed: BTreeMap<u32, (Tree, i32)>,
    scratch: Scratch,
}

/// Lists that every decision fills anew.
#[derive(Default)]
struct Scratch {
    /// What each peer's answer amounts to as a view; none for one that does not count.
    latest: Vec<Entry>,
    standings: Vec<Standing>,
    settled: Vec<Standing>,
    heads: Vec<Tree>,
    views: Vec<Tree>,
    candidates: Vec<decide::Release>,
}

impl<'a, W: Witness> Population<'a, W> {
    fn new(environment: &'a Environment, witness: &'a mut W) -> Self {
        let scenario = &environment.scenario;
        let nodes = scenario.nodes as usize;
        let client = Client {
            cycles: 0,
            trusted: Tree::NONE,
            floor: 0,
            withdrawn: false,
            kept: Kept::default(),
            call: None,
        };
        let mirrors = if scenario.mirrors.fail() { scenario.nodes } else { 0 };
        let mut population = Population {
            environment,
            witness,
            queue: Queue::with_capacity(nodes * 2),
            limits: Limits::default(),
            split: environment.split(),
            peers: vec![Peer::default(); nodes],
            services: (0..scenario.nodes).map(|node| environment.service(node)).collect(),
            mirrors: (0..mirrors).map(|node| environment.mirror_service(node)).collect(),
            clients: vec![client; nodes],
            largest: vec![Tree::NONE; nodes * scenario.circle as usize],
            calls: call::Calls::new(scenario.circle),
            kept: kept::Pool::new(scenario.circle),
            replayed: BTreeMap::new(),
            scratch: Scratch::default(),
        };
        for node in 0..scenario.nodes {
            for off in environment.absences(node) {
                population.arrange(off.start, node, Step::Leave);
            }
            population.arrange(environment.poll_wait(node, 0), node, Step::Poll);
            population.arrange(environment.roll_wait(node, 0), node, Step::Begin);
        }
        population
    }

    /// What comes after the end of the world need not be remembered.
    fn arrange(&mut self, at: Millis, node: u32, step: Step) {
        if at < self.environment.scenario.horizon {
            self.queue.push(at, node, step);
        }
    }

    fn step(&mut self, now: Millis, node: u32, step: Step) {
        match step {
            Step::Poll => self.poll(now, node),
            Step::Begin => self.begin(now, node),
            Step::Try { call, place, tries } => self.connect(now, node, call, place, tries),
            Step::Question { call, place, fault } => self.question(now, node, (call, place), fault),
            Step::Close { call } => self.close(now, node, call),
            Step::Leave => self.leave(node),
        }
    }

    /// What a node knows only while it runs is lost: that its head is fresh, and the roll that it is
    /// calling. What is still to come of that finds that it is nobody's.
    fn leave(&mut self, node: u32) {
        self.peers[node as usize].fresh = false;
        self.clients[node as usize].call = None;
    }

    /// Fetches from memory what the next events need. It changes nothing but how long that takes.
    fn look_ahead(&self) {
        let circle = self.environment.scenario.circle as usize;
        let mut seen = 0;
        for (node, step) in self.queue.batch() {
            seen ^= u32::from(self.peers[node as usize].latched);
            match step {
                Step::Begin | Step::Close { .. } => {
                    seen ^= self.clients[node as usize].cycles;
                    seen ^= self.environment.circle(node).first().copied().unwrap_or(0);
                    let largest = &self.largest[node as usize * circle..][..circle];
                    seen ^= largest.first().map_or(0, |tree| tree.size());
                }
                Step::Question { call, .. } => seen ^= self.calls.get(call).closes,
                Step::Poll | Step::Try { .. } | Step::Leave => {}
            }
        }
        for (node, step) in self.queue.batch() {
            match step {
                Step::Begin => {
                    for peer in self.environment.circle(node) {
                        seen ^= u32::from(self.services[*peer as usize].was_up());
                    }
                }
                Step::Close { call } => seen ^= self.calls.slots(call)[0].came,
                _ => {}
            }
        }
        std::hint::black_box(seen);
    }

    fn tell(&mut self, at: Millis, node: u32, what: What) {
        self.witness.see(&Event { at, node, what });
    }

    /// What a node's mirror shows it; nothing while it is down.
    fn shown(&mut self, now: Millis, node: u32) -> Option<Tree> {
        let environment = self.environment;
        let mut mirror = self.mirrors.get_mut(node as usize);
        let is_up = mirror.as_mut().is_none_or(|mirror| mirror.is_up(environment, node, now));
        let mut shown = environment.mirror(node, now);
        match environment.mirror_fault(node, now) {
            Some(Kind::MirrorDead) => return None,
            Some(Kind::MirrorStale) if shown.chain == 0 => {
                shown.size = shown.size.min(environment.an_hour_before(now).size);
            }
            _ => {}
        }
        is_up.then(|| Tree::new(shown, self.split))
    }

    /// Evidence is stored: for both roles, and for good.
    fn latch(&mut self, now: Millis, node: u32) {
        if !std::mem::replace(&mut self.peers[node as usize].latched, true) {
            self.tell(now, node, What::Evidence);
        }
    }

    fn close(&mut self, now: Millis, node: u32, id: call::Id) {
        if self.clients[node as usize].call.take_if(|call| *call == id).is_none() {
            self.calls.free(id);
            return;
        }
        let began = self.calls.get(id).began;
        let mut cycle = self.decide(now, node, id);
        self.calls.free(id);
        match cycle {
            Cycle::Fork => self.latch(now, node),
            // The peer role may have found out in the meantime.
            Cycle::Installed { .. } if self.peers[node as usize].latched => cycle = Cycle::Latched,
            Cycle::Installed { index, chain } => self.install(node, index, chain),
            _ => {}
        }
        self.tell(now, node, What::Cycled(now - began, cycle));
    }

    fn bytes(&self) -> usize {
        self.queue.bytes()
            + self.peers.capacity() * size_of::<Peer>()
            + (self.services.capacity() + self.mirrors.capacity()) * size_of::<Service>()
            + self.clients.capacity() * size_of::<Client>()
            + self.largest.capacity() * size_of::<Tree>()
            + self.calls.bytes()
            + self.kept.bytes()
            // Whom each of them asks.
            + self.largest.len() * size_of::<u32>()
    }
}
