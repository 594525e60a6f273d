//! What happened, in words that both tiers share.

use unanimity_protocol::Hash;

use crate::Millis;

/// A tree's head without its bytes: which chain it is of, and how large.
///
/// Chain 0 is the log that everybody is meant to see, chain 1 what a forking adversary shows. They
/// are one up to the split: a head no larger than that is always of chain 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHead {
    /// 0 honest, 1 forked.
    pub chain: u8,
    /// Entries.
    pub size: u32,
}

/// What a cycle of a client came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CycleResult {
    /// Every peer agrees, and nothing is new.
    UpToDate,
    /// Every peer confirms a release, but not yet for `settle`.
    Settling,
    /// Somebody did not confirm.
    Incomplete,
    /// Every mirror shows less than the peers have.
    Stale,
    /// Evidence of a fork was found in this cycle.
    Fork,
    /// Evidence was found earlier, and nobody has acknowledged it.
    Latched,
    /// A release was installed: its place in the log, and of which chain.
    Installed {
        /// Its index in the log.
        index: u32,
        /// 0 honest, 1 the adversary's.
        chain: u8,
    },
    /// Every peer agrees; what is installed was taken back, and nothing newer can be.
    Withdrawn,
    /// Anything else that ended without a decision.
    Undecided,
}

impl CycleResult {
    /// Whether every peer answered well, and agrees on the log.
    pub fn is_unanimous(self) -> bool {
        use CycleResult::{Installed, Settling, UpToDate, Withdrawn};
        matches!(self, UpToDate | Settling | Withdrawn | Installed { .. })
    }
}

/// One thing that happened to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// When.
    pub at: Millis,
    /// To whom.
    pub node: u32,
    /// What.
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// As a peer it looked at its mirrors, and vouches for this now.
    Polled(Option<TraceHead>),
    /// As a client it called the roll, which took so long, and came to this.
    Cycled(Millis, CycleResult),
    /// Evidence of a fork is stored here from now on.
    Evidence,
}

/// Whoever is told what happens: a checker, a collector of results, a trace.
pub trait EventObserver {
    /// Events come in order of time; those of one node in the order they happened.
    fn observe(&mut self, event: &Event);
}

impl EventObserver for Vec<Event> {
    fn observe(&mut self, event: &Event) {
        self.push(*event);
    }
}

/// A digest of all that happened: equal for two runs exactly if they were the same to the millisecond.
pub fn digest(events: &[Event]) -> Hash {
    let lines = events.iter().map(|event| format!("{event:?}\n"));
    Hash::digest(lines.collect::<String>().as_bytes())
}
