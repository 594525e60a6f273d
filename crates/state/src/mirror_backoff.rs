//! How the client's mirrors have been: whoever failed lately is asked last, and never left out. Only the
//! order depends on it: whatever a mirror sends is checked as ever.
//!
//! For the client role only. The peer role draws its mirrors blindly, on purpose: whoever could make
//! honest mirrors fail, by flooding them, could else choose what a peer sees, and with it what it
//! confirms to others.

use std::collections::BTreeMap;
use std::time::Duration;

use unanimity_protocol::Timestamp;

/// How long a mirror comes last after one failure; twice as long after each further one.
const INITIAL_BACKOFF: Duration = Duration::from_secs(10 * 60);
/// The longest that it does.
const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// A mirror's failures since it last did what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorFailures {
    /// In so many cycles, one after the other. At least 1.
    pub consecutive: u32,
    /// When it last did.
    pub last: Timestamp,
}

impl MirrorFailures {
    /// Until when it comes last.
    pub fn until(&self) -> Timestamp {
        let times = 1_u32.checked_shl(self.consecutive.saturating_sub(1)).unwrap_or(u32::MAX);
        self.last.after(INITIAL_BACKOFF.saturating_mul(times).min(MAX_BACKOFF))
    }

    /// Whether it does. Not before its failure either: a clock that was wrong and is put back would
    /// have it come last until the wrong time comes.
    pub fn is_backing_off(&self, now: Timestamp) -> bool {
        self.last <= now && now < self.until()
    }
}

/// The mirrors that failed and have not been forgiven, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorBackoff(BTreeMap<String, MirrorFailures>);

impl MirrorBackoff {
    /// One more failure.
    pub fn record_failure(&mut self, mirror: &str, now: Timestamp) {
        let before = self.0.get(mirror).map_or(0, |failures| failures.consecutive);
        let failures = MirrorFailures { consecutive: before.saturating_add(1), last: now };
        self.0.insert(mirror.to_owned(), failures);
    }

    /// All is forgiven. Whether there was anything to forgive.
    pub fn record_success(&mut self, mirror: &str) -> bool {
        self.0.remove(mirror).is_some()
    }

    /// Its failures, if it comes last.
    pub fn backoff(&self, mirror: &str, now: Timestamp) -> Option<MirrorFailures> {
        self.0.get(mirror).copied().filter(|failures| failures.is_backing_off(now))
    }

    /// Forgets all mirrors but some. Whether there was anything to forget.
    pub fn retain(&mut self, is_known: impl Fn(&str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|mirror, _| is_known(mirror));
        self.0.len() < before
    }

    /// Each mirror with its failures.
    pub fn iter(&self) -> impl Iterator<Item = (&str, MirrorFailures)> {
        self.0.iter().map(|(mirror, failures)| (mirror.as_str(), *failures))
    }
}

impl FromIterator<(String, MirrorFailures)> for MirrorBackoff {
    fn from_iter<I: IntoIterator<Item = (String, MirrorFailures)>>(mirrors: I) -> MirrorBackoff {
        MirrorBackoff(mirrors.into_iter().collect())
    }
}
