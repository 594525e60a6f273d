//! A run of a population: every step, in order of time.

use super::active_rounds::{ActiveRound, ActiveRoundId, PeerSlot};
use super::kept_rounds;
use super::model::{NodeStep, Population};
use super::node::{SimulatedClient, SimulatedPeer};
use crate::environment::{Environment, ServiceSchedule};
use crate::scenario::fault::FaultKind;
use crate::trace::{CycleResult, EventKind, EventObserver};
use crate::{Millis, Scenario};

/// What a run took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RunStats {
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
pub struct UnsupportedFault(pub FaultKind);

/// Refuses a world in which something happens that a population would have to leave out.
pub fn check_playable(scenario: &Scenario) -> Result<(), UnsupportedFault> {
    let mut kinds = scenario.faults.iter().map(|fault| fault.kind);
    kinds
        .find(|kind| !kind.is_played_by_population())
        .map_or(Ok(()), |kind| Err(UnsupportedFault(kind)))
}

/// Plays a world from its beginning to its horizon, which itself is no part of it.
///
/// # Panics
/// If it is a world that [`check_playable`] refuses: what came of it would be told as if it were true.
pub fn run(environment: &Environment, witness: &mut impl EventObserver) -> RunStats {
    check_playable(&environment.scenario).unwrap_or_else(|why| panic!("{why}"));
    let mut population = Population::new(environment, witness);
    let mut events = 0;
    while let Some((now, node, step)) = population.queue.pop() {
        events += 1;
        population.prefetch();
        population.step(now, node, step);
    }
    let nodes = environment.scenario.nodes;
    RunStats { events, bytes: population.bytes() as f64 / f64::from(nodes.max(1)) }
}

/// About how much memory a run needs, in bytes: a little more than it takes when every release is
/// installed before the next but two comes.
pub fn bytes_needed(scenario: &Scenario) -> u64 {
    let circle = u64::from(scenario.peers);
    let each =
        size_of::<ServiceSchedule>() + size_of::<SimulatedPeer>() + size_of::<SimulatedClient>();
    let mirror = if scenario.mirrors.can_fail() { size_of::<ServiceSchedule>() } else { 0 };
    // The circle, and the largest view of each of its peers.
    let each = (each + mirror) as u64 + circle * 8;
    // Two events a node that are to come, half a node's questions, and a queue's other arrays.
    let queue = (2 + circle / 2) * 24 * 5 / 4;
    let call = size_of::<ActiveRound>() as u64 + circle * size_of::<PeerSlot>() as u64;
    let kept = 2 * kept_rounds::bytes_per_round(circle);
    (1 << 16) + u64::from(scenario.nodes) * (each + queue + call / 4 + kept)
}

impl<W: EventObserver> Population<'_, W> {
    fn step(&mut self, now: Millis, node: u32, step: NodeStep) {
        match step {
            NodeStep::Poll => self.poll_mirror(now, node),
            NodeStep::BeginCycle => self.begin_cycle(now, node),
            NodeStep::TryPeer { round: call, place, tries } => {
                self.try_peer(now, node, call, place, tries)
            }
            NodeStep::ReceiveQuestion { round: call, place, fault } => {
                self.receive_question(now, node, (call, place), fault)
            }
            NodeStep::CloseRound { round: call } => self.close_round(now, node, call),
            NodeStep::GoOffline => self.go_offline(node),
        }
    }

    /// What a node knows only while it runs is lost: that its head is fresh, and the roll that it is
    /// calling. What is still to come of that finds that it is nobody's.
    fn go_offline(&mut self, node: u32) {
        self.peers[node as usize].is_fresh = false;
        self.clients[node as usize].active_round = None;
    }

    /// Fetches from memory what the next events need. It changes nothing but how long that takes.
    fn prefetch(&self) {
        let circle = self.environment.scenario.peers as usize;
        let mut seen = 0;
        for (node, step) in self.queue.upcoming_batch() {
            seen ^= u32::from(self.peers[node as usize].latched);
            match step {
                NodeStep::BeginCycle | NodeStep::CloseRound { .. } => {
                    seen ^= self.clients[node as usize].cycles;
                    seen ^= self.environment.peers_of(node).first().copied().unwrap_or(0);
                    let largest = &self.largest[node as usize * circle..][..circle];
                    seen ^= largest.first().map_or(0, |tree| tree.size());
                }
                NodeStep::ReceiveQuestion { round: call, .. } => {
                    seen ^= self.active_rounds.get(call).closes_after
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
                NodeStep::CloseRound { round: call } => {
                    seen ^= self.active_rounds.slots(call)[0].came_after
                }
                _ => {}
            }
        }
        std::hint::black_box(seen);
    }

    fn close_round(&mut self, now: Millis, node: u32, id: ActiveRoundId) {
        if self.clients[node as usize].active_round.take_if(|call| *call == id).is_none() {
            self.active_rounds.free(id);
            return;
        }
        let began = self.active_rounds.get(id).began_at;
        let mut cycle = self.decide(now, node, id);
        self.active_rounds.free(id);
        match cycle {
            CycleResult::Fork => self.store_evidence(now, node),
            // The peer role may have found out in the meantime.
            CycleResult::Installed { .. } if self.peers[node as usize].latched => {
                cycle = CycleResult::Latched
            }
            CycleResult::Installed { index, chain } => self.record_install(node, index, chain),
            _ => {}
        }
        self.emit(now, node, EventKind::Cycled(now - began, cycle));
    }
}
