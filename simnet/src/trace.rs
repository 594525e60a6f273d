//! Events of a world, in the form that both tiers share.

use unanimity_protocol::Hash;

use crate::Millis;

/// A tree head as its chain and size, without hashes.
///
/// Chain 0 is the log, chain 1 is the adversary's fork. The chains are equal up to the split, and
/// the nodes' heads up to that size have chain 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceHead {
    /// 0 for the log, 1 for the fork.
    pub chain: u8,
    /// Number of entries.
    pub size: u32,
}

/// The result of a client's cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CycleResult {
    /// Every peer confirmed the log, and there is nothing new.
    UpToDate,
    /// Every peer confirms a release, but not yet for `settle`.
    Settling,
    /// A peer did not confirm.
    Incomplete,
    /// Every mirror shows a smaller log than the client's trusted head or the peers.
    Stale,
    /// Evidence of a fork was found in this cycle.
    Fork,
    /// Evidence of a fork was found in an earlier cycle or by the witness, and is not acknowledged.
    Latched,
    /// A release was installed.
    Installed {
        /// The release's index in its chain.
        index: u32,
        /// 0 for the log, 1 for the fork.
        chain: u8,
    },
    /// Every peer confirmed the log; the installed release is withdrawn, and no newer one can be
    /// installed.
    Withdrawn,
    /// The cycle ended without a decision for another reason, such as a file that cannot be read.
    Undecided,
}

impl CycleResult {
    /// Whether every peer gave a valid answer, and all agree on the log.
    pub fn is_unanimous(self) -> bool {
        use CycleResult::{Installed, Settling, UpToDate, Withdrawn};
        matches!(self, UpToDate | Settling | Withdrawn | Installed { .. })
    }
}

/// An event of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event {
    /// When the event happened.
    pub at: Millis,
    /// The node's number.
    pub node: u32,
    /// What happened.
    pub kind: EventKind,
}

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The witness polled its mirrors, and cosigns this head from now on; `None` if it has no fresh
    /// head.
    Polled(Option<TraceHead>),
    /// The client's cycle ended: its duration in milliseconds, and its result.
    Cycled(Millis, CycleResult),
    /// The node has stored evidence of a fork.
    Evidence,
}

/// A receiver of events: a checker, a collector of results, or a trace.
pub trait EventObserver {
    /// Receives one event. Events arrive in order of time, and the events of one node in the order
    /// in which they happened.
    fn observe(&mut self, event: &Event);
}

impl EventObserver for Vec<Event> {
    fn observe(&mut self, event: &Event) {
        self.push(*event);
    }
}

/// A digest of all events. Two runs have equal digests exactly if they have the same events at the
/// same milliseconds.
pub fn digest(events: &[Event]) -> Hash {
    let lines = events.iter().map(|event| format!("{event:?}\n"));
    Hash::digest(lines.collect::<String>().as_bytes())
}
