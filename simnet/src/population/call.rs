//! Calling the roll: the tries at each peer, as `unanimity_client`'s `ask` makes them.

use unanimity_client::waits;

use super::peer::{Answer, signed};
use super::{Population, Step, Tree};
use crate::Millis;
use crate::environment::Connect;
use crate::scenario::fault::Kind;
use crate::trace::{Cycle, What, Witness};

/// How often one peer is asked in one roll.
const MAX_TRIES: u8 = 4;

/// The place of a call in progress.
pub(super) type Id = std::num::NonZeroU32;

/// A roll that is being called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) began: Millis,
    client: u32,
    /// The client's cycle, from 0.
    cycle: u32,
    /// How many peers have neither answered nor been given up.
    waiting: u32,
    /// When it closes, once that is known; before, what is known of it. In ms after it began.
    pub(super) closes: u32,
}

/// One peer's part of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) answer: Option<Answer>,
    /// When that was signed, in seconds.
    pub(super) signed: i32,
    /// When it came, in ms after the call began.
    pub(super) came: u32,
}

const UNANSWERED: Slot = Slot { answer: None, signed: 0, came: 0 };

/// The calls in progress.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    circle: usize,
    calls: Vec<Call>,
    slots: Vec<Slot>,
    free: Vec<Id>,
}

impl Calls {
    pub(super) fn new(circle: u32) -> Calls {
        Calls { circle: circle as usize, calls: Vec::new(), slots: Vec::new(), free: Vec::new() }
    }

    fn start(&mut self, began: Millis, client: u32, cycle: u32) -> Id {
        let call = Call { began, client, cycle, waiting: self.circle as u32, closes: 0 };
        if let Some(id) = self.free.pop() {
            *self.get_mut(id) = call;
            self.slots_mut(id).fill(UNANSWERED);
            return id;
        }
        self.calls.push(call);
        self.slots.resize(self.slots.len() + self.circle, UNANSWERED);
        Id::new(self.calls.len() as u32).expect("one was just pushed")
    }

    pub(super) fn free(&mut self, id: Id) {
        self.free.push(id);
    }

    pub(super) fn get(&self, id: Id) -> &Call {
        &self.calls[id.get() as usize - 1]
    }

    fn get_mut(&mut self, id: Id) -> &mut Call {
        &mut self.calls[id.get() as usize - 1]
    }

    pub(super) fn slots(&self, id: Id) -> &[Slot] {
        &self.slots[(id.get() as usize - 1) * self.circle..][..self.circle]
    }

    fn slots_mut(&mut self, id: Id) -> &mut [Slot] {
        &mut self.slots[(id.get() as usize - 1) * self.circle..][..self.circle]
    }

    pub(super) fn bytes(&self) -> usize {
        self.calls.capacity() * size_of::<Call>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<Id>()
    }
}

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
            waits(&mut rng);
        }
        waits(&mut rng)[tries as usize].as_millis() as Millis
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
