//! Rolls that are kept while a release settles: nothing for most nodes most of the time.

use super::packed_head::PackedHead;

/// One peer's view in a roll: what it vouched for, and when, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnsweredHead {
    pub(super) head: PackedHead,
    pub(super) signed: i32,
}

/// A node's kept rolls, earliest first: the place of the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptRounds(Option<std::num::NonZeroU32>);

impl KeptRounds {
    pub(super) fn is_some(self) -> bool {
        self.0.is_some()
    }
}

/// When a roll closed, in seconds, and where its node's next one is.
#[derive(Clone, Copy, Debug)]
struct KeptRound {
    at: u32,
    next: KeptRounds,
}

/// All kept rolls. Each has a view of every peer.
#[derive(Clone, Debug)]
pub(super) struct KeptRoundPool {
    peers_per_node: usize,
    rounds: Vec<KeptRound>,
    entries: Vec<AnsweredHead>,
    free: KeptRounds,
}

/// What one kept roll takes.
pub(super) fn bytes_per_round(circle: u64) -> u64 {
    size_of::<KeptRound>() as u64 + circle * size_of::<AnsweredHead>() as u64
}

impl KeptRoundPool {
    pub(super) fn new(circle: u32) -> KeptRoundPool {
        KeptRoundPool {
            peers_per_node: circle as usize,
            rounds: Vec::new(),
            entries: Vec::new(),
            free: KeptRounds::default(),
        }
    }

    /// A node's rolls, earliest first: when each closed, and its views.
    pub(super) fn iter(
        &self,
        mut kept: KeptRounds,
    ) -> impl Iterator<Item = (u32, &[AnsweredHead])> + Clone {
        std::iter::from_fn(move || {
            let place = kept.0?.get() as usize - 1;
            let roll = self.rounds[place];
            kept = roll.next;
            Some((roll.at, &self.entries[place * self.peers_per_node..][..self.peers_per_node]))
        })
    }

    /// Keeps one more, after all others, and of all of them only those that are needed.
    pub(super) fn keep(
        &mut self,
        kept: KeptRounds,
        at: u32,
        entries: &[AnsweredHead],
        needed: impl Fn(usize) -> bool,
    ) -> KeptRounds {
        let mut places = Vec::new();
        let mut rest = kept;
        let mut position = 0;
        while let Some(place) = rest.0 {
            rest = self.rounds[place.get() as usize - 1].next;
            if needed(position) {
                places.push(KeptRounds(Some(place)));
            } else {
                self.free_round(place);
            }
            position += 1;
        }
        if needed(position) {
            places.push(self.allocate(at, entries));
        }
        let mut next = KeptRounds::default();
        for place in places.into_iter().rev() {
            self.round_mut(place).expect("a place").next = next;
            next = place;
        }
        next
    }

    fn round_mut(&mut self, place: KeptRounds) -> Option<&mut KeptRound> {
        place.0.map(|place| &mut self.rounds[place.get() as usize - 1])
    }

    fn free_round(&mut self, place: std::num::NonZeroU32) {
        self.rounds[place.get() as usize - 1].next = self.free;
        self.free = KeptRounds(Some(place));
    }

    fn allocate(&mut self, at: u32, entries: &[AnsweredHead]) -> KeptRounds {
        let roll = KeptRound { at, next: KeptRounds::default() };
        if let Some(place) = self.free.0 {
            let index = place.get() as usize - 1;
            self.free = self.rounds[index].next;
            self.rounds[index] = roll;
            self.entries[index * self.peers_per_node..][..self.peers_per_node]
                .copy_from_slice(entries);
            return KeptRounds(Some(place));
        }
        // Doubled, the array could be half empty.
        if self.rounds.len() == self.rounds.capacity() {
            let more = self.rounds.len() / 8 + 64;
            self.rounds.reserve_exact(more);
            self.entries.reserve_exact(more * self.peers_per_node);
        }
        self.rounds.push(roll);
        self.entries.extend_from_slice(entries);
        KeptRounds(std::num::NonZeroU32::new(self.rounds.len() as u32))
    }

    pub(super) fn bytes(&self) -> usize {
        self.rounds.capacity() * size_of::<KeptRound>()
            + self.entries.capacity() * size_of::<AnsweredHead>()
    }
}
