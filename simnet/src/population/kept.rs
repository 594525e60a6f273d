//! Rolls that are kept while a release settles: nothing for most nodes most of the time.

use super::tree::Tree;

/// One peer's view in a roll: what it vouched for, and when, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) tree: Tree,
    pub(super) signed: i32,
}

/// A node's kept rolls, earliest first: the place of the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept(Option<std::num::NonZeroU32>);

impl Kept {
    pub(super) fn is_some(self) -> bool {
        self.0.is_some()
    }
}

/// When a roll closed, in seconds, and where its node's next one is.
#[derive(Clone, Copy, Debug)]
struct Roll {
    at: u32,
    next: Kept,
}

/// All kept rolls. Each has a view of every peer.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    circle: usize,
    rolls: Vec<Roll>,
    entries: Vec<Entry>,
    free: Kept,
}

/// What one kept roll takes.
pub(super) fn bytes(circle: u64) -> u64 {
    size_of::<Roll>() as u64 + circle * size_of::<Entry>() as u64
}

impl Pool {
    pub(super) fn new(circle: u32) -> Pool {
        Pool {
            circle: circle as usize,
            rolls: Vec::new(),
            entries: Vec::new(),
            free: Kept::default(),
        }
    }

    /// A node's rolls, earliest first: when each closed, and its views.
    pub(super) fn iter(&self, mut kept: Kept) -> impl Iterator<Item = (u32, &[Entry])> + Clone {
        std::iter::from_fn(move || {
            let place = kept.0?.get() as usize - 1;
            let roll = self.rolls[place];
            kept = roll.next;
            Some((roll.at, &self.entries[place * self.circle..][..self.circle]))
        })
    }

    /// Keeps one more, after all others, and of all of them only those that are needed.
    pub(super) fn keep(
        &mut self,
        kept: Kept,
        at: u32,
        entries: &[Entry],
        needed: impl Fn(usize) -> bool,
    ) -> Kept {
        let mut places = Vec::new();
        let mut rest = kept;
        let mut position = 0;
        while let Some(place) = rest.0 {
            rest = self.rolls[place.get() as usize - 1].next;
            if needed(position) {
                places.push(Kept(Some(place)));
            } else {
                self.release(place);
            }
            position += 1;
        }
        if needed(position) {
            places.push(self.place(at, entries));
        }
        let mut next = Kept::default();
        for place in places.into_iter().rev() {
            self.roll_mut(place).expect("a place").next = next;
            next = place;
        }
        next
    }

    fn roll_mut(&mut self, place: Kept) -> Option<&mut Roll> {
        place.0.map(|place| &mut self.rolls[place.get() as usize - 1])
    }

    fn release(&mut self, place: std::num::NonZeroU32) {
        self.rolls[place.get() as usize - 1].next = self.free;
        self.free = Kept(Some(place));
    }

    fn place(&mut self, at: u32, entries: &[Entry]) -> Kept {
        let roll = Roll { at, next: Kept::default() };
        if let Some(place) = self.free.0 {
            let index = place.get() as usize - 1;
            self.free = self.rolls[index].next;
            self.rolls[index] = roll;
            self.entries[index * self.circle..][..self.circle].copy_from_slice(entries);
            return Kept(Some(place));
        }
        // Doubled, the array could be half empty.
        if self.rolls.len() == self.rolls.capacity() {
            let more = self.rolls.len() / 8 + 64;
            self.rolls.reserve_exact(more);
            self.entries.reserve_exact(more * self.circle);
        }
        self.rolls.push(roll);
        self.entries.extend_from_slice(entries);
        Kept(std::num::NonZeroU32::new(self.rolls.len() as u32))
    }

    pub(super) fn bytes(&self) -> usize {
        self.rolls.capacity() * size_of::<Roll>() + self.entries.capacity() * size_of::<Entry>()
    }
}
