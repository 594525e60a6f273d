//! Rolls that are being called, and the answers to each so far.

use super::answer::Answer;
use crate::Millis;

/// The place of a call in progress.
pub(super) type Id = std::num::NonZeroU32;

/// A roll that is being called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) began: Millis,
    pub(super) client: u32,
    /// The client's cycle, from 0.
    pub(super) cycle: u32,
    /// How many peers have neither answered nor been given up.
    pub(super) waiting: u32,
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

    pub(super) fn start(&mut self, began: Millis, client: u32, cycle: u32) -> Id {
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

    pub(super) fn get_mut(&mut self, id: Id) -> &mut Call {
        &mut self.calls[id.get() as usize - 1]
    }

    pub(super) fn slots(&self, id: Id) -> &[Slot] {
        &self.slots[(id.get() as usize - 1) * self.circle..][..self.circle]
    }

    pub(super) fn slots_mut(&mut self, id: Id) -> &mut [Slot] {
        &mut self.slots[(id.get() as usize - 1) * self.circle..][..self.circle]
    }

    pub(super) fn bytes(&self) -> usize {
        self.calls.capacity() * size_of::<Call>()
            + self.slots.capacity() * size_of::<Slot>()
            + self.free.capacity() * size_of::<Id>()
    }
}
