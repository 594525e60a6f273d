//! What an operator is told when the node's condition changes, and by whom.
//!
//! Every cycle leaves the node in one [`Condition`]. Each change is announced once: to the log,
//! and to the operator's command, which gets one line of JSON on its standard input:
//!
//! ```json
//! {"schema":"unanimity/v1","event":"alarm","condition":"fork","since":1790000000,"message":"fork: evidence …","details":{"outcome":"fork","evidence":"6c1f…","unwell_since":1790000000}}
//! ```
//!
//! `condition` is one word, `since` is when the node came into it (seconds since 1970), `message`
//! is for people, and of `details` only `outcome` is always there: the word that `--json` has too.
//!
//! What was announced is remembered, with what still has to be. A command that cannot start, fails
//! or takes longer than a minute is run again after the next cycle, and holds up nothing else: all
//! that waits is tried in each cycle, forks first and the rest in order, until a minute is lost to
//! tries that failed. What was at work then takes its next turn behind the others. So nothing is
//! lost, but it may be told late: `since` says what is the latest. Only a crash between the
//! command's end and the note of it, or a disk that takes no notes, makes anything be said twice.
//! Where memory fails, it fails towards saying it again.

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

/// How long the command may take.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// Tells the operator of every change. One for each state directory.
#[derive(Debug)]
pub struct Alerts {
    settings: AlertSettings,
    path: PathBuf,
    disk: Storage,
    transitions: Transitions,
    /// The file does not hold `transitions` yet.
    is_unsaved: bool,
    /// What the minute ran out at: behind all others that wait, the one of the last cycle last.
    slow: Vec<Announcement>,
}

/// The most bytes of the file: as many announcements as may wait, each with every peer of a circle.
const MAX_FILE_BYTES: usize = 4 * 1024 * 1024;

impl Alerts {
    /// Opens what was announced before, in `state/alarm.json`. A file that cannot be used is
    /// logged and forgotten, and then what is wrong is told again: nobody would hear of an error.
    pub fn open(alarm: AlertSettings, state: &Path, disk: Storage) -> Alerts {
        let path = state.join("alarm.json");
        let changes = match unanimity_storage::read(&path, MAX_FILE_BYTES) {
            Ok(None) => Some(Transitions::default()),
            Ok(Some(bytes)) => Transitions::parse(&bytes),
            Err(error) => {
                tracing::warn!("{}", redact(error));
                None
            }
        };
        let changes = changes.unwrap_or_else(|| {
            tracing::warn!("{}: what was told before is not known", path.display());
            Transitions::with_unknown_history()
        });
        Alerts {
            settings: alarm,
            path,
            disk,
            transitions: changes,
            is_unsaved: false,
            slow: Vec::new(),
        }
    }

    /// A cycle has ended, `now`: tells what is new, and what is still to be told. At most a minute for
    /// each command, and no other one begins once a minute is lost to those that failed.
    pub async fn deliver(&mut self, seen: &CycleStatus, now: Timestamp) {
        let before = self.transitions.clone();
        if let Some(new) = self.transitions.observe(seen, self.settings.incomplete_after, now) {
            log_announcement(new);
        }
        self.is_unsaved |= self.transitions != before;
        // Before it is told, so that a crash does not forget it; after it, so as not to repeat it.
        self.save();
        let mut lost = Duration::ZERO;
        for one in self.delivery_order() {
            let begun = Instant::now();
            let told = Invocation {
                command: self.settings.command.clone(),
                variables: Vec::new(),
                input: one.json(),
                limit: COMMAND_TIMEOUT,
            };
            match HookThreads.run(told).await {
                Ok(()) => {
                    self.transitions.mark_delivered(&one);
                    self.is_unsaved = true;
                    self.save();
                }
                Err(error) => {
                    let error = redact(error);
                    tracing::error!(
                        "the alarm command {error}; it runs again after the next cycle"
                    );
                    lost += begun.elapsed();
                    if lost >= COMMAND_TIMEOUT {
                        self.slow.retain(|slow| *slow != one);
                        self.slow.push(one);
                        break;
                    }
                }
            }
        }
    }

    /// What waits, in the order in which it is tried.
    fn delivery_order(&mut self) -> Vec<Announcement> {
        let mut turns = self.transitions.undelivered();
        self.slow.retain(|slow| turns.contains(slow));
        turns.sort_by_key(|one| self.slow.iter().position(|slow| slow == one));
        turns
    }

    /// The present condition and since when it stands; `None` before the first cycle.
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
                tracing::error!("what is told to the operator is not noted: {}", redact(error));
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
        // That all is well again is for whoever saw the warning.
        _ => tracing::warn!(%condition, %since, "{message}"),
    }
}
