//! Going back, and vouching: where the operator knows better than the check.

use unanimity_protocol::{Manifest, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::hooks::{HookError, check_hooks_executable};
use crate::journal::{Journal, Trial};
use crate::{InstallError, InstallRoot, Installed};

/// What going back by hand came to.
#[derive(Debug)]
pub struct RollbackOutcome {
    /// What is installed now, if anything is.
    pub installed: Option<Installed>,
    /// What was installed before, and was left by this.
    pub before: Option<String>,
    /// What came of a trial that had been interrupted and was ended first.
    pub previous_trial: Option<String>,
    /// What of it did not work, if something did not.
    pub problem: Option<String>,
}

/// Why nothing came of what was to be done by hand.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// As in any installing.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Its publisher has taken it back.
    #[error("{0} was taken back by its publisher: there is no way back to it")]
    Withdrawn(String),
    /// There is no such version to go back to.
    #[error("{}{}", no_version(.wanted.as_deref()), there_is(.good))]
    NoVersion {
        /// What was asked for, if anything was named.
        wanted: Option<String>,
        /// What there is.
        good: Vec<String>,
    },
    /// What was to be gone back to could not be handed over.
    #[error("nothing was switched: {0}")]
    Handover(String),
    /// Nobody's word is asked for.
    #[error("{}: there is nothing to mark", no_trial(.0.as_deref()))]
    NoTrial(Option<String>),
}

/// Asked twice, nobody goes forward again to what they have just left.
pub(crate) fn is_older(release: &str, current: Option<&str>) -> bool {
    current.is_none_or(|current| {
        Manifest::sequence_from_label(release) < Manifest::sequence_from_label(current)
    })
}

fn no_version(wanted: Option<&str>) -> String {
    wanted.map_or("there is no older version here that proved good".to_owned(), |wanted| {
        format!("there is no version {wanted} here that proved good")
    })
}

fn there_is(good: &[String]) -> String {
    if good.is_empty() { String::new() } else { format!("; there is {}", good.join(", ")) }
}

fn no_trial(release: Option<&str>) -> String {
    release.map_or("no release is on trial, and none has failed".to_owned(), |release| {
        format!("release {release} is not on trial, and has not failed")
    })
}

impl InstallRoot {
    /// Makes a good version the present one: `to`, or, of those that are older than this, the one that
    /// was installed last. A trial that was interrupted is ended first, and where that worked and no
    /// version is named, that is all.
    pub async fn roll_back(
        &self,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<RollbackOutcome, RollbackError> {
        check_hooks_executable(&self.hooks)?;
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let ended = self.end_trial(&mut journal, now).await?;
        // Also of a switch that was not followed by its bookkeeping, before `current` moves on.
        journal.floor = self.floor()?;
        let current = self.installed()?;
        if let (None, Some(ended)) = (to, &ended)
            && ended.is_restored
        {
            let (previous_trial, problem) = (Some(ended.message.clone()), ended.problem.clone());
            // What was on trial is not left for good: it is tried again.
            return Ok(RollbackOutcome {
                installed: current,
                before: None,
                previous_trial,
                problem,
            });
        }
        if let Some(to) = to.filter(|to| self.is_withdrawn(to)) {
            return Err(RollbackError::Withdrawn(to.to_owned()));
        }
        let before = current.map(|installed| installed.release);
        let mut good = Vec::new();
        for release in &journal.good {
            if !self.is_withdrawn(release) && self.is_intact(release)? {
                good.push(release.clone());
            }
        }
        let target = match to {
            Some(to) => good.iter().find(|good| *good == to),
            None => good.iter().rev().find(|good| is_older(good, before.as_deref())),
        };
        let Some(release) = target.cloned() else {
            let wanted = to.map(str::to_owned);
            good.retain(|good| Some(good) != before.as_ref());
            return Err(RollbackError::NoVersion { wanted, good });
        };
        let trial = Trial::new(release, before, true);
        journal.trial = Some(trial.clone());
        self.save_journal(&journal)?;
        let done = self.complete_rollback(&mut journal, &trial, now).await?;
        Ok(RollbackOutcome { previous_trial: ended.map(|ended| ended.message), ..done })
    }

    /// Goes back to what the operator wants back, or stays where it cannot be handed over.
    pub(crate) async fn complete_rollback(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        now: Timestamp,
    ) -> Result<RollbackOutcome, RollbackError> {
        let release = &trial.release;
        // Since it was asked for.
        if self.is_withdrawn(release) {
            journal.trial = None;
            self.save_journal(journal)?;
            return Err(RollbackError::Withdrawn(release.clone()));
        }
        if !self.is_intact(release)? {
            journal.trial = None;
            self.save_journal(journal)?;
            let good = journal.good.iter().filter(|good| *good != release).cloned().collect();
            return Err(RollbackError::NoVersion { wanted: Some(release.clone()), good });
        }
        let installed = match self.switch_to(trial.forward()).await {
            Ok(installed) => installed,
            Err(HookError::Disk(error)) => return Err(error.into()),
            Err(trouble) => {
                let mut why = trouble.to_string();
                if let Some(back) = trial.backward()
                    && let Err(trouble) = self.hand_over(back).await
                {
                    why += &format!("; nor is {} handed over again: {trouble}", back.release);
                }
                journal.trial = None;
                self.save_journal(journal)?;
                return Err(RollbackError::Handover(why));
            }
        };
        let trouble = self.run_trial(trial.forward(), false).await.err();
        let problem = trouble.map(|trouble| trouble.to_string());
        // What is installed is what was switched to last; no other that failed is forgotten for it.
        journal.set_current(release);
        match &problem {
            None => drop(journal.failed.remove(release)),
            Some(why) => drop(journal.record_failure(release, why, now)),
        }
        self.save_journal(journal)?;
        let installed = Some(installed);
        let before = trial.before.clone();
        Ok(RollbackOutcome { installed, before, previous_trial: None, problem })
    }

    /// The operator's word for a release: if its trial was interrupted, or it stayed though it failed, it
    /// has passed; if it gave way, it is tried again at once, and without the check. Returns which, and
    /// whether it has passed.
    pub async fn mark_good(&self, release: Option<&str>) -> Result<(String, bool), RollbackError> {
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let current = self.installed()?.map(|installed| installed.release);
        let trial = journal.trial.as_ref().filter(|trial| !trial.is_rollback);
        let trial = trial.map(|trial| &trial.release);
        let is_open =
            |release: &String| trial == Some(release) || journal.failed.contains_key(release);
        let on_trial = current.filter(is_open);
        let is_meant = |candidate: &String| release.is_none_or(|release| release == candidate);
        let (release, passed) = match on_trial.filter(is_meant) {
            Some(release) => {
                if let Some(trial) = &journal.trial {
                    trial.kill_leftovers()?;
                }
                journal.mark_good(&release);
                (release, true)
            }
            None => match (journal.failed.keys().filter(|failed| is_meant(failed)))
                .max_by_key(|failed| Manifest::sequence_from_label(failed))
                .cloned()
            {
                Some(release) => {
                    journal.failed.remove(&release);
                    journal.approved = Some(release.clone());
                    (release, false)
                }
                None => return Err(RollbackError::NoTrial(release.map(str::to_owned))),
            },
        };
        self.save_journal(&journal)?;
        Ok((release, passed))
    }
}

impl Classify for RollbackError {
    fn exit(&self) -> Exit {
        match self {
            RollbackError::Install(error) => error.exit(),
            RollbackError::Disk(_) => Exit::Disk,
            RollbackError::NoVersion { .. } | RollbackError::NoTrial(_) => Exit::Usage,
            RollbackError::Withdrawn(_) => Exit::Withdrawn,
            RollbackError::Handover(_) => Exit::Unhealthy,
        }
    }
}
