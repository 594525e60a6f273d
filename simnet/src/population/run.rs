//! A run of a population: all steps in order of time.

use super::active_rounds::{ActiveRound, ActiveRoundId, PeerSlot};
use super::kept_rounds;
use super::model::{NodeStep, Population};
use super::node::{SimulatedClient, SimulatedPeer};
use crate::environment::{Environment, ServiceSchedule};
use crate::scenario::fault::FaultKind;
use crate::trace::{CycleResult, EventKind, EventObserver};
use crate::{Millis, Scenario};

/// The cost of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunStats {
    /// The number of engine steps: polls, beginnings of cycles, tries after the first, questions
    /// that reach a peer, and ends of cycles.
    pub events: u64,
    /// The memory at the end, in bytes for each node: state, peer list and scheduled steps.
    pub bytes: f64,
}

/// A fault that a population does not play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a population has no bytes and no disks, so it cannot play the fault `{0}`. The shipped code can play it: simnet run --full"
)]
pub struct UnsupportedFault(pub FaultKind);

/// Refuses a world with a fault that a population cannot play.
pub fn check_playable(scenario: &Scenario) -> Result<(), UnsupportedFault> {
    let mut kinds = scenario.faults.iter().map(|fault| fault.kind);
    kinds
        .find(|kind| !kind.is_played_by_population())
        .map_or(Ok(()), |kind| Err(UnsupportedFault(kind)))
}

/// Plays a world from its beginning up to its horizon, and passes every event to `observer`.
///
/// # Panics
/// If [`check_playable`] refuses the world, because its results would be wrong.
pub fn run(environment: &Environment, observer: &mut impl EventObserver) -> RunStats {
    check_playable(&environment.scenario).unwrap_or_else(|fault| panic!("{fault}"));
    let mut population = Population::new(environment, observer);
    let mut events = 0;
    while let Some((now, node, step)) = population.queue.pop() {
        events += 1;
        population.prefetch();
        population.step(now, node, step);
    }
    let nodes = environment.scenario.nodes;
    RunStats { events, bytes: population.bytes() as f64 / f64::from(nodes.max(1)) }
}

/// An estimate of the memory that a run needs, in bytes. If every node installs each release before
/// the third release after it, the run takes slightly less.
pub fn bytes_needed(scenario: &Scenario) -> u64 {
    let peers = u64::from(scenario.peers);
    let each =
        size_of::<ServiceSchedule>() + size_of::<SimulatedPeer>() + size_of::<SimulatedClient>();
    let mirror = if scenario.mirrors.can_fail() { size_of::<ServiceSchedule>() } else { 0 };
    // The peer list, and the largest head of each peer.
    let each = (each + mirror) as u64 + peers * 8;
    // Two scheduled steps of a node, half of its questions, and the queue's other arrays.
    let queue = (2 + peers / 2) * 24 * 5 / 4;
    let round = size_of::<ActiveRound>() as u64 + peers * size_of::<PeerSlot>() as u64;
    let kept = 2 * kept_rounds::bytes_per_round(peers);
    (1 << 16) + u64::from(scenario.nodes) * (each + queue + round / 4 + kept)
}

impl<W: EventObserver> Population<'_, W> {
    fn step(&mut self, now: Millis, node: u32, step: NodeStep) {
        match step {
            NodeStep::Poll => self.poll_mirror(now, node),
            NodeStep::BeginCycle => self.begin_cycle(now, node),
            NodeStep::TryPeer { round, peer_index, tries } => {
                self.try_peer(now, node, round, peer_index, tries)
            }
            NodeStep::ReceiveQuestion { round, peer_index, fault } => {
                self.receive_question(now, node, (round, peer_index), fault)
            }
            NodeStep::CloseRound { round } => self.close_round(now, node, round),
            NodeStep::GoOffline => self.go_offline(node),
        }
    }

    /// Turns a node off. It loses its unsaved state: whether its head is fresh, and the round in
    /// progress. Steps of that round that are still scheduled find that no client owns it.
    fn go_offline(&mut self, node: u32) {
        self.peers[node as usize].is_fresh = false;
        self.clients[node as usize].active_round = None;
    }

    /// Loads the data of the next steps into the processor's cache, and has no other effect.
    fn prefetch(&self) {
        let peers = self.environment.scenario.peers as usize;
        let mut seen = 0;
        for (node, step) in self.queue.upcoming_batch() {
            seen ^= u32::from(self.peers[node as usize].latched);
            match step {
                NodeStep::BeginCycle | NodeStep::CloseRound { .. } => {
                    seen ^= self.clients[node as usize].cycles;
                    seen ^= self.environment.peers_of(node).first().copied().unwrap_or(0);
                    let largest = &self.largest[node as usize * peers..][..peers];
                    seen ^= largest.first().map_or(0, |tree| tree.size());
                }
                NodeStep::ReceiveQuestion { round, .. } => {
                    seen ^= self.active_rounds.get(round).closes_after
                }
                NodeStep::Poll | NodeStep::TryPeer { .. } | NodeStep::GoOffline => {}
            }
        }
        for (node, step) in self.queue.upcoming_batch() {
            match step {
                NodeStep::BeginCycle => {
                    for peer in self.environment.peers_of(node) {
                        seen ^= u32::from(self.services[*peer as usize].was_up());
                    }
                }
                NodeStep::CloseRound { round } => {
                    seen ^= self.active_rounds.slots(round)[0].came_after
                }
                _ => {}
            }
        }
        std::hint::black_box(seen);
    }

    fn close_round(&mut self, now: Millis, node: u32, id: ActiveRoundId) {
        if self.clients[node as usize].active_round.take_if(|round| *round == id).is_none() {
            self.active_rounds.free(id);
            return;
        }
        let began = self.active_rounds.get(id).began_at;
        let mut cycle = self.decide(now, node, id);
        self.active_rounds.free(id);
        match cycle {
            CycleResult::Fork => self.store_evidence(now, node),
            // The peer role may have found a fork in the meantime.
            CycleResult::Installed { .. } if self.peers[node as usize].latched => {
                cycle = CycleResult::Latched
            }
            CycleResult::Installed { index, chain } => self.record_install(node, index, chain),
            _ => {}
        }
        self.emit(now, node, EventKind::Cycled(now - began, cycle));
    }
}
