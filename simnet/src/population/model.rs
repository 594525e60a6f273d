//! The state of all nodes, and the operations that every step shares.

use std::collections::BTreeMap;

use unanimity_protocol::decision::admission::RoundLimits;

use super::active_rounds::{ActiveRoundId, ActiveRounds};
use super::buffers::DecisionBuffers;
use super::kept_rounds::{KeptRoundPool, KeptRounds};
use super::node::{SimulatedClient, SimulatedPeer};
use super::packed_head::PackedHead;
use crate::Millis;
use crate::engine::Queue;
use crate::environment::{Environment, ServiceSchedule};
use crate::scenario::fault::FaultKind;
use crate::trace::{Event, EventKind, EventObserver};

/// One thing that is to happen to a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodeStep {
    /// As a peer it looks at its mirror.
    Poll,
    /// As a client it begins a cycle.
    BeginCycle,
    /// It connects to a peer of its circle once more.
    TryPeer { round: ActiveRoundId, place: u8, tries: u8 },
    /// The question of a call, to the peer at a place of the circle, reaches it; and what was wrong
    /// with the peer when it accepted the connection.
    ReceiveQuestion { round: ActiveRoundId, place: u8, fault: Option<FaultKind> },
    /// Its roll closes.
    CloseRound { round: ActiveRoundId },
    /// It goes off.
    GoOffline,
}

/// All nodes, one array for what is used together.
pub(super) struct Population<'a, W> {
    pub(super) environment: &'a Environment,
    pub(super) observer: &'a mut W,
    pub(super) queue: Queue<NodeStep>,
    pub(super) limits: RoundLimits,
    /// The size up to which both chains are one.
    pub(super) split: u32,
    pub(super) peers: Vec<SimulatedPeer>,
    pub(super) services: Vec<ServiceSchedule>,
    /// Empty if no mirror ever fails.
    pub(super) mirrors: Vec<ServiceSchedule>,
    pub(super) clients: Vec<SimulatedClient>,
    /// For each node and each place of its circle, the largest tree that peer ever showed it.
    pub(super) largest: Vec<PackedHead>,
    pub(super) active_rounds: ActiveRounds,
    pub(super) kept_rounds: KeptRoundPool,
    /// The first view, and its time, of each peer that ever replayed.
    pub(super) first_answers: BTreeMap<u32, (PackedHead, i32)>,
    pub(super) buffers: DecisionBuffers,
}

impl<'a, W: EventObserver> Population<'a, W> {
    pub(super) fn new(environment: &'a Environment, witness: &'a mut W) -> Self {
        let scenario = &environment.scenario;
        let nodes = scenario.nodes as usize;
        let client = SimulatedClient {
            cycles: 0,
            trusted: PackedHead::NONE,
            installed_sequence: 0,
            knows_withdrawal: false,
            kept_rounds: KeptRounds::default(),
            active_round: None,
        };
        let mirrors = if scenario.mirrors.can_fail() { scenario.nodes } else { 0 };
        let mut population = Population {
            environment,
            observer: witness,
            queue: Queue::with_capacity(nodes * 2),
            limits: RoundLimits::default(),
            split: environment.split_size(),
            peers: vec![SimulatedPeer::default(); nodes],
            services: (0..scenario.nodes).map(|node| environment.service(node)).collect(),
            mirrors: (0..mirrors).map(|node| environment.mirror_service(node)).collect(),
            clients: vec![client; nodes],
            largest: vec![PackedHead::NONE; nodes * scenario.peers as usize],
            active_rounds: ActiveRounds::new(scenario.peers),
            kept_rounds: KeptRoundPool::new(scenario.peers),
            first_answers: BTreeMap::new(),
            buffers: DecisionBuffers::default(),
        };
        for node in 0..scenario.nodes {
            for off in environment.offline_periods(node) {
                population.schedule(off.start, node, NodeStep::GoOffline);
            }
            population.schedule(environment.poll_wait(node, 0), node, NodeStep::Poll);
            population.schedule(environment.round_wait(node, 0), node, NodeStep::BeginCycle);
        }
        population
    }

    /// What comes after the end of the world need not be remembered.
    pub(super) fn schedule(&mut self, at: Millis, node: u32, step: NodeStep) {
        if at < self.environment.scenario.horizon {
            self.queue.push(at, node, step);
        }
    }

    pub(super) fn emit(&mut self, at: Millis, node: u32, what: EventKind) {
        self.observer.observe(&Event { at, node, kind: what });
    }

    /// What a node's mirror shows it; nothing while it is down.
    pub(super) fn mirror_head(&mut self, now: Millis, node: u32) -> Option<PackedHead> {
        let environment = self.environment;
        let mut mirror = self.mirrors.get_mut(node as usize);
        let is_up = mirror.as_mut().is_none_or(|mirror| mirror.is_up(environment, node, now));
        let mut shown = environment.mirror_head(node, now);
        match environment.mirror_fault(node, now) {
            Some(FaultKind::MirrorDead) => return None,
            Some(FaultKind::MirrorStale) if shown.chain == 0 => {
                shown.size = shown.size.min(environment.head_an_hour_before(now).size);
            }
            _ => {}
        }
        is_up.then(|| PackedHead::new(shown, self.split))
    }

    /// Evidence is stored: for both roles, and for good.
    pub(super) fn store_evidence(&mut self, now: Millis, node: u32) {
        if !std::mem::replace(&mut self.peers[node as usize].latched, true) {
            self.emit(now, node, EventKind::Evidence);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes()
            + self.peers.capacity() * size_of::<SimulatedPeer>()
            + (self.services.capacity() + self.mirrors.capacity()) * size_of::<ServiceSchedule>()
            + self.clients.capacity() * size_of::<SimulatedClient>()
            + self.largest.capacity() * size_of::<PackedHead>()
            + self.active_rounds.bytes()
            + self.kept_rounds.bytes()
            // Whom each of them asks.
            + self.largest.len() * size_of::<u32>()
    }
}
