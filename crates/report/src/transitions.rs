//! Changes of the node's condition, and which of them become alerts.
//!
//! The decision is pure: [`Transitions::observe`] takes a status and a time, and returns at most
//! one announcement. An announcement waits until [`Transitions::mark_delivered`] removes it. At
//! most [`MAX_UNDELIVERED`] announcements wait.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unanimity_protocol::{Hash, Timestamp};

use crate::{Condition, CycleStatus};

/// The most announcements that wait while the operator's alert command fails.
pub const MAX_UNDELIVERED: usize = 16;

/// A change of condition that is delivered as an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// The new condition of the node.
    pub condition: Condition,
    /// The time at which the condition began.
    pub since: Timestamp,
    /// The message for people.
    pub message: String,
    /// The details for programs: a JSON object.
    pub details: Value,
}

impl Announcement {
    /// Formats the line of JSON that the alert command reads.
    pub fn json(&self) -> String {
        let Announcement { condition, since, message, details } = self;
        let line = json!({
            "schema": "unanimity/v1",
            "event": "alert",
            "condition": condition,
            "since": since,
            "message": message,
            "details": details,
        });
        format!("{line}\n")
    }
}

/// The present condition, the last announced one, and the announcements that are not delivered yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transitions {
    /// The condition of the newest announcement, delivered or not. An available release counts as
    /// healthy. `None` if the history is unknown: then every condition is news.
    said: Option<ReportedCondition>,
    /// The release that was last announced as available.
    offered: Option<String>,
    /// The present condition, and the time at which it began.
    present: Option<(ReportedCondition, Timestamp)>,
    /// The time since which no cycle has ended healthy or available. `None` if the last cycle did.
    unhealthy_since: Option<Timestamp>,
    /// The announcements that are not delivered yet, oldest first.
    waiting: Vec<Announcement>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportedCondition {
    condition: Condition,
    about: String,
}

impl ReportedCondition {
    fn healthy() -> ReportedCondition {
        ReportedCondition { condition: Condition::Healthy, about: String::new() }
    }
}

impl Default for Transitions {
    /// The history of a node that has never run. A healthy first cycle needs no announcement.
    fn default() -> Self {
        Transitions {
            said: Some(ReportedCondition::healthy()),
            ..Transitions::with_unknown_history()
        }
    }
}

impl Transitions {
    /// The history of a node that has lost its record. The next cycle is announced, whatever its
    /// condition.
    pub fn with_unknown_history() -> Transitions {
        Transitions {
            said: None,
            offered: None,
            present: None,
            unhealthy_since: None,
            waiting: Vec::new(),
        }
    }

    /// Records the status of a cycle. If the status is news, adds an announcement and returns it.
    ///
    /// An incomplete node is news only after `incomplete_after` without a good cycle, or if the
    /// history is unknown.
    pub fn observe(
        &mut self,
        status: &CycleStatus,
        incomplete_after: Duration,
        now: Timestamp,
    ) -> Option<&Announcement> {
        let CycleStatus { condition, about, message, details } = status;
        let state = ReportedCondition { condition: *condition, about: about.clone() };
        // A clock that was set back must not make the wait longer, so no recorded time is later
        // than `now`.
        let since = match &self.present {
            Some((present, since)) if *present == state => now.min(*since),
            _ => now,
        };
        let unhealthy_since = self.unhealthy_since.map_or(now, |since| now.min(since));
        self.unhealthy_since = (!condition.is_good()).then_some(unhealthy_since);
        self.present = Some((state.clone(), since));

        let was_healthy = self.said == Some(ReportedCondition::healthy());
        let is_news = match condition {
            Condition::Healthy => !was_healthy,
            Condition::Available => !was_healthy || self.offered.as_ref() != Some(about),
            Condition::Incomplete => {
                // The wait includes cycles with other problems: no cycle since then was good.
                let long = now.since(unhealthy_since) >= incomplete_after;
                self.said.as_ref() != Some(&state) && (long || self.said.is_none())
            }
            Condition::Stale | Condition::Refused | Condition::Fork => {
                self.said.as_ref() != Some(&state)
            }
        };
        if !is_news {
            return None;
        }
        let mut condition = *condition;
        if condition == Condition::Available {
            // Each release is announced as available once. If the same release is available again
            // after a problem, the announcement says that the node is healthy.
            let offered = self.offered.replace(about.clone());
            if offered.as_ref() == Some(about) {
                condition = Condition::Healthy;
            }
        }
        self.said = Some(if condition.is_good() { ReportedCondition::healthy() } else { state });
        let mut details = details.clone();
        if let Some(since) = self.unhealthy_since {
            details["unhealthy_since"] = json!(since);
        }
        if self.waiting.len() >= MAX_UNDELIVERED {
            // The oldest announcement is dropped. A fork is dropped only if all others are forks.
            let is_no_fork = |old: &Announcement| old.condition != Condition::Fork;
            self.waiting.remove(self.waiting.iter().position(is_no_fork).unwrap_or(0));
        }
        self.waiting.push(Announcement { condition, since, message: message.clone(), details });
        self.waiting.last()
    }

    /// Returns the announcements that are not delivered yet: forks first, then the others, each
    /// oldest first.
    pub fn undelivered(&self) -> Vec<Announcement> {
        let mut waiting = self.waiting.clone();
        waiting.sort_by_key(|announcement| announcement.condition != Condition::Fork);
        waiting
    }

    /// Removes an announcement that was delivered.
    pub fn mark_delivered(&mut self, announcement: &Announcement) {
        if let Some(at) = self.waiting.iter().position(|waiting| waiting == announcement) {
            self.waiting.remove(at);
        }
    }

    /// The present condition, and the time at which it began. `None` before the first cycle.
    pub fn condition(&self) -> Option<(Condition, Timestamp)> {
        self.present.as_ref().map(|(state, since)| (state.condition, *since))
    }

    /// Formats the text of the file that stores this history. The file has a digest of its content.
    pub fn text(&self) -> String {
        let mut file =
            TransitionsFile { version: VERSION, changes: self.clone(), sha256: String::new() };
        file.sha256 = file.digest();
        file.text()
    }

    /// Parses the text of a file that [`Transitions::text`] formatted. `None` if the text is
    /// malformed, has another version, or does not match its digest.
    pub fn parse(text: &[u8]) -> Option<Transitions> {
        let file: TransitionsFile = serde_json::from_slice(text).ok()?;
        (file.version == VERSION && file.sha256 == file.digest()).then_some(file.changes)
    }
}

const VERSION: u32 = 1;

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TransitionsFile {
    version: u32,
    changes: Transitions,
    /// SHA-256 of this file with this field empty. It detects damage: one changed digit elsewhere
    /// in the file could suppress an alert.
    sha256: String,
}

impl TransitionsFile {
    fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    fn digest(&self) -> String {
        Hash::digest(TransitionsFile { sha256: String::new(), ..self.clone() }.text().as_bytes())
            .hex()
    }
}
