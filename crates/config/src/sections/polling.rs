//! The polling settings of a node's own witness.

use std::time::Duration;

/// The time between two polls of a witness, and how long the result of a poll counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollingSettings {
    /// The shortest wait between two polls.
    pub min: Duration,
    /// The longest wait between two polls.
    pub max: Duration,
    /// How long the witness still cosigns its head after a mirror last showed that head or a larger
    /// one.
    pub max_age: Duration,
}

impl Default for PollingSettings {
    /// 5 to 15 minutes between two polls. The result of a poll counts for 30 minutes.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        PollingSettings { min: minutes(5), max: minutes(15), max_age: minutes(30) }
    }
}
