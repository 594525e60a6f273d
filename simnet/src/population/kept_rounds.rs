//! Rounds that are kept while a release settles. Most nodes have none most of the time.

use super::packed_head::PackedHead;

/// One peer's answer in a round: the head, and when the peer signed it, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnsweredHead {
    pub(super) head: PackedHead,
    pub(super) signed: i32,
}

/// The linked list of a node's kept rounds, earliest first. It is stored as the number of its first
/// round, which is that round's index in the pool plus one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptRounds(Option<std::num::NonZeroU32>);

impl KeptRounds {
    pub(super) fn is_some(self) -> bool {
        self.0.is_some()
    }
}

/// A kept round: the time at which it closed, in seconds, and the node's next kept round.
#[derive(Clone, Copy, Debug)]
struct KeptRound {
    at: u32,
    next: KeptRounds,
}

/// The kept rounds of all nodes. Each round has an answer of every peer.
#[derive(Clone, Debug)]
pub(super) struct KeptRoundPool {
    peers_per_node: usize,
    rounds: Vec<KeptRound>,
    entries: Vec<AnsweredHead>,
    free: KeptRounds,
}

/// The memory of one kept round, in bytes.
pub(super) fn bytes_per_round(peers: u64) -> u64 {
    size_of::<KeptRound>() as u64 + peers * size_of::<AnsweredHead>() as u64
}

impl KeptRoundPool {
    pub(super) fn new(peers: u32) -> KeptRoundPool {
        KeptRoundPool {
            peers_per_node: peers as usize,
            rounds: Vec::new(),
            entries: Vec::new(),
            free: KeptRounds::default(),
        }
    }

    /// A node's kept rounds, earliest first: when each closed, in seconds, and its answers.
    pub(super) fn iter(
        &self,
        mut kept: KeptRounds,
    ) -> impl Iterator<Item = (u32, &[AnsweredHead])> + Clone {
        std::iter::from_fn(move || {
            let index = kept.0?.get() as usize - 1;
            let round = self.rounds[index];
            kept = round.next;
            Some((round.at, &self.entries[index * self.peers_per_node..][..self.peers_per_node]))
        })
    }

    /// Adds a round at the end of a node's kept rounds, drops every round that is not `needed`, and
    /// returns the new list. The argument of `needed` is a round's position from 0; the added round
    /// is last.
    pub(super) fn keep(
        &mut self,
        kept: KeptRounds,
        at: u32,
        entries: &[AnsweredHead],
        needed: impl Fn(usize) -> bool,
    ) -> KeptRounds {
        let mut still_kept = Vec::new();
        let mut rest = kept;
        let mut position = 0;
        while let Some(id) = rest.0 {
            rest = self.rounds[id.get() as usize - 1].next;
            if needed(position) {
                still_kept.push(KeptRounds(Some(id)));
            } else {
                self.free_round(id);
            }
            position += 1;
        }
        if needed(position) {
            still_kept.push(self.allocate(at, entries));
        }
        let mut next = KeptRounds::default();
        for id in still_kept.into_iter().rev() {
            self.round_mut(id).expect("a kept round").next = next;
            next = id;
        }
        next
    }

    fn round_mut(&mut self, id: KeptRounds) -> Option<&mut KeptRound> {
        id.0.map(|id| &mut self.rounds[id.get() as usize - 1])
    }

    fn free_round(&mut self, id: std::num::NonZeroU32) {
        self.rounds[id.get() as usize - 1].next = self.free;
        self.free = KeptRounds(Some(id));
    }

    fn allocate(&mut self, at: u32, entries: &[AnsweredHead]) -> KeptRounds {
        let round = KeptRound { at, next: KeptRounds::default() };
        if let Some(id) = self.free.0 {
            let index = id.get() as usize - 1;
            self.free = self.rounds[index].next;
            self.rounds[index] = round;
            self.entries[index * self.peers_per_node..][..self.peers_per_node]
                .copy_from_slice(entries);
            return KeptRounds(Some(id));
        }
        // Growth by an eighth: doubling could leave the array half empty.
        if self.rounds.len() == self.rounds.capacity() {
            let more = self.rounds.len() / 8 + 64;
            self.rounds.reserve_exact(more);
            self.entries.reserve_exact(more * self.peers_per_node);
        }
        self.rounds.push(round);
        self.entries.extend_from_slice(entries);
        KeptRounds(std::num::NonZeroU32::new(self.rounds.len() as u32))
    }

    pub(super) fn bytes(&self) -> usize {
        self.rounds.capacity() * size_of::<KeptRound>()
            + self.entries.capacity() * size_of::<AnsweredHead>()
    }
}
