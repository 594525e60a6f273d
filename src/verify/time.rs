//! A moment, as signed texts carry it.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The largest moment a cosignature may carry, 2^63-1 seconds (C2SP tlog-cosignature).
    pub const MAX: Timestamp = Timestamp(i64::MAX as u64);

    /// The moment `wait` later; stays at the end of time rather than wrap.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Timestamp(self.0.saturating_add(wait.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC; plain seconds beyond the year 9999, which that format cannot say.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const YEAR_10000: u64 = 253_402_300_800;
        if self.0 < YEAR_10000 {
            let moment = UNIX_EPOCH + Duration::from_secs(self.0);
            write!(f, "{}", humantime::format_rfc3339_seconds(moment))
        } else {
            write!(f, "{} s after 1970", self.0)
        }
    }
}
