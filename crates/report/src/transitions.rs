//! Which changes of the node's condition are news. Pure: a condition and a time in, at most one
//! announcement out, to be told and told only once.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unanimity_protocol::{Hash, Timestamp};

use crate::{Condition, CycleStatus};

/// The most announcements that wait for a command that keeps failing.
pub const MAX_UNDELIVERED: usize = 16;

/// One change of condition, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    /// What the node's condition became.
    pub condition: Condition,
    /// When.
    pub since: Timestamp,
    /// For people.
    pub message: String,
    /// For programs: an object.
    pub details: Value,
}

impl Announcement {
    /// The line that the command reads.
    pub fn json(&self) -> String {
        let Announcement { condition, since, message, details } = self;
        let line = json!({
            "schema": "unanimity/v1",
            "event": "alarm",
            "condition": condition,
            "since": since,
            "message": message,
            "details": details,
        });
        format!("{line}\n")
    }
}

/// What is the case, what was said of it, and what still has to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transitions {
    /// What was said last, or waits to be; never that a release is available. `None` if nobody
    /// knows: then anything is news.
    said: Option<ReportedCondition>,
    /// The release that was last said to be available.
    offered: Option<String>,
    /// What is the case, and since when.
    present: Option<(ReportedCondition, Timestamp)>,
    /// Since when no cycle has found every peer in agreement and nothing amiss.
    unhealthy_since: Option<Timestamp>,
    /// What has to be told, oldest first.
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
    /// A node that never ran: nothing was said, so nobody has to hear that it is well.
    fn default() -> Self {
        Transitions {
            said: Some(ReportedCondition::healthy()),
            ..Transitions::with_unknown_history()
        }
    }
}

impl Transitions {
    /// A node that has forgotten what it said: it says how it is, whatever that is.
    pub fn with_unknown_history() -> Transitions {
        Transitions {
            said: None,
            offered: None,
            present: None,
            unhealthy_since: None,
            waiting: Vec::new(),
        }
    }

    /// Takes in how a cycle ended. What is news is put at the end of what waits, and returned.
    pub fn observe(
        &mut self,
        status: &CycleStatus,
        incomplete_after: Duration,
        now: Timestamp,
    ) -> Option<&Announcement> {
        let CycleStatus { condition, about, message, details } = status;
        let state = ReportedCondition { condition: *condition, about: about.clone() };
        // Nothing began after now: a clock that was put back must not make a wait endless.
        let since = match &self.present {
            Some((present, since)) if *present == state => now.min(*since),
            _ => now,
        };
        let unhealthy_since = self.unhealthy_since.map_or(now, |since| now.min(since));
        self.unhealthy_since = (!condition.is_good()).then_some(unhealthy_since);
        self.present = Some((state.clone(), since));

        let was_well = self.said == Some(ReportedCondition::healthy());
        let is_news = match condition {
            Condition::Healthy => !was_well,
            Condition::Available => !was_well || self.offered.as_ref() != Some(about),
            Condition::Incomplete => {
                // Whatever else was amiss in between: nothing was confirmed all that time.
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
            // Once for each release. After that it is only news that all is well again.
            let offered = self.offered.replace(about.clone());
            if offered.as_ref() == Some(about) {
                condition = Condition::Healthy;
            }
        }
        self.said = Some(if condition.is_good() { ReportedCondition::healthy() } else { state });
        let mut details = details.clone();
        if let Some(since) = self.unhealthy_since {
            details["unwell_since"] = json!(since);
        }
        if self.waiting.len() >= MAX_UNDELIVERED {
            let other = |old: &Announcement| old.condition != Condition::Fork;
            // Of all that is dropped to make room, a fork is the last.
            self.waiting.remove(self.waiting.iter().position(other).unwrap_or(0));
        }
        self.waiting.push(Announcement { condition, since, message: message.clone(), details });
        self.waiting.last()
    }

    /// What has to be told: forks first, whatever waits before them, and the rest as it came to
    /// pass.
    pub fn undelivered(&self) -> Vec<Announcement> {
        let mut waiting = self.waiting.clone();
        waiting.sort_by_key(|one| one.condition != Condition::Fork);
        waiting
    }

    /// One of those was told.
    pub fn mark_delivered(&mut self, announcement: &Announcement) {
        if let Some(at) = self.waiting.iter().position(|waits| waits == announcement) {
            self.waiting.remove(at);
        }
    }

    /// The present condition and since when it stands.
    pub fn condition(&self) -> Option<(Condition, Timestamp)> {
        self.present.as_ref().map(|(state, since)| (state.condition, *since))
    }

    /// The file that remembers.
    pub fn text(&self) -> String {
        let mut file =
            TransitionsFile { version: VERSION, changes: self.clone(), sha256: String::new() };
        file.sha256 = file.digest();
        file.text()
    }

    /// Reads the file. `None` unless it is what [`Transitions::text`] once wrote, byte for byte in
    /// what it says.
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
    /// SHA-256 over this file with this field empty: one wrong digit could be a silence.
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
