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
const CHUNK_ENTRIES: usize = 16;
/// Events to a day, if they were spread evenly over the whole calendar.
const EVENTS_PER_DAY: usize = 64;
/// The calendar covers so many times the farthest event.
const COVER_FACTOR: u64 = 4;
/// No event is looked upon as farther off than so many times the mean.
const OUTLIER_FACTOR: u64 = 8;
/// Days are shorter than 2^31 ms, so that time and node of one day fit 64 bits.
const MAX_DAY_SHIFT: u32 = 31;
/// Events that are looked at together before the first of them happens.
const BATCH_EVENTS: usize = 32;
/// No chunk.
const NO_CHUNK: u32 = u32::MAX;

/// Events that have not happened yet.
#[derive(Clone, Debug)]
pub struct Queue<E> {
    /// The day that has come, sorted; from `value_today_index_rank` on it has not been popped.
    today: Vec<QueuedEvent<E>>,
    today_index: usize,
    /// Whether the event popped last was the first of a batch.
    at_batch_start: bool,
    /// What was pushed into that day when it was sorted already.
    late: BinaryHeap<Reverse<LateEvent<E>>>,
    pushed_late: u64,
    /// When that day began, and when the next does.
    today_began: Millis,
    today_ends: Millis,
    /// The days to come, each of 2^shift ms. The first began when the calendar was drawn.
    days: Vec<ChunkList>,
    day: usize,
    first: Millis,
    shift: u32,
    after_calendar: ChunkList,
    /// The chunks of all chains, one after another, and for each the next in its chain.
    entries: Vec<QueuedEvent<E>>,
    next: Vec<u32>,
    free: u32,
    /// Events in chains, and how many there were when the calendar was drawn.
    chained: usize,
    chained_at_rebuild: usize,
}

#[derive(Clone, Copy, Debug)]
struct QueuedEvent<E> {
    at: Millis,
    node: u32,
    event: E,
}

/// Chunks, linked; all but the last are full.
#[derive(Clone, Copy, Debug)]
struct ChunkList {
    first: u32,
    last: u32,
    in_last: u32,
}

const EMPTY_LIST: ChunkList = ChunkList { first: NO_CHUNK, last: NO_CHUNK, in_last: 0 };

#[derive(Clone, Debug)]
struct LateEvent<E> {
    sequence: u64,
    entry: QueuedEvent<E>,
}

impl<E> LateEvent<E> {
    fn key(&self) -> (Millis, u32, u64) {
        (self.entry.at, self.entry.node, self.sequence)
    }
}

impl<E> Ord for LateEvent<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> PartialOrd for LateEvent<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for LateEvent<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for LateEvent<E> {}

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
            today_index: 0,
            at_batch_start: false,
            late: BinaryHeap::new(),
            pushed_late: 0,
            today_began: 0,
            today_ends: 0,
            days: Vec::new(),
            day: 0,
            first: 0,
            shift: 0,
            after_calendar: EMPTY_LIST,
            entries: Vec::with_capacity(events.next_multiple_of(CHUNK_ENTRIES)),
            next: Vec::with_capacity(events.div_ceil(CHUNK_ENTRIES)),
            free: NO_CHUNK,
            chained: 0,
            chained_at_rebuild: 0,
        }
    }

    /// How many events are to come.
    pub fn len(&self) -> usize {
        self.chained + self.late.len() + self.today.len() - self.today_index
    }

    /// Whether nothing is to come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.today.capacity() * size_of::<QueuedEvent<E>>()
            + self.late.capacity() * size_of::<LateEvent<E>>()
            + self.days.capacity() * size_of::<ChunkList>()
            + self.entries.capacity() * size_of::<QueuedEvent<E>>()
            + self.next.capacity() * size_of::<u32>()
    }

    /// Something is to happen to a node at a time. Of what happens to one node at one time, what
    /// was pushed first happens first. A time before the last one popped counts as in its day.
    #[inline]
    pub fn push(&mut self, at: Millis, node: u32, event: E) {
        let entry = QueuedEvent { at, node, event };
        if at < self.today_ends {
            self.pushed_late += 1;
            self.late.push(Reverse(LateEvent { sequence: self.pushed_late, entry }));
            return;
        }
        self.chained += 1;
        self.append(entry);
    }

    /// The next event: when, to whom, what.
    #[inline]
    pub fn pop(&mut self) -> Option<(Millis, u32, E)> {
        loop {
            let entry = match (self.today.get(self.today_index), self.late.peek()) {
                (Some(entry), Some(Reverse(late)))
                    if (late.entry.at, late.entry.node) < (entry.at, entry.node) =>
                {
                    self.at_batch_start = false;
                    self.late.pop()?.0.entry
                }
                (Some(entry), _) => {
                    self.at_batch_start = self.today_index.is_multiple_of(BATCH_EVENTS);
                    self.today_index += 1;
                    *entry
                }
                (None, Some(_)) => {
                    self.at_batch_start = false;
                    self.late.pop()?.0.entry
                }
                (None, None) if self.chained == 0 => return None,
                (None, None) => {
                    self.advance_day();
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
    pub fn upcoming_batch(&self) -> impl Iterator<Item = (u32, E)> {
        let batch = if self.at_batch_start { &self.today[self.today_index - 1..] } else { &[] };
        batch.iter().take(BATCH_EVENTS).map(|entry| (entry.node, entry.event))
    }

    /// Goes on to the next day.
    fn advance_day(&mut self) {
        if self.day == self.days.len() || self.chained > 4 * self.chained_at_rebuild {
            self.rebuild_calendar();
        }
        let chain = std::mem::replace(&mut self.days[self.day], EMPTY_LIST);
        self.today_began = self.today_ends;
        self.day += 1;
        self.today_ends = self.first.saturating_add((self.day as u64) << self.shift);
        self.today_index = 0;
        let mut today = std::mem::take(&mut self.today);
        today.clear();
        self.drain_list(chain, |_, entry| today.push(entry));
        self.chained -= today.len();
        let began = self.today_began;
        today.sort_by_key(|entry| (entry.at - began) << 32 | u64::from(entry.node));
        self.today = today;
    }

    /// Draws the calendar anew, from the end of the day that has come on.
    fn rebuild_calendar(&mut self) {
        let mut days = std::mem::take(&mut self.days);
        let beyond = std::mem::replace(&mut self.after_calendar, EMPTY_LIST);
        let mut sum = 0u128;
        let mut farthest = 0;
        for chain in days[self.day..].iter().chain([&beyond]) {
            self.for_each_event(*chain, |entry| {
                sum += u128::from(entry.at - self.today_ends);
                farthest = farthest.max(entry.at - self.today_ends);
            });
        }
        let mean = (sum / self.chained as u128) as u64;
        let covered =
            farthest.min(mean.saturating_mul(OUTLIER_FACTOR)).saturating_mul(COVER_FACTOR) + 1;
        let count = (self.chained / EVENTS_PER_DAY).clamp(16, 1 << 24);
        self.shift =
            (covered / count as u64).checked_ilog2().map_or(0, |log| log + 1).min(MAX_DAY_SHIFT);
        (self.first, self.chained_at_rebuild) = (self.today_ends, self.chained);
        self.days = vec![EMPTY_LIST; count];
        let passed = std::mem::take(&mut self.day);
        for chain in days.drain(passed..).chain([beyond]) {
            self.drain_list(chain, |queue, entry| queue.append(entry));
        }
    }

    /// Puts an event at the end of its chain.
    #[inline]
    fn append(&mut self, entry: QueuedEvent<E>) {
        let day = (entry.at - self.first) >> self.shift;
        // Before the calendar is drawn for the first time, everything is beyond it.
        let within = day < self.days.len() as u64;
        let mut chain = if within { self.days[day as usize] } else { self.after_calendar };
        if chain.last == NO_CHUNK || chain.in_last as usize == CHUNK_ENTRIES {
            let chunk = self.allocate_chunk(entry);
            match chain.last {
                NO_CHUNK => chain.first = chunk,
                last => self.next[last as usize] = chunk,
            }
            (chain.last, chain.in_last) = (chunk, 1);
        } else {
            self.entries[chain.last as usize * CHUNK_ENTRIES + chain.in_last as usize] = entry;
            chain.in_last += 1;
        }
        *(if within { &mut self.days[day as usize] } else { &mut self.after_calendar }) = chain;
    }

    /// A chunk that begins with an entry, and that nobody else uses.
    fn allocate_chunk(&mut self, entry: QueuedEvent<E>) -> u32 {
        let chunk = self.free;
        if chunk != NO_CHUNK {
            self.free = std::mem::replace(&mut self.next[chunk as usize], NO_CHUNK);
            self.entries[chunk as usize * CHUNK_ENTRIES] = entry;
            return chunk;
        }
        // Doubled, the largest array of all would be half empty.
        if self.next.len() == self.next.capacity() {
            self.next.reserve_exact(self.next.len() / 8 + 16);
            self.entries.reserve_exact((self.next.len() / 8 + 16) * CHUNK_ENTRIES);
        }
        self.next.push(NO_CHUNK);
        self.entries.resize(self.entries.len() + CHUNK_ENTRIES, entry);
        self.next.len() as u32 - 1
    }

    fn for_each_event(&self, chain: ChunkList, mut see: impl FnMut(&QueuedEvent<E>)) {
        let mut chunk = chain.first;
        while chunk != NO_CHUNK {
            let filled = if chunk == chain.last { chain.in_last as usize } else { CHUNK_ENTRIES };
            self.entries[chunk as usize * CHUNK_ENTRIES..][..filled].iter().for_each(&mut see);
            chunk = self.next[chunk as usize];
        }
    }

    /// Hands out a chain's events in order, and its chunks to whoever needs some.
    fn drain_list(&mut self, chain: ChunkList, mut take: impl FnMut(&mut Self, QueuedEvent<E>)) {
        let mut chunk = chain.first;
        while chunk != NO_CHUNK {
            let filled = if chunk == chain.last { chain.in_last as usize } else { CHUNK_ENTRIES };
            for place in 0..filled {
                let entry = self.entries[chunk as usize * CHUNK_ENTRIES + place];
                take(self, entry);
            }
            let next = std::mem::replace(&mut self.next[chunk as usize], self.free);
            self.free = chunk;
            chunk = next;
        }
    }
}
