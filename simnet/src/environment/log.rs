//! The log: its releases, and how large it is at a time.

use super::model::Environment;
use crate::Millis;

impl Environment {
    /// How many entries the log has at a time: one at the beginning, then releases and others.
    pub fn log_size(&self, at: Millis) -> u32 {
        let others = at.checked_div(self.scenario.background).unwrap_or(0);
        let appended = [self.trojan_logged_at, self.trojan_withdrawn_at]
            .iter()
            .filter(|when| **when <= at)
            .count();
        1 + (self.releases_until(at) + others) as u32 + appended as u32
    }

    /// The sequence of the n-th release (from 0). They leave room for a trojan before each.
    pub fn release_sequence(&self, n: u64) -> u32 {
        2 * (n as u32 + 1)
    }

    /// How many of our product's releases there are at a time.
    pub fn releases_until(&self, at: Millis) -> u64 {
        let (first, every) = self.scenario.release;
        match at.checked_sub(first) {
            None => 0,
            Some(since) => 1 + since.checked_div(every).unwrap_or(0),
        }
    }

    /// When the n-th release (from 0) came.
    pub fn release_at(&self, n: u64) -> Millis {
        let (first, every) = self.scenario.release;
        first + n * every
    }

    /// Where the n-th release is in the log.
    pub fn release_index(&self, n: u64) -> u32 {
        // Of what comes at one time, releases come first and what the adversary is about last.
        let at = self.release_at(n);
        let others = (at.saturating_sub(1)).checked_div(self.scenario.background).unwrap_or(0);
        let appended = [self.trojan_logged_at, self.trojan_withdrawn_at]
            .iter()
            .filter(|when| **when < at)
            .count();
        1 + (n + others) as u32 + appended as u32
    }
}
