//! The state of all nodes, and the operations that every step shares.

use std::collections::BTreeMap;

use unanimity_protocol::decision::admission::RoundLimits;

use super::calls::{Calls, Id};
use super::kept::{Kept, Pool};
use super::node::{Client, Peer};
use super::scratch::Scratch;
use super::tree::Tree;
use crate::Millis;
use crate::engine::Queue;
use crate::environment::{Environment, Service};
use crate::scenario::fault::Kind;
use crate::trace::{Event, What, Witness};

/// One thing that is to happen to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// As a peer it looks at its mirror.
    Poll,
    /// As a client it begins a cycle.
    Begin,
    /// It connects to a peer of its circle once more.
    Try { call: Id, place: u8, tries: u8 },
    /// The question of a call, to the peer at a place of the circle, reaches it; and what was wrong
    /// with the peer when it accepted the connection.
    Question { call: Id, place: u8, fault: Option<Kind> },
    /// Its roll closes.
    Close { call: Id },
    /// It goes off.
    Leave,
}

/// All nodes, one array for what is used together.
pub(super) struct Population<'a, W> {
    pub(super) environment: &'a Environment,
    pub(super) witness: &'a mut W,
    pub(super) queue: Queue<Step>,
    pub(super) limits: RoundLimits,
    /// The size up to which both chains are one.
    pub(super) split: u32,
    pub(super) peers: Vec<Peer>,
    pub(super) services: Vec<Service>,
    /// Empty if no mirror ever fails.
    pub(super) mirrors: Vec<Service>,
    pub(super) clients: Vec<Client>,
    /// For each node and each place of its circle, the largest tree that peer ever showed it.
    pub(super) largest: Vec<Tree>,
    pub(super) calls: Calls,
    pub(super) kept: Pool,
    /// The first view, and its time, of each peer that ever replayed.
    pub(super) replayed: BTreeMap<u32, (Tree, i32)>,
    pub(super) scratch: Scratch,
}

impl<'a, W: Witness> Population<'a, W> {
    pub(super) fn new(environment: &'a Environment, witness: &'a mut W) -> Self {
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
            limits: RoundLimits::default(),
            split: environment.split(),
            peers: vec![Peer::default(); nodes],
            services: (0..scenario.nodes).map(|node| environment.service(node)).collect(),
            mirrors: (0..mirrors).map(|node| environment.mirror_service(node)).collect(),
            clients: vec![client; nodes],
            largest: vec![Tree::NONE; nodes * scenario.circle as usize],
            calls: Calls::new(scenario.circle),
            kept: Pool::new(scenario.circle),
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
    pub(super) fn arrange(&mut self, at: Millis, node: u32, step: Step) {
        if at < self.environment.scenario.horizon {
            self.queue.push(at, node, step);
        }
    }

    pub(super) fn tell(&mut self, at: Millis, node: u32, what: What) {
        self.witness.see(&Event { at, node, what });
    }

    /// What a node's mirror shows it; nothing while it is down.
    pub(super) fn shown(&mut self, now: Millis, node: u32) -> Option<Tree> {
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
    pub(super) fn latch(&mut self, now: Millis, node: u32) {
        if !std::mem::replace(&mut self.peers[node as usize].latched, true) {
            self.tell(now, node, What::Evidence);
        }
    }

    pub(super) fn bytes(&self) -> usize {
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
