//! Calling the roll: the tries at each peer, as `unanimity_client`'s `ask` makes them.

use unanimity_client::draw_retry_delays;

use super::answer::{Answer, signed};
use super::calls::{Call, Id};
use super::model::{Population, Step};
use super::tree::Tree;
use crate::Millis;
use crate::environment::Connect;
use crate::scenario::fault::Kind;
use crate::trace::{Cycle, What, Witness};

/// How often one peer is asked in one roll.
const MAX_TRIES: u8 = 4;

impl<W: Witness> Population<'_, W> {
    pub(super) fn begin(&mut self, now: Millis, node: u32) {
        let client = &mut self.clients[node as usize];
        if let Some(id) = client.call {
            let call = self.calls.get(id);
            if call.waiting == 0 && call.began + Millis::from(call.closes) == now {
                // The cycle before ends just now, and so has ended.
                self.arrange(now, node, Step::Begin);
                return;
            }
        }
        let cycle = client.cycles;
        client.cycles += 1;
        let next = now + self.environment.roll_wait(node, client.cycles.into());
        let is_busy = client.call.is_some();
        self.arrange(next, node, Step::Begin);
        if is_busy || self.environment.is_off(node, now) {
            return;
        }
        if self.peers[node as usize].latched {
            self.tell(now, node, What::Cycled(0, Cycle::Latched));
            return;
        }
        let id = self.calls.start(now, node, cycle);
        self.clients[node as usize].call = Some(id);
        for place in 0..self.environment.scenario.circle {
            self.connect(now, node, id, place as u8, 0);
        }
    }

    /// One try at one peer: either its question will arrive, and the answer in time, or the try fails.
    pub(super) fn connect(&mut self, now: Millis, node: u32, id: Id, place: u8, tries: u8) {
        if self.clients[node as usize].call != Some(id) {
            self.settled(id, place);
            return;
        }
        let environment = self.environment;
        let scenario = &environment.scenario;
        let Call { began, cycle, .. } = *self.calls.get(id);
        let peer = environment.circle(node)[place as usize];
        let closes = began + scenario.roll_timeout;
        let deadline = closes.min(now + scenario.ask_timeout);

        let up = self.services[peer as usize].is_up(environment, peer, now)
            && !environment.is_off(peer, now);
        let named = ((node, peer), (u64::from(cycle), u64::from(tries)));
        let failed = match environment.connect(named.0, named.1, now, up) {
            Connect::After(wait) if now + wait <= deadline => {
                let (there, back) = environment.round_trip(named.0, named.1);
                let connects = now + wait;
                let arrives = connects + there;
                let fault = environment.peer_fault(peer, node, connects);
                let is_silent = fault == Some(Kind::Silent);
                let until = if is_silent { deadline } else { arrives };
                // A peer that goes off takes its connections with it; a client never sends a question
                // that it did not come to.
                let broken = environment.goes_off(peer, now, until);
                let broken = broken.or(environment.goes_off(node, now, connects));
                if let Some(broken) = broken {
                    deadline.min(broken.max(connects))
                } else if !is_silent && arrives + back <= deadline {
                    self.calls.slots_mut(id)[place as usize].came = (arrives + back - began) as u32;
                    self.arrange(arrives, peer, Step::Question { call: id, place, fault });
                    return;
                } else {
                    deadline
                }
            }
            Connect::Refused(wait) => deadline.min(now + wait),
            Connect::After(_) | Connect::Never => deadline,
        };
        let again = (tries + 1 < MAX_TRIES)
            .then(|| failed + self.wait(node, cycle, place, tries))
            .filter(|again| *again < closes);
        match again {
            Some(again) => {
                self.arrange(again, node, Step::Try { call: id, place, tries: tries + 1 });
            }
            None => {
                self.calls.slots_mut(id)[place as usize].came = (failed - began) as u32;
                self.settled(id, place);
            }
        }
    }

    /// How long a client waits after one of its tries at a peer failed.
    fn wait(&self, node: u32, cycle: u32, place: u8, tries: u8) -> Millis {
        let mut rng = self.environment.cycle_rng(node, cycle.into());
        for _ in 0..place {
            draw_retry_delays(&mut rng);
        }
        draw_retry_delays(&mut rng)[tries as usize].as_millis() as Millis
    }

    /// A question reaches a peer, whose answer will be in time.
    pub(super) fn question(
        &mut self,
        now: Millis,
        peer: u32,
        (id, place): (Id, u8),
        fault: Option<Kind>,
    ) {
        let client = self.calls.get(id).client;
        let (answer, signed) = match (self.environment.lie(peer, client, now), fault) {
            (Some(view), _) => (Answer::View(Tree::new(view, self.split)), signed(now)),
            (None, Some(kind)) => self.answer_badly(now, peer, kind),
            (None, None) => (self.answer(now, peer), signed(now)),
        };
        let slot = &mut self.calls.slots_mut(id)[place as usize];
        (slot.answer, slot.signed) = (Some(answer), signed);
        self.settled(id, place);
    }

    /// Nothing more is to be learned of a peer than its slot says.
    fn settled(&mut self, id: Id, place: u8) {
        let came = self.calls.slots(id)[place as usize].came;
        let call = self.calls.get_mut(id);
        call.closes = call.closes.max(came);
        call.waiting -= 1;
        if call.waiting == 0 {
            let at = call.began + Millis::from(call.closes);
            let client = call.client;
            self.arrange(at, client, Step::Close { call: id });
        }
    }
}
