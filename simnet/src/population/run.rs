//! A run of a population: every step, in order of time.

use super::calls::{Call, Id, Slot};
use super::kept;
use super::model::{Population, Step};
use super::node::{Client, Peer};
use crate::environment::{Environment, Service};
use crate::scenario::fault::Kind;
use crate::trace::{Cycle, What, Witness};
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

impl<W: Witness> Population<'_, W> {
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

    fn close(&mut self, now: Millis, node: u32, id: Id) {
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
}
