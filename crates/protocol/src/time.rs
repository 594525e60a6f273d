//! Times in whole seconds, as signed texts have them.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A time in whole seconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The latest time of a cosignature, 2^63-1 seconds (C2SP tlog-cosignature).
    pub const MAX: Timestamp = Timestamp(i64::MAX as u64);

    /// The time `wait` later, at most `u64::MAX` seconds. Fractions of a second are dropped.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Timestamp(self.0.saturating_add(wait.as_secs()))
    }

    /// The time that has passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

/// The error for a text that is not a time in the spelling that [`Timestamp`] writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected whole seconds in UTC, such as 2026-08-01T12:00:00Z")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 from 1970 to 9999, in the spelling that [`Timestamp`] writes.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment = humantime::parse_rfc3339(text).map_err(|_| TimestampError)?;
        let since = moment.duration_since(UNIX_EPOCH).map_err(|_| TimestampError)?;
        let moment = Timestamp(since.as_secs());
        if moment.to_string() == text { Ok(moment) } else { Err(TimestampError) }
    }
}

impl fmt::Display for Timestamp {
    /// Writes RFC 3339 in UTC. A time after the year 9999, which RFC 3339 lacks, is written as
    /// seconds after 1970.
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
