//! The tries at each peer in a round, modelled on `round` of `unanimity_client`.

use unanimity_client::draw_retry_delays;

use super::active_rounds::{ActiveRound, ActiveRoundId};
use super::answer::{PeerAnswer, signing_second};
use super::model::{NodeStep, Population};
use super::packed_head::PackedHead;
use crate::Millis;
use crate::environment::ConnectOutcome;
use crate::scenario::fault::FaultKind;
use crate::trace::{CycleResult, EventKind, EventObserver};

/// The number of tries at one peer in one round.
const MAX_TRIES: u8 = 4;

impl<W: EventObserver> Population<'_, W> {
    pub(super) fn begin_cycle(&mut self, now: Millis, node: u32) {
        let client = &mut self.clients[node as usize];
        if let Some(id) = client.active_round {
            let round = self.active_rounds.get(id);
            if round.waiting == 0 && round.began_at + Millis::from(round.closes_after) == now {
                // The previous cycle ends in this millisecond, so this one begins after it.
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
        for peer_index in 0..self.environment.scenario.peers {
            self.try_peer(now, node, id, peer_index as u8, 0);
        }
    }

    /// Makes one try at one peer. Either the question will arrive and its answer will be in time,
    /// or the try fails. Then the next try is scheduled, or the peer is given up.
    pub(super) fn try_peer(
        &mut self,
        now: Millis,
        node: u32,
        id: ActiveRoundId,
        peer_index: u8,
        tries: u8,
    ) {
        if self.clients[node as usize].active_round != Some(id) {
            self.finish_peer(id, peer_index);
            return;
        }
        let environment = self.environment;
        let scenario = &environment.scenario;
        let ActiveRound { began_at, cycle, .. } = *self.active_rounds.get(id);
        let peer = environment.peers_of(node)[peer_index as usize];
        let closes = began_at + scenario.round_timeout;
        let deadline = closes.min(now + scenario.ask_timeout);

        let up = self.services[peer as usize].is_up(environment, peer, now)
            && !environment.is_offline(peer, now);
        let (client_and_peer, cycle_and_try) = ((node, peer), (u64::from(cycle), u64::from(tries)));
        let failed = match environment.connect_outcome(client_and_peer, cycle_and_try, now, up) {
            ConnectOutcome::Connected(wait) if now + wait <= deadline => {
                let (there, back) = environment.round_trip(client_and_peer, cycle_and_try);
                let connects = now + wait;
                let arrives = connects + there;
                let fault = environment.peer_fault(peer, node, connects);
                let is_silent = fault == Some(FaultKind::Silent);
                let until = if is_silent { deadline } else { arrives };
                // A peer that goes off breaks its connections. A client that goes off before it is
                // connected never sends its question.
                let broken = environment.first_offline_at(peer, now, until);
                let broken = broken.or(environment.first_offline_at(node, now, connects));
                if let Some(broken) = broken {
                    deadline.min(broken.max(connects))
                } else if !is_silent && arrives + back <= deadline {
                    self.active_rounds.slots_mut(id)[peer_index as usize].came_after =
                        (arrives + back - began_at) as u32;
                    self.schedule(
                        arrives,
                        peer,
                        NodeStep::ReceiveQuestion { round: id, peer_index, fault },
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
            .then(|| failed + self.retry_wait(node, cycle, peer_index, tries))
            .filter(|again| *again < closes);
        match again {
            Some(again) => {
                self.schedule(
                    again,
                    node,
                    NodeStep::TryPeer { round: id, peer_index, tries: tries + 1 },
                );
            }
            None => {
                self.active_rounds.slots_mut(id)[peer_index as usize].came_after =
                    (failed - began_at) as u32;
                self.finish_peer(id, peer_index);
            }
        }
    }

    /// The wait of a client after a failed try at a peer, in milliseconds.
    fn retry_wait(&self, node: u32, cycle: u32, peer_index: u8, tries: u8) -> Millis {
        let mut rng = self.environment.cycle_rng(node, cycle.into());
        for _ in 0..peer_index {
            draw_retry_delays(&mut rng);
        }
        draw_retry_delays(&mut rng)[tries as usize].as_millis() as Millis
    }

    /// Answers a question that reaches a peer. The answer will be in time, as the try has checked.
    pub(super) fn receive_question(
        &mut self,
        now: Millis,
        peer: u32,
        (id, peer_index): (ActiveRoundId, u8),
        fault: Option<FaultKind>,
    ) {
        let client = self.active_rounds.get(id).client;
        let (answer, signed) = match (self.environment.lying_head(peer, client, now), fault) {
            (Some(head), _) => {
                (PeerAnswer::Head(PackedHead::new(head, self.split)), signing_second(now))
            }
            (None, Some(kind)) => self.answer_with_fault(now, peer, kind),
            (None, None) => (self.answer(now, peer), signing_second(now)),
        };
        let slot = &mut self.active_rounds.slots_mut(id)[peer_index as usize];
        (slot.answer, slot.signed) = (Some(answer), signed);
        self.finish_peer(id, peer_index);
    }

    /// Marks a peer's part of a round as final. Schedules the end of the round if no other peer is
    /// waited for.
    fn finish_peer(&mut self, id: ActiveRoundId, peer_index: u8) {
        let came_after = self.active_rounds.slots(id)[peer_index as usize].came_after;
        let round = self.active_rounds.get_mut(id);
        round.closes_after = round.closes_after.max(came_after);
        round.waiting -= 1;
        if round.waiting == 0 {
            let at = round.began_at + Millis::from(round.closes_after);
            let client = round.client;
            self.schedule(at, client, NodeStep::CloseRound { round: id });
        }
    }
}
