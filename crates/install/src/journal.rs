//! What came of every switch: which versions proved good, which one is on trial, which failed.
//!
//! `ROOT/journal.json` is written before `current` moves and again when a trial has ended, so that
//! whoever comes after a crash knows what there is to undo. Anybody may read it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unanimity_protocol::{Hash, Manifest, Timestamp};

use crate::InstallRefusal;

/// How long a release that failed is left alone, after its first failure; then twice as long each time.
pub const MIN_BACKOFF: Duration = Duration::from_secs(10 * 60);
/// And never longer than that: a day.
pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// The journal. Every release in it is named `SEQUENCE-VERSION`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The highest sequence that ever proved good. Nothing lowers it.
    #[serde(default)]
    pub floor: u64,
    /// Those that proved good, each once; the one that did last is at the end.
    pub good: Vec<String>,
    /// What was switched to and has not proved itself yet.
    pub trial: Option<Trial>,
    /// Those that failed, until a newer one proves good.
    pub failed: BTreeMap<String, FailedRelease>,
    /// What the operator says is good: its next trial goes without the check.
    pub approved: Option<String>,
}

/// A switch whose end is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// What was switched to.
    pub release: String,
    /// What was installed before, if anything was.
    pub before: Option<String>,
    /// The operator wants it back: what was interrupted is done, not undone.
    #[serde(default)]
    pub is_rollback: bool,
    /// What its commands have in their environment, to be found by after an interruption. It is known to
    /// them alone, and so they are the only ones who have it.
    #[serde(default, skip_serializing)]
    pub process_tag: String,
    /// SHA-256 of that.
    #[serde(default)]
    pub sha256: String,
    /// What was before was taken back by its publisher: there is no way back to it.
    #[serde(default)]
    pub no_way_back: bool,
    /// How often somebody has begun to end it after an interruption.
    #[serde(default)]
    pub recovery_attempts: u32,
}

impl Trial {
    /// One that begins.
    pub fn new(release: String, before: Option<String>, is_rollback: bool) -> Trial {
        let (process_tag, sha256) = (String::new(), String::new());
        let mut trial = Trial {
            release,
            before,
            is_rollback,
            no_way_back: false,
            process_tag,
            sha256,
            recovery_attempts: 0,
        };
        trial.renew_process_tag();
        trial
    }

    /// What is run from now on can be told from what was before.
    pub(crate) fn renew_process_tag(&mut self) {
        self.process_tag = format!("{:032x}", rand::random::<u128>());
        self.sha256 = Hash::digest(self.process_tag.as_bytes()).hex();
    }

    /// Whether this is what commands of it have in their environment.
    pub(crate) fn has_process_tag(&self, mark: &[u8]) -> bool {
        Hash::digest(mark).hex() == self.sha256
    }
}

/// How a release failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRelease {
    /// How often.
    pub times: u32,
    /// When last.
    pub last: Timestamp,
    /// How, for people.
    pub why: String,
}

impl FailedRelease {
    /// Until when it is left alone.
    pub fn backoff_until(&self) -> Timestamp {
        let doublings = self.times.saturating_sub(1).min(16);
        self.last.after((MIN_BACKOFF * (1 << doublings)).min(MAX_BACKOFF))
    }
}

/// The most bytes of what is kept of why a release failed.
const MAX_REASON_BYTES: usize = 1024;
/// The most releases that are remembered to have failed: the newest.
const MAX_FAILED: usize = 64;

impl Journal {
    /// Reads it. `None` if it is not what [`LogCapture::text`] could have written.
    pub fn parse(text: &[u8]) -> Option<Journal> {
        let journal: Journal = serde_json::from_slice(text).ok()?;
        let on_trial = journal.trial.iter().map(|trial| &trial.release);
        let before = journal.trial.iter().filter_map(|trial| trial.before.as_ref());
        let named = (journal.good.iter().chain(journal.failed.keys()))
            .chain(&journal.approved)
            .chain(on_trial.chain(before))
            .all(|release| Manifest::sequence_from_label(release).is_some());
        named.then_some(journal)
    }

    /// The file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// The highest sequence that ever proved good, as far as it is known here.
    pub fn floor(&self) -> u64 {
        let good = self.good.iter().filter_map(|release| Manifest::sequence_from_label(release));
        good.max().unwrap_or(0).max(self.floor)
    }

    /// Refuses a release that is on trial, or that failed and is to be left alone at `now`.
    pub fn check_can_install(&self, release: &str, now: Timestamp) -> Result<(), InstallRefusal> {
        if self.trial.as_ref().is_some_and(|trial| trial.release == release) {
            return Err(InstallRefusal::OnTrial { release: release.to_owned() });
        }
        self.check_backoff(release, now)
    }

    /// Refuses a release that failed and is to be left alone at `now`.
    pub fn check_backoff(&self, release: &str, now: Timestamp) -> Result<(), InstallRefusal> {
        match self.failed.get(release) {
            // A clock that was put back does not make the wait longer than it is.
            Some(failed) if failed.last <= now && now < failed.backoff_until() => {
                Err(InstallRefusal::Unhealthy {
                    release: release.to_owned(),
                    why: format!("it is left alone for a while: {}", failed.why),
                    until: Some(failed.backoff_until()),
                })
            }
            _ => Ok(()),
        }
    }

    /// A release has proved good.
    pub(crate) fn mark_good(&mut self, release: &str) {
        self.approved.take_if(|vouched| vouched == release);
        self.set_current(release);
        // Nobody goes back to try those.
        let sequence = Manifest::sequence_from_label(release);
        self.failed.retain(|failed, _| Manifest::sequence_from_label(failed) > sequence);
    }

    /// A good release is the present one.
    pub(crate) fn set_current(&mut self, release: &str) {
        self.trial = None;
        self.good.retain(|good| good != release);
        self.good.push(release.to_owned());
        self.floor = self.floor();
    }

    /// Its trial has failed.
    pub(crate) fn record_failure(
        &mut self,
        release: &str,
        why: &str,
        now: Timestamp,
    ) -> InstallRefusal {
        // One line, also in the file: a control character takes six bytes there.
        let words = why.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut why: String = words.collect();
        if why.len() > MAX_REASON_BYTES {
            why.truncate(why.floor_char_boundary(MAX_REASON_BYTES));
            why.push('…');
        }
        self.trial.take_if(|trial| trial.release == release);
        self.approved.take_if(|vouched| vouched == release);
        let times = self.failed.get(release).map_or(0, |failed| failed.times).saturating_add(1);
        let failed = FailedRelease { times, last: now, why: why.clone() };
        let until = Some(failed.backoff_until());
        self.failed.insert(release.to_owned(), failed);
        while self.failed.len() > MAX_FAILED {
            let oldest =
                self.failed.keys().min_by_key(|failed| Manifest::sequence_from_label(failed));
            let oldest = oldest.cloned();
            self.failed.retain(|failed, _| Some(failed) != oldest.as_ref());
        }
        InstallRefusal::Unhealthy { release: release.to_owned(), why, until }
    }
}
