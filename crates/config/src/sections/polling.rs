//! When a node's own witness polls.

use std::time::Duration;

/// When a peer polls, and how long a poll counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PollingSettings {
    /// The shortest wait between two polls.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
    /// How long ago a mirror may have shown our head for us to still vouch for it.
    pub max_age: Duration,
}

impl Default for PollingSettings {
    /// 5 to 15 minutes apart, good for 30.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        PollingSettings { min: minutes(5), max: minutes(15), max_age: minutes(30) }
    }
}
