//! Rounds in progress, and the answers to each so far.

use super::answer::PeerAnswer;
use crate::Millis;

/// The number of a round in progress, from 1: its index plus one.
pub(super) type ActiveRoundId = std::num::NonZeroU32;

/// A round in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct ActiveRound {
    pub(super) began_at: Millis,
    pub(super) client: u32,
    /// The client's cycle, from 0.
    pub(super) cycle: u32,
    /// The number of peers that have neither answered nor been given up.
    pub(super) waiting: u32,
    /// When the round closes, in ms after it began. While peers are waiting, it is a lower bound.
    pub(super) closes_after: u32,
}

/// One peer's part of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerSlot {
    pub(super) answer: Option<PeerAnswer>,
    /// When the answer was signed, in seconds after the world's beginning.
    pub(super) signed: i32,
    /// When the answer arrived or the peer was given up, in ms after the round began.
    pub(super) came_after: u32,
}

const UNANSWERED_SLOT: PeerSlot = PeerSlot { answer: None, signed: 0, came_after: 0 };

/// All rounds in progress. Slots and numbers are reused.
#[derive(Clone, Debug)]
pub(super) struct ActiveRounds {
    peers_per_node: usize,
    rounds: Vec<ActiveRound>,
    slots: Vec<PeerSlot>,
    free: Vec<ActiveRoundId>,
}

impl ActiveRounds {
    pub(super) fn new(peers: u32) -> ActiveRounds {
        ActiveRounds {
            peers_per_node: peers as usize,
            rounds: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, began: Millis, client: u32, cycle: u32) -> ActiveRoundId {
        let round = ActiveRound {
            began_at: began,
            client,
            cycle,
            waiting: self.peers_per_node as u32,
            closes_after: 0,
        };
        if let Some(id) = self.free.pop() {
            *self.get_mut(id) = round;
            self.slots_mut(id).fill(UNANSWERED_SLOT);
            return id;
        }
        self.rounds.push(round);
        self.slots.resize(self.slots.len() + self.peers_per_node, UNANSWERED_SLOT);
        ActiveRoundId::new(self.rounds.len() as u32).expect("one was just pushed")
    }

    pub(super) fn free(&mut self, id: ActiveRoundId) {
        self.free.push(id);
    }

    pub(super) fn get(&self, id: ActiveRoundId) -> &ActiveRound {
        &self.rounds[id.get() as usize - 1]
    }

    pub(super) fn get_mut(&mut self, id: ActiveRoundId) -> &mut ActiveRound {
        &mut self.rounds[id.get() as usize - 1]
    }

    pub(super) fn slots(&self, id: ActiveRoundId) -> &[PeerSlot] {
        &self.slots[(id.get() as usize - 1) * self.peers_per_node..][..self.peers_per_node]
    }

    pub(super) fn slots_mut(&mut self, id: ActiveRoundId) -> &mut [PeerSlot] {
        &mut self.slots[(id.get() as usize - 1) * self.peers_per_node..][..self.peers_per_node]
    }

    pub(super) fn bytes(&self) -> usize {
        self.rounds.capacity() * size_of::<ActiveRound>()
            + self.slots.capacity() * size_of::<PeerSlot>()
            + self.free.capacity() * size_of::<ActiveRoundId>()
    }
}
