//! The backoff of the client's mirrors: a mirror that failed recently is asked after the others.
//!
//! The backoff changes only the order of the mirrors. No mirror is left out, and the answers of all
//! mirrors pass the same checks.
//!
//! The witness has no backoff and chooses its mirrors at random. Otherwise an attacker could flood
//! honest mirrors until they fail, and so choose which mirrors a witness sees and what it confirms.

use std::collections::BTreeMap;
use std::time::Duration;

use unanimity_protocol::Timestamp;

/// The backoff after one failure: 10 minutes. Each further consecutive failure doubles it.
const INITIAL_BACKOFF: Duration = Duration::from_secs(10 * 60);
/// The longest backoff: 24 hours.
const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// The consecutive failures of a mirror since its last success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorFailures {
    /// The number of consecutive cycles in which the mirror failed. At least 1.
    pub consecutive: u32,
    /// The time of the last failure.
    pub last: Timestamp,
}

impl MirrorFailures {
    /// The time at which the backoff of the mirror ends.
    pub fn until(&self) -> Timestamp {
        let times = 1_u32.checked_shl(self.consecutive.saturating_sub(1)).unwrap_or(u32::MAX);
        self.last.after(INITIAL_BACKOFF.saturating_mul(times).min(MAX_BACKOFF))
    }

    /// Whether the mirror is asked after the others at the time `now`.
    ///
    /// A failure later than `now` has no effect. Otherwise a failure that was recorded with a wrong
    /// clock would still count after the clock is set back.
    pub fn is_backing_off(&self, now: Timestamp) -> bool {
        self.last <= now && now < self.until()
    }
}

/// The failures of mirrors since their last success, by the mirrors' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorBackoff(BTreeMap<String, MirrorFailures>);

impl MirrorBackoff {
    /// Records one more failure of a mirror.
    pub fn record_failure(&mut self, mirror: &str, now: Timestamp) {
        let before = self.0.get(mirror).map_or(0, |failures| failures.consecutive);
        let failures = MirrorFailures { consecutive: before.saturating_add(1), last: now };
        self.0.insert(mirror.to_owned(), failures);
    }

    /// Forgets the failures of a mirror. Returns whether it had any.
    pub fn record_success(&mut self, mirror: &str) -> bool {
        self.0.remove(mirror).is_some()
    }

    /// Returns the failures of a mirror, if its backoff has not ended.
    pub fn backoff(&self, mirror: &str, now: Timestamp) -> Option<MirrorFailures> {
        self.0.get(mirror).copied().filter(|failures| failures.is_backing_off(now))
    }

    /// Forgets the failures of every mirror for which `is_known` is false. Returns whether there
    /// was such a mirror.
    pub fn retain(&mut self, is_known: impl Fn(&str) -> bool) -> bool {
        let before = self.0.len();
        self.0.retain(|mirror, _| is_known(mirror));
        self.0.len() < before
    }

    /// Iterates over the mirrors and their failures, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, MirrorFailures)> {
        self.0.iter().map(|(mirror, failures)| (mirror.as_str(), *failures))
    }
}

impl FromIterator<(String, MirrorFailures)> for MirrorBackoff {
    fn from_iter<I: IntoIterator<Item = (String, MirrorFailures)>>(mirrors: I) -> MirrorBackoff {
        MirrorBackoff(mirrors.into_iter().collect())
    }
}
