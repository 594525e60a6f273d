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

/// A step that is scheduled for a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum NodeStep {
    /// The witness polls its mirror.
    Poll,
    /// The client begins a cycle.
    BeginCycle,
    /// The client tries a peer again. `peer_index` is the peer's index in the client's peer list.
    TryPeer { round: ActiveRoundId, peer_index: u8, tries: u8 },
    /// A question of a round reaches this node, which is at `peer_index` in the client's peer list.
    /// `fault` is the fault that the node had when it accepted the connection.
    ReceiveQuestion { round: ActiveRoundId, peer_index: u8, fault: Option<FaultKind> },
    /// The client's round closes.
    CloseRound { round: ActiveRoundId },
    /// The node goes off.
    GoOffline,
}

/// The state of all nodes. Values that are used together share an array.
pub(super) struct Population<'a, W> {
    pub(super) environment: &'a Environment,
    pub(super) observer: &'a mut W,
    pub(super) queue: Queue<NodeStep>,
    pub(super) limits: RoundLimits,
    /// The size up to which both chains are equal.
    pub(super) split: u32,
    pub(super) peers: Vec<SimulatedPeer>,
    pub(super) services: Vec<ServiceSchedule>,
    /// Empty if no mirror ever fails.
    pub(super) mirrors: Vec<ServiceSchedule>,
    pub(super) clients: Vec<SimulatedClient>,
    /// The largest head that each peer ever showed each node, in order of nodes and their peer
    /// lists.
    pub(super) largest: Vec<PackedHead>,
    pub(super) active_rounds: ActiveRounds,
    pub(super) kept_rounds: KeptRoundPool,
    /// The answer that each replaying peer repeats: its head and its signing time in seconds.
    pub(super) first_answers: BTreeMap<u32, (PackedHead, i32)>,
    pub(super) buffers: DecisionBuffers,
}

impl<'a, W: EventObserver> Population<'a, W> {
    pub(super) fn new(environment: &'a Environment, observer: &'a mut W) -> Self {
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
            observer,
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

    /// Schedules a step. Steps after the end of the world are dropped.
    pub(super) fn schedule(&mut self, at: Millis, node: u32, step: NodeStep) {
        if at < self.environment.scenario.horizon {
            self.queue.push(at, node, step);
        }
    }

    pub(super) fn emit(&mut self, at: Millis, node: u32, kind: EventKind) {
        self.observer.observe(&Event { at, node, kind });
    }

    /// The head that a node's mirror shows; `None` while the mirror is down.
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

    /// Stores evidence of a fork, for a node's witness and client. The evidence is never removed.
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
            // The environment's peer lists.
            + self.largest.len() * size_of::<u32>()
    }
}
