//! The install journal: good versions, the version on trial, and failed versions with their
//! backoff.
//!
//! If a hook is configured, `ROOT/journal.json` is written before `current` changes. It is written
//! again after every switch. After a crash, the next run reads from the journal which trial it has
//! to undo or complete. Every user may read the journal.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use unanimity_protocol::{Hash, Manifest, Timestamp};

use crate::InstallRefusal;

/// Wait before a failed release is tried again, after its first failure. The wait doubles with each
/// later failure, up to [`MAX_BACKOFF`].
pub const MIN_BACKOFF: Duration = Duration::from_secs(10 * 60);
/// The longest wait before a failed release is tried again: a day.
pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);

/// The install journal. Every release in it is named `SEQUENCE-VERSION`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// The highest sequence that ever proved good. Nothing lowers it.
    #[serde(default)]
    pub floor: u64,
    /// The releases that proved good and are still kept, each once. The one that was installed last
    /// is at the end.
    pub good: Vec<String>,
    /// The switch whose release has not passed or failed its trial yet.
    pub trial: Option<Trial>,
    /// The failed releases. An entry is removed when the release or a newer one passes its trial,
    /// or when the operator approves the release. At most `MAX_FAILED` entries are kept.
    pub failed: BTreeMap<String, FailedRelease>,
    /// The failed release that the operator has marked as good. Its next trial omits the check.
    pub approved: Option<String>,
}

/// A switch whose result is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The release that is switched to.
    pub release: String,
    /// The release that was installed before, if any.
    pub before: Option<String>,
    /// Whether this is a roll-back by the operator. After an interruption it is completed, not
    /// undone.
    #[serde(default)]
    pub is_rollback: bool,
    /// Random secret in the environment of this trial's commands. After an interruption, the next
    /// run finds the commands by the secret. The journal file does not contain it, so no other
    /// process can copy it from there.
    #[serde(default, skip_serializing)]
    pub process_tag: String,
    /// SHA-256 of [`Trial::process_tag`], in hexadecimal.
    #[serde(default)]
    pub sha256: String,
    /// Whether the publisher has withdrawn the release in `before`, so that an undone trial cannot
    /// return to it.
    #[serde(default)]
    pub no_way_back: bool,
    /// The number of runs that have tried to end this trial after an interruption.
    #[serde(default)]
    pub recovery_attempts: u32,
}

impl Trial {
    /// A new trial, with a new process tag.
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

    /// Draws a new process tag, so that later commands have another tag than the commands of an
    /// earlier run.
    pub(crate) fn renew_process_tag(&mut self) {
        self.process_tag = format!("{:032x}", rand::random::<u128>());
        self.sha256 = Hash::digest(self.process_tag.as_bytes()).hex();
    }

    /// Whether `tag` is the process tag of this trial.
    pub(crate) fn has_process_tag(&self, tag: &[u8]) -> bool {
        Hash::digest(tag).hex() == self.sha256
    }
}

/// The failures of one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailedRelease {
    /// Number of failures.
    pub times: u32,
    /// Time of the last failure.
    pub last: Timestamp,
    /// Reason of the last failure, for people.
    pub why: String,
}

impl FailedRelease {
    /// The time from which the release may be tried again.
    pub fn backoff_until(&self) -> Timestamp {
        let doublings = self.times.saturating_sub(1).min(16);
        self.last.after((MIN_BACKOFF * (1 << doublings)).min(MAX_BACKOFF))
    }
}

/// The most bytes of a reason that the journal keeps. A longer reason is cut, and an ellipsis
/// added.
const MAX_REASON_BYTES: usize = 1024;
/// The most failed releases that the journal keeps. The lowest sequences are dropped first.
const MAX_FAILED: usize = 64;

impl Journal {
    /// Parses the contents of `journal.json`. `None` if the contents are not a journal, or name
    /// a release in another form than `SEQUENCE-VERSION`.
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

    /// The contents of `journal.json`: JSON with a final newline.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data") + "\n"
    }

    /// The highest sequence that ever proved good, from the stored floor and the good releases.
    pub fn floor(&self) -> u64 {
        let good = self.good.iter().filter_map(|release| Manifest::sequence_from_label(release));
        good.max().unwrap_or(0).max(self.floor)
    }

    /// Refuses a release that is on trial, or that has failed and is still in its backoff at `now`.
    pub fn check_can_install(&self, release: &str, now: Timestamp) -> Result<(), InstallRefusal> {
        if self.trial.as_ref().is_some_and(|trial| trial.release == release) {
            return Err(InstallRefusal::OnTrial { release: release.to_owned() });
        }
        self.check_backoff(release, now)
    }

    /// Refuses a release that has failed and is still in its backoff at `now`.
    pub fn check_backoff(&self, release: &str, now: Timestamp) -> Result<(), InstallRefusal> {
        match self.failed.get(release) {
            // A clock that was set back must not lengthen the wait.
            Some(failed) if failed.last <= now && now < failed.backoff_until() => {
                Err(InstallRefusal::Unhealthy {
                    release: release.to_owned(),
                    why: format!("it failed earlier: {}", failed.why),
                    until: Some(failed.backoff_until()),
                })
            }
            _ => Ok(()),
        }
    }

    /// Records that an installed release has proved good. Ends the trial, and removes the failures
    /// of this release and of older ones.
    pub(crate) fn mark_good(&mut self, release: &str) {
        self.approved.take_if(|approved| approved == release);
        self.set_current(release);
        // Older releases are never tried again.
        let sequence = Manifest::sequence_from_label(release);
        self.failed.retain(|failed, _| Manifest::sequence_from_label(failed) > sequence);
    }

    /// Records that a good release is installed. Ends the trial.
    pub(crate) fn set_current(&mut self, release: &str) {
        self.trial = None;
        self.good.retain(|good| good != release);
        self.good.push(release.to_owned());
        self.floor = self.floor();
    }

    /// Records that the trial of a release has failed. Returns the refusal to report.
    pub(crate) fn record_failure(
        &mut self,
        release: &str,
        why: &str,
        now: Timestamp,
    ) -> InstallRefusal {
        // The reason stays one line. In JSON, a control character would take six bytes.
        let cleaned = why.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut why: String = cleaned.collect();
        if why.len() > MAX_REASON_BYTES {
            why.truncate(why.floor_char_boundary(MAX_REASON_BYTES));
            why.push('…');
        }
        self.trial.take_if(|trial| trial.release == release);
        self.approved.take_if(|approved| approved == release);
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
