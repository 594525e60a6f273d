//! The discrete-event engine: what is to happen, in order of (time, node, sequence).
//!
//! A calendar queue (Brown 1988) over flat arrays, with few, wide days. Events of one day lie in
//! chains of chunks, unordered; a day is sorted when it comes, and what is then still pushed into
//! it goes to a small heap. Events after the calendar's last day wait in one more chain. The
//! calendar is drawn anew, to the number of events and how far off they are on average, when its
//! last day is over or there are four times as many: by Markov's inequality, few events are copied
//! more than once for that. So both ends cost O(1), amortised, unless most events are due at one time,
//! when they cost a sort and a heap.
//!
//! No sequence numbers are stored: chains keep the order of pushes, and the sort is stable.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::Millis;

/// Entries of a chunk.
const CHUNK: usize = 16;
/// Events to a day, if they were spread evenly over the whole calendar.
const DAY: usize = 64;
/// The calendar covers so many times the farthest event.
const AHEAD: u64 = 4;
/// No event is looked upon as farther off than so many times the mean.
const OUTLYING: u64 = 8;
/// Days are shorter than 2^31 ms, so that time and node of one day fit 64 bits.
const LONGEST: u32 = 31;
/// Events that are looked at together before the first of them happens.
const BATCH: usize = 32;
/// No chunk.
const NONE: u32 = u32::MAX;

/// Events that have not happened yet.
#[derive(Clone, Debug)]
pub struct Queue<E> {
    /// The day that has come, sorted; from `at` on it has not been popped.
    today: Vec<Entry<E>>,
    at: usize,
    /// Whether the event popped last was the first of a batch.
    begins: bool,
    /// What was pushed into that day when it was sorted already.
    late: BinaryHeap<Reverse<Late<E>>>,
    pushed_late: u64,
    /// When that day began, and when the next does.
    began: Millis,
    ends: Millis,
    /// The days to come, each of 2^shift ms. The first began when the calendar was drawn.
    days: Vec<Chain>,
    day: usize,
    first: Millis,
    shift: u32,
    beyond: Chain,
    /// The chunks of all chains, one after another, and for each the next in its chain.
    entries: Vec<Entry<E>>,
    next: Vec<u32>,
    free: u32,
    /// Events in chains, and how many there were when the calendar was drawn.
    chained: usize,
    drawn: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry<E> {
    at: Millis,
    node: u32,
    event: E,
}

/// Chunks, linked; all but the last are full.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
    in_last: u32,
}

const EMPTY: Chain = Chain { first: NONE, last: NONE, in_last: 0 };

#[derive(Clone, Debug)]
struct Late<E> {
    sequence: u64,
    entry: Entry<E>,
}

impl<E> Late<E> {
    fn key(&self) -> (Millis, u32, u64) {
        (self.entry.at, self.entry.node, self.sequence)
    }
}

impl<E> Ord for Late<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> PartialOrd for Late<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Late<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Late<E> {}

impl<E: Copy> Default for Queue<E> {
    fn default() -> Self {
        Queue::with_capacity(0)
    }
}

impl<E: Copy> Queue<E> {
    /// With room for so many events.
    pub fn with_capacity(events: usize) -> Queue<E> {
        Queue {
            today: Vec::new(),
            at: 0,
            begins: false,
            late: BinaryHeap::new(),
            pushed_late: 0,
            began: 0,
            ends: 0,
            days: Vec::new(),
            day: 0,
            first: 0,
            shift: 0,
            beyond: EMPTY,
            entries: Vec::with_capacity(events.next_multiple_of(CHUNK)),
            next: Vec::with_capacity(events.div_ceil(CHUNK)),
            free: NONE,
            chained: 0,
            drawn: 0,
        }
    }

    /// How many events are to come.
    pub fn len(&self) -> usize {
        self.chained + self.late.len() + self.today.len() - self.at
    }

    /// Whether nothing is to come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.today.capacity() * size_of::<Entry<E>>()
            + self.late.capacity() * size_of::<Late<E>>()
            + self.days.capacity() * size_of::<Chain>()
            + self.entries.capacity() * size_of::<Entry<E>>()
            + self.next.capacity() * size_of::<u32>()
    }

    /// Something is to happen to a node at a time. Of what happens to one node at one time, what
    /// was pushed first happens first. A time before the last one popped counts as in its day.
    #[inline]
    pub fn push(&mut self, at: Millis, node: u32, event: E) {
        let entry = Entry { at, node, event };
        if at < self.ends {
            self.pushed_late += 1;
            self.late.push(Reverse(Late { sequence: self.pushed_late, entry }));
            return;
        }
        self.chained += 1;
        self.place(entry);
    }

    /// The next event: when, to whom, what.
    #[inline]
    pub fn pop(&mut self) -> Option<(Millis, u32, E)> {
        loop {
            let entry = match (self.today.get(self.at), self.late.peek()) {
                (Some(entry), Some(Reverse(late)))
                    if (late.entry.at, late.entry.node) < (entry.at, entry.node) =>
                {
                    self.begins = false;
                    self.late.pop()?.0.entry
                }
                (Some(entry), _) => {
                    self.begins = self.at.is_multiple_of(BATCH);
                    self.at += 1;
                    *entry
                }
                (None, Some(_)) => {
                    self.begins = false;
                    self.late.pop()?.0.entry
                }
                (None, None) if self.chained == 0 => return None,
                (None, None) => {
                    self.turn();
                    continue;
                }
            };
            return Some((entry.at, entry.node, entry.event));
        }
    }

    /// After a pop, once for each 32 events of a day: that event and the other 31, as far as they
    /// are known; at other times nothing. Whoever looks at what they are about to touch waits
    /// for memory once, and not 32 times.
    #[inline]
    pub fn batch(&self) -> impl Iterator<Item = (u32, E)> {
        let batch = if self.begins { &self.today[self.at - 1..] } else { &[] };
        batch.iter().take(BATCH).map(|entry| (entry.node, entry.event))
    }

    /// Goes on to the next day.
    fn turn(&mut self) {
        if self.day == self.days.len() || self.chained > 4 * self.drawn {
            self.draw();
        }
        let chain = std::mem::replace(&mut self.days[self.day], EMPTY);
        self.began = self.ends;
        self.day += 1;
        self.ends = self.first.saturating_add((self.day as u64) << self.shift);
        self.at = 0;
        let mut today = std::mem::take(&mut self.today);
        today.clear();
        self.empty(chain, |_, entry| today.push(entry));
        self.chained -= today.len();
        let began = self.began;
        today.sort_by_key(|entry| (entry.at - began) << 32 | u64::from(entry.node));
        self.today = today;
    }

    /// Draws the calendar anew, from the end of the day that has come on.
    fn draw(&mut self) {
        let mut days = std::mem::take(&mut self.days);
        let beyond = std::mem::replace(&mut self.beyond, EMPTY);
        let mut sum = 0u128;
        let mut farthest = 0;
        for chain in days[self.day..].iter().chain([&beyond]) {
            self.visit(*chain, |entry| {
                sum += u128::from(entry.at - self.ends);
                farthest = farthest.max(entry.at - self.ends);
            });
        }
        let mean = (sum / self.chained as u128) as u64;
        let covered = farthest.min(mean.saturating_mul(OUTLYING)).saturating_mul(AHEAD) + 1;
        let count = (self.chained / DAY).clamp(16, 1 << 24);
        self.shift = (covered / count as u64).checked_ilog2().map_or(0, |log| log + 1).min(LONGEST);
        (self.first, self.drawn) = (self.ends, self.chained);
        self.days = vec![EMPTY; count];
        let passed = std::mem::take(&mut self.day);
        for chain in days.drain(passed..).chain([beyond]) {
            self.empty(chain, |queue, entry| queue.place(entry));
        }
    }

    /// Puts an event at the end of its chain.
    #[inline]
    fn place(&mut self, entry: Entry<E>) {
        let day = (entry.at - self.first) >> self.shift;
        // Before the calendar is drawn for the first time, everything is beyond it.
        let within = day < self.days.len() as u64;
        let mut chain = if within { self.days[day as usize] } else { self.beyond };
        if chain.last == NONE || chain.in_last as usize == CHUNK {
            let chunk = self.chunk(entry);
            match chain.last {
                NONE => chain.first = chunk,
                last => self.next[last as usize] = chunk,
            }
            (chain.last, chain.in_last) = (chunk, 1);
        } else {
            self.entries[chain.last as usize * CHUNK + chain.in_last as usize] = entry;
            chain.in_last += 1;
        }
        *(if within { &mut self.days[day as usize] } else { &mut self.beyond }) = chain;
    }

    /// A chunk that begins with an entry, and that nobody else uses.
    fn chunk(&mut self, entry: Entry<E>) -> u32 {
        let chunk = self.free;
        if chunk != NONE {
            self.free = std::mem::replace(&mut self.next[chunk as usize], NONE);
            self.entries[chunk as usize * CHUNK] = entry;
            return chunk;
        }
        // Doubled, the largest array of all would be half empty.
        if self.next.len() == self.next.capacity() {
            self.next.reserve_exact(self.next.len() / 8 + 16);
            self.entries.reserve_exact((self.next.len() / 8 + 16) * CHUNK);
        }
        self.next.push(NONE);
        self.entries.resize(self.entries.len() + CHUNK, entry);
        self.next.len() as u32 - 1
    }

    fn visit(&self, chain: Chain, mut see: impl FnMut(&Entry<E>)) {
        let mut chunk = chain.first;
        while chunk != NONE {
            let filled = if chunk == chain.last { chain.in_last as usize } else { CHUNK };
            self.entries[chunk as usize * CHUNK..][..filled].iter().for_each(&mut see);
            chunk = self.next[chunk as usize];
        }
    }

    /// Hands out a chain's events in order, and its chunks to whoever needs some.
    fn empty(&mut self, chain: Chain, mut take: impl FnMut(&mut Self, Entry<E>)) {
        let mut chunk = chain.first;
        while chunk != NONE {
            let filled = if chunk == chain.last { chain.in_last as usize } else { CHUNK };
            for place in 0..filled {
                let entry = self.entries[chunk as usize * CHUNK + place];
                take(self, entry);
            }
            let next = std::mem::replace(&mut self.next[chunk as usize], self.free);
            self.free = chunk;
            chunk = next;
        }
    }
}
