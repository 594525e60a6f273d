//! Alerts: a message to the log and to the operator's command when the node's condition changes.
//!
//! Every cycle leaves the node in one [`Condition`]. Each change is announced once: to the
//! program's log, and to the operator's command, which gets one line of JSON on its standard input:
//!
//! ```json
//! {"schema":"unanimity/v1","event":"alert","condition":"fork","since":1790000000,"message":"fork: evidence …","details":{"outcome":"fork","evidence":"6c1f…","unhealthy_since":1790000000}}
//! ```
//!
//! - `condition` is one word.
//! - `since` is when the condition began, in seconds since 1970.
//! - `message` is for people.
//! - `details` always has `outcome`, the same word as in the output of `--json`. Its other fields
//!   may be absent.
//!
//! `alerts.json` in the state directory stores the last announced condition, and the announcements
//! that wait for delivery. The rules of delivery:
//!
//! 1. After each cycle, all waiting announcements are tried: forks first, the others oldest first.
//! 2. A command that cannot start, fails, or exceeds [`COMMAND_TIMEOUT`] runs again after the next
//!    cycle.
//! 3. Once failed tries have taken [`COMMAND_TIMEOUT`] after one cycle, the other announcements
//!    wait for the next cycle. The announcement of the last try then comes after the others.
//!
//! At most 16 announcements wait. A further one replaces the oldest, a fork only if all are forks.
//! Delivery may be late: `since` tells which announcement is the latest. An announcement is
//! repeated only after a crash between the command's end and the write of the file, or if the file
//! cannot be written or read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use unanimity_client::HookThreads;
use unanimity_config::AlertSettings;
use unanimity_install::HookRunner as _;
use unanimity_install::process::Invocation;
use unanimity_protocol::Timestamp;
use unanimity_report::{Announcement, Condition, CycleStatus, Transitions, redact};
use unanimity_storage::{Mode, Storage, StorageError};

/// The time limit of the operator's command. It is also the time that failed tries may take after
/// one cycle, before the other announcements must wait.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// The announcer of changes of a node's condition. There is one for each state directory.
#[derive(Debug)]
pub struct Alerts {
    settings: AlertSettings,
    path: PathBuf,
    disk: Storage,
    transitions: Transitions,
    /// Whether `transitions` has changes that the file does not have yet.
    is_unsaved: bool,
    /// The announcements whose failed tries used up the time of a cycle, oldest first. They are
    /// tried last.
    slow: Vec<Announcement>,
}

/// The most bytes of `alerts.json`: room for all announcements that may wait, each with every peer.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

impl Alerts {
    /// Reads the earlier announcements from `alerts.json` in the state directory.
    ///
    /// If the file is unusable, a warning is logged, and the next condition is announced in any
    /// case. This is no error, because an error here would not reach the operator.
    pub fn open(settings: AlertSettings, state: &Path, disk: Storage) -> Alerts {
        let path = state.join("alerts.json");
        let transitions = match unanimity_storage::read(&path, MAX_FILE_BYTES) {
            Ok(None) => Some(Transitions::default()),
            Ok(Some(bytes)) => Transitions::parse(&bytes),
            Err(error) => {
                tracing::warn!("{}", redact(error));
                None
            }
        };
        let transitions = transitions.unwrap_or_else(|| {
            tracing::warn!("{}: cannot read which alerts were delivered before", path.display());
            Transitions::with_unknown_history()
        });
        Alerts { settings, path, disk, transitions, is_unsaved: false, slow: Vec::new() }
    }

    /// Records the status after a cycle that ended at `now`, and delivers all announcements that
    /// wait.
    ///
    /// Each command may take [`COMMAND_TIMEOUT`]. No further command starts once failed commands
    /// have taken that long in all.
    pub async fn deliver(&mut self, status: &CycleStatus, now: Timestamp) {
        let before = self.transitions.clone();
        if let Some(new) = self.transitions.observe(status, self.settings.incomplete_after, now) {
            log_announcement(new);
        }
        self.is_unsaved |= self.transitions != before;
        // Saved before delivery, so that a crash loses no announcement; and after delivery, so
        // that no announcement is repeated.
        self.save();
        let mut spent_on_failures = Duration::ZERO;
        for announcement in self.delivery_order() {
            let began = Instant::now();
            let invocation = Invocation {
                command: self.settings.command.clone(),
                variables: Vec::new(),
                input: announcement.json(),
                limit: COMMAND_TIMEOUT,
            };
            match HookThreads.run(invocation).await {
                Ok(()) => {
                    self.transitions.mark_delivered(&announcement);
                    self.is_unsaved = true;
                    self.save();
                }
                Err(error) => {
                    let error = redact(error);
                    tracing::error!(
                        "the alert command {error}; it runs again after the next cycle"
                    );
                    spent_on_failures += began.elapsed();
                    if spent_on_failures >= COMMAND_TIMEOUT {
                        self.slow.retain(|slow| *slow != announcement);
                        self.slow.push(announcement);
                        break;
                    }
                }
            }
        }
    }

    /// Returns the announcements that wait, in the order of their next try.
    fn delivery_order(&mut self) -> Vec<Announcement> {
        let mut waiting = self.transitions.undelivered();
        self.slow.retain(|slow| waiting.contains(slow));
        waiting.sort_by_key(|next| self.slow.iter().position(|slow| slow == next));
        waiting
    }

    /// The present condition and the time when it began; `None` before the first cycle.
    pub fn condition(&self) -> Option<(Condition, Timestamp)> {
        self.transitions.condition()
    }

    fn save(&mut self) {
        if !self.is_unsaved {
            return;
        }
        let directory = unanimity_storage::parent(&self.path);
        let text = self.transitions.text();
        let made =
            self.disk.make_dir(directory, Mode::Private).map_err(StorageError::at(directory));
        let saved = made.and_then(|()| {
            let written = self.disk.write(&self.path, text.as_bytes(), Mode::Private);
            written.map_err(StorageError::at(&self.path))
        });
        match saved {
            Ok(()) => self.is_unsaved = false,
            Err(error) => {
                tracing::error!("cannot save which alerts were delivered: {}", redact(error));
            }
        }
    }
}

fn log_announcement(new: &Announcement) {
    let Announcement { condition, since, message, .. } = new;
    match condition {
        Condition::Fork | Condition::Refused => {
            tracing::error!(%condition, %since, "{message}");
        }
        // A warning even for `healthy`: an operator who saw the problem in the log sees its end.
        _ => tracing::warn!(%condition, %since, "{message}"),
    }
}
