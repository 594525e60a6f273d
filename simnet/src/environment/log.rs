//! The log over time: its size, and the index and time of each release.

use super::model::Environment;
use crate::Millis;

impl Environment {
    /// The number of log entries at a time: one at the beginning, then releases and other entries.
    pub fn log_size(&self, at: Millis) -> u32 {
        let others = at.checked_div(self.scenario.background).unwrap_or(0);
        let appended = [self.trojan_logged_at, self.trojan_withdrawn_at]
            .iter()
            .filter(|when| **when <= at)
            .count();
        1 + (self.releases_until(at) + others) as u32 + appended as u32
    }

    /// The sequence of the n-th release (from 0). Sequences are even, with room for a trojan before
    /// each.
    pub fn release_sequence(&self, n: u64) -> u32 {
        2 * (n as u32 + 1)
    }

    /// The number of releases of the product at a time.
    pub fn releases_until(&self, at: Millis) -> u64 {
        let (first, every) = self.scenario.release;
        match at.checked_sub(first) {
            None => 0,
            Some(since) => 1 + since.checked_div(every).unwrap_or(0),
        }
    }

    /// When the n-th release (from 0) is logged.
    pub fn release_at(&self, n: u64) -> Millis {
        let (first, every) = self.scenario.release;
        first + n * every
    }

    /// The index of the n-th release in the log.
    pub fn release_index(&self, n: u64) -> u32 {
        // Among entries with the same time, releases come first, and the trojan and its withdrawal
        // last.
        let at = self.release_at(n);
        let others = (at.saturating_sub(1)).checked_div(self.scenario.background).unwrap_or(0);
        let appended = [self.trojan_logged_at, self.trojan_withdrawn_at]
            .iter()
            .filter(|when| **when < at)
            .count();
        1 + (n + others) as u32 + appended as u32
    }
}
