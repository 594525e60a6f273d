//! The queue of the discrete-event engine, ordered by (time, node, order of pushes).
//!
//! It is a calendar queue (Brown 1988) over flat arrays, with few, wide days:
//!
//! - Events of one day lie unordered in a list of chunks.
//! - A day is sorted when it begins. Events that are pushed into it later go to a small heap.
//! - Events after the calendar's last day wait in one more list.
//! - The calendar is rebuilt when its last day is over, or at the end of a day when its lists have
//!   more than four times as many events as at the last rebuild. The width of a day follows from
//!   the number of events and their mean distance. By Markov's inequality, rebuilds copy few events
//!   more than once.
//!
//! So push and pop cost amortised O(1). If most events are due at one time, they cost a sort and a
//! heap.
//!
//! Events in lists have no sequence numbers, because lists keep the order of pushes, and the sort
//! is stable. Only the small heap stores sequence numbers.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::Millis;

/// The number of events in a full chunk.
const CHUNK_ENTRIES: usize = 16;
/// The number of events of a day if all events were spread evenly over the calendar.
const EVENTS_PER_DAY: usize = 64;
/// The calendar covers this multiple of the distance to the farthest event.
const COVER_FACTOR: u64 = 4;
/// The distance of the farthest event counts as at most this multiple of the mean distance.
const OUTLIER_FACTOR: u64 = 8;
/// Days have at most 2^31 ms, so that time and node of an event of one day fit into 64 bits.
const MAX_DAY_SHIFT: u32 = 31;
/// The most events in [`Queue::upcoming_batch`].
const BATCH_EVENTS: usize = 32;
/// The index that stands for no chunk.
const NO_CHUNK: u32 = u32::MAX;

/// A queue of events that have not happened yet.
#[derive(Clone, Debug)]
pub struct Queue<E> {
    /// The events of the current day, sorted, without the late ones.
    today: Vec<QueuedEvent<E>>,
    /// The index of the first event of `today` that has not been popped.
    today_index: usize,
    /// Whether the event popped last was the first of a batch.
    at_batch_start: bool,
    /// Events that were pushed into the current day after it was sorted.
    late: BinaryHeap<Reverse<LateEvent<E>>>,
    /// The number of events that were ever pushed to `late`.
    pushed_late: u64,
    /// When the current day began.
    today_began: Millis,
    /// When the current day ends and the next day begins.
    today_ends: Millis,
    /// The events of each day of the calendar. Every day has 2^`shift` ms.
    days: Vec<ChunkList>,
    /// The index in `days` of the day after the current day.
    day: usize,
    /// When the first day of the calendar begins.
    first: Millis,
    /// The binary logarithm of a day's length in ms.
    shift: u32,
    /// The events after the calendar's last day.
    after_calendar: ChunkList,
    /// The events of all chunks: chunk `i` begins at `i * CHUNK_ENTRIES`.
    entries: Vec<QueuedEvent<E>>,
    /// For each chunk, the next chunk of its list. The free chunks are a list, too.
    next: Vec<u32>,
    /// The first free chunk.
    free: u32,
    /// The number of events in lists now.
    chained: usize,
    /// The number of events in lists when the calendar was built.
    chained_at_rebuild: usize,
}

#[derive(Clone, Copy, Debug)]
struct QueuedEvent<E> {
    at: Millis,
    node: u32,
    event: E,
}

/// A linked list of chunks. All chunks but the last are full.
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
    /// An empty queue with room for this number of events.
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

    /// The number of events that have not been popped.
    pub fn len(&self) -> usize {
        self.chained + self.late.len() + self.today.len() - self.today_index
    }

    /// Whether all events have been popped.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The allocated memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.today.capacity() * size_of::<QueuedEvent<E>>()
            + self.late.capacity() * size_of::<LateEvent<E>>()
            + self.days.capacity() * size_of::<ChunkList>()
            + self.entries.capacity() * size_of::<QueuedEvent<E>>()
            + self.next.capacity() * size_of::<u32>()
    }

    /// Adds an event of a node at a time. Events of one node and time are popped in the order of
    /// pushes. An event with a time before the current day is popped within the current day.
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

    /// Removes the next event, and returns its time, node and value.
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

    /// The batch that begins with the event popped last: that event, and up to 31 later events of
    /// the day. Empty if that event does not begin a batch of 32. A caller that prefetches the data
    /// of a batch waits for memory once instead of 32 times.
    #[inline]
    pub fn upcoming_batch(&self) -> impl Iterator<Item = (u32, E)> {
        let batch = if self.at_batch_start { &self.today[self.today_index - 1..] } else { &[] };
        batch.iter().take(BATCH_EVENTS).map(|entry| (entry.node, entry.event))
    }

    /// Makes the next day the current one.
    fn advance_day(&mut self) {
        if self.day == self.days.len() || self.chained > 4 * self.chained_at_rebuild {
            self.rebuild_calendar();
        }
        let list = std::mem::replace(&mut self.days[self.day], EMPTY_LIST);
        self.today_began = self.today_ends;
        self.day += 1;
        self.today_ends = self.first.saturating_add((self.day as u64) << self.shift);
        self.today_index = 0;
        let mut today = std::mem::take(&mut self.today);
        today.clear();
        self.drain_list(list, |_, entry| today.push(entry));
        self.chained -= today.len();
        let began = self.today_began;
        today.sort_by_key(|entry| (entry.at - began) << 32 | u64::from(entry.node));
        self.today = today;
    }

    /// Builds a new calendar that begins at the end of the current day.
    fn rebuild_calendar(&mut self) {
        let mut days = std::mem::take(&mut self.days);
        let beyond = std::mem::replace(&mut self.after_calendar, EMPTY_LIST);
        let mut sum = 0u128;
        let mut farthest = 0;
        for list in days[self.day..].iter().chain([&beyond]) {
            self.for_each_event(*list, |entry| {
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
        for list in days.drain(passed..).chain([beyond]) {
            self.drain_list(list, |queue, entry| queue.append(entry));
        }
    }

    /// Puts an event at the end of the list of its day, or of the list after the calendar.
    #[inline]
    fn append(&mut self, entry: QueuedEvent<E>) {
        let day = (entry.at - self.first) >> self.shift;
        // Before the calendar is built for the first time, every event is beyond its last day.
        let within = day < self.days.len() as u64;
        let mut list = if within { self.days[day as usize] } else { self.after_calendar };
        if list.last == NO_CHUNK || list.in_last as usize == CHUNK_ENTRIES {
            let chunk = self.allocate_chunk(entry);
            match list.last {
                NO_CHUNK => list.first = chunk,
                last => self.next[last as usize] = chunk,
            }
            (list.last, list.in_last) = (chunk, 1);
        } else {
            self.entries[list.last as usize * CHUNK_ENTRIES + list.in_last as usize] = entry;
            list.in_last += 1;
        }
        *(if within { &mut self.days[day as usize] } else { &mut self.after_calendar }) = list;
    }

    /// Takes a free chunk, or allocates one, and puts `entry` first in it.
    fn allocate_chunk(&mut self, entry: QueuedEvent<E>) -> u32 {
        let chunk = self.free;
        if chunk != NO_CHUNK {
            self.free = std::mem::replace(&mut self.next[chunk as usize], NO_CHUNK);
            self.entries[chunk as usize * CHUNK_ENTRIES] = entry;
            return chunk;
        }
        // Growth by an eighth: doubling would leave the largest array half empty.
        if self.next.len() == self.next.capacity() {
            self.next.reserve_exact(self.next.len() / 8 + 16);
            self.entries.reserve_exact((self.next.len() / 8 + 16) * CHUNK_ENTRIES);
        }
        self.next.push(NO_CHUNK);
        self.entries.resize(self.entries.len() + CHUNK_ENTRIES, entry);
        self.next.len() as u32 - 1
    }

    fn for_each_event(&self, list: ChunkList, mut see: impl FnMut(&QueuedEvent<E>)) {
        let mut chunk = list.first;
        while chunk != NO_CHUNK {
            let filled = if chunk == list.last { list.in_last as usize } else { CHUNK_ENTRIES };
            self.entries[chunk as usize * CHUNK_ENTRIES..][..filled].iter().for_each(&mut see);
            chunk = self.next[chunk as usize];
        }
    }

    /// Passes a list's events to `take` in order, and frees its chunks.
    fn drain_list(&mut self, list: ChunkList, mut take: impl FnMut(&mut Self, QueuedEvent<E>)) {
        let mut chunk = list.first;
        while chunk != NO_CHUNK {
            let filled = if chunk == list.last { list.in_last as usize } else { CHUNK_ENTRIES };
            for index in 0..filled {
                let entry = self.entries[chunk as usize * CHUNK_ENTRIES + index];
                take(self, entry);
            }
            let next = std::mem::replace(&mut self.next[chunk as usize], self.free);
            self.free = chunk;
            chunk = next;
        }
    }
}
