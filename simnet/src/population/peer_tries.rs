//! Calling the roll: the tries at each peer, as `unanimity_client`'s `ask` makes them.

use unanimity_client::draw_retry_delays;

use super::active_rounds::{ActiveRound, ActiveRoundId};
use super::answer::{PeerAnswer, signing_second};
use super::model::{NodeStep, Population};
use super::packed_head::PackedHead;
use crate::Millis;
use crate::environment::ConnectOutcome;
use crate::scenario::fault::FaultKind;
use crate::trace::{CycleResult, EventKind, EventObserver};

/// How often one peer is asked in one roll.
const MAX_TRIES: u8 = 4;

impl<W: EventObserver> Population<'_, W> {
    pub(super) fn begin_cycle(&mut self, now: Millis, node: u32) {
        let client = &mut self.clients[node as usize];
        if let Some(id) = client.active_round {
            let call = self.active_rounds.get(id);
            if call.waiting == 0 && call.began_at + Millis::from(call.closes_after) == now {
                // The cycle before ends just now, and so has ended.
                self.schedule(now, node, NodeStep::BeginCycle);
                return;
            }
        }
        let cycle = client.cycles;
        client.cycles += 1;
        let next = now + self.environment.round_wait(node, client.cycles.into());
        let is_busy = client.active_round.is_some();
        self.schedule(next, node, NodeStep::BeginCycle);
        if is_busy || self.environment.is_offline(node, now) {
            return;
        }
        if self.peers[node as usize].latched {
            self.emit(now, node, EventKind::Cycled(0, CycleResult::Latched));
            return;
        }
        let id = self.active_rounds.start(now, node, cycle);
        self.clients[node as usize].active_round = Some(id);
        for place in 0..self.environment.scenario.peers {
            self.try_peer(now, node, id, place as u8, 0);
        }
    }

    /// One try at one peer: either its question will arrive, and the answer in time, or the try fails.
    pub(super) fn try_peer(
        &mut self,
        now: Millis,
        node: u32,
        id: ActiveRoundId,
        place: u8,
        tries: u8,
    ) {
        if self.clients[node as usize].active_round != Some(id) {
            self.finish_peer(id, place);
            return;
        }
        let environment = self.environment;
        let scenario = &environment.scenario;
        let ActiveRound { began_at: began, cycle, .. } = *self.active_rounds.get(id);
        let peer = environment.peers_of(node)[place as usize];
        let closes = began + scenario.round_timeout;
        let deadline = closes.min(now + scenario.ask_timeout);

        let up = self.services[peer as usize].is_up(environment, peer, now)
            && !environment.is_offline(peer, now);
        let named = ((node, peer), (u64::from(cycle), u64::from(tries)));
        let failed = match environment.connect_outcome(named.0, named.1, now, up) {
            ConnectOutcome::Connected(wait) if now + wait <= deadline => {
                let (there, back) = environment.round_trip(named.0, named.1);
                let connects = now + wait;
                let arrives = connects + there;
                let fault = environment.peer_fault(peer, node, connects);
                let is_silent = fault == Some(FaultKind::Silent);
                let until = if is_silent { deadline } else { arrives };
                // A peer that goes off takes its connections with it; a client never sends a question
                // that it did not come to.
                let broken = environment.first_offline_at(peer, now, until);
                let broken = broken.or(environment.first_offline_at(node, now, connects));
                if let Some(broken) = broken {
                    deadline.min(broken.max(connects))
                } else if !is_silent && arrives + back <= deadline {
                    self.active_rounds.slots_mut(id)[place as usize].came_after =
                        (arrives + back - began) as u32;
                    self.schedule(
                        arrives,
                        peer,
                        NodeStep::ReceiveQuestion { round: id, place, fault },
                    );
                    return;
                } else {
                    deadline
                }
            }
            ConnectOutcome::Refused(wait) => deadline.min(now + wait),
            ConnectOutcome::Connected(_) | ConnectOutcome::Stuck => deadline,
        };
        let again = (tries + 1 < MAX_TRIES)
            .then(|| failed + self.retry_wait(node, cycle, place, tries))
            .filter(|again| *again < closes);
        match again {
            Some(again) => {
                self.schedule(
                    again,
                    node,
                    NodeStep::TryPeer { round: id, place, tries: tries + 1 },
                );
            }
            None => {
                self.active_rounds.slots_mut(id)[place as usize].came_after =
                    (failed - began) as u32;
                self.finish_peer(id, place);
            }
        }
    }

    /// How long a client waits after one of its tries at a peer failed.
    fn retry_wait(&self, node: u32, cycle: u32, place: u8, tries: u8) -> Millis {
        let mut rng = self.environment.cycle_rng(node, cycle.into());
        for _ in 0..place {
            draw_retry_delays(&mut rng);
        }
        draw_retry_delays(&mut rng)[tries as usize].as_millis() as Millis
    }

    /// A question reaches a peer, whose answer will be in time.
    pub(super) fn receive_question(
        &mut self,
        now: Millis,
        peer: u32,
        (id, place): (ActiveRoundId, u8),
        fault: Option<FaultKind>,
    ) {
        let client = self.active_rounds.get(id).client;
        let (answer, signed) = match (self.environment.lying_head(peer, client, now), fault) {
            (Some(view), _) => {
                (PeerAnswer::Head(PackedHead::new(view, self.split)), signing_second(now))
            }
            (None, Some(kind)) => self.answer_with_fault(now, peer, kind),
            (None, None) => (self.answer(now, peer), signing_second(now)),
        };
        let slot = &mut self.active_rounds.slots_mut(id)[place as usize];
        (slot.answer, slot.signed) = (Some(answer), signed);
        self.finish_peer(id, place);
    }

    /// Nothing more is to be learned of a peer than its slot says.
    fn finish_peer(&mut self, id: ActiveRoundId, place: u8) {
        let came = self.active_rounds.slots(id)[place as usize].came_after;
        let call = self.active_rounds.get_mut(id);
        call.closes_after = call.closes_after.max(came);
        call.waiting -= 1;
        if call.waiting == 0 {
            let at = call.began_at + Millis::from(call.closes_after);
            let client = call.client;
            self.schedule(at, client, NodeStep::CloseRound { round: id });
        }
    }
}
