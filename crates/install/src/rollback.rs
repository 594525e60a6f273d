//! Roll-back by the operator, and approval of a release without its health check.

use unanimity_protocol::{Manifest, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::hooks::{HookError, check_hooks_executable};
use crate::journal::{Journal, Trial};
use crate::{InstallError, InstallRoot, Installed};

/// Result of a roll-back by the operator.
#[derive(Debug)]
pub struct RollbackOutcome {
    /// The version that is installed now, if any.
    pub installed: Option<Installed>,
    /// The version that was installed before this roll-back, if any.
    pub before: Option<String>,
    /// Message about an interrupted trial that the roll-back ended first.
    pub previous_trial: Option<String>,
    /// Message about the step that failed, if one did.
    pub problem: Option<String>,
}

/// Why a roll-back or an approval by the operator failed.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// A step failed that a roll-back and an installation share, such as taking the lock.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The storage failed.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// The publisher has withdrawn the release.
    #[error("the publisher has withdrawn {0}: there is no way back to it")]
    Withdrawn(String),
    /// No intact good version has the wanted label, or none is older than the installed version.
    #[error("{}{}", no_version(.wanted.as_deref()), list_good(.good))]
    NoVersion {
        /// The version that the operator named, if any.
        wanted: Option<String>,
        /// The good versions that the operator could name instead.
        good: Vec<String>,
    },
    /// The hook `handover` failed for the version to go back to.
    #[error("nothing was switched: {0}")]
    Handover(String),
    /// The release is not on trial and has not failed, so there is nothing to approve.
    #[error("{}: there is nothing to mark", no_trial(.0.as_deref()))]
    NoTrial(Option<String>),
}

/// Whether a version is older than the installed one, so that a second roll-back does not go
/// forward again. Every version is older if none is installed.
pub(crate) fn is_older(release: &str, current: Option<&str>) -> bool {
    current.is_none_or(|current| {
        Manifest::sequence_from_label(release) < Manifest::sequence_from_label(current)
    })
}

fn no_version(wanted: Option<&str>) -> String {
    wanted.map_or("there is no older version here that proved good".to_owned(), |wanted| {
        format!("there is no version {wanted:?} here that proved good")
    })
}

fn list_good(good: &[String]) -> String {
    if good.is_empty() { String::new() } else { format!("; there is {}", good.join(", ")) }
}

fn no_trial(release: Option<&str>) -> String {
    release.map_or("no release is on trial, and none has failed".to_owned(), |release| {
        format!("release {release:?} is not on trial, and has not failed")
    })
}

impl InstallRoot {
    /// Goes back to the good version `to`. If `to` is `None`, goes back to the most recently
    /// installed good version that is older than the current one.
    ///
    /// An interrupted trial is ended first. If that installs the right version and `to` is `None`,
    /// nothing else happens.
    pub async fn roll_back(
        &self,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<RollbackOutcome, RollbackError> {
        check_hooks_executable(&self.hooks)?;
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let recovered = self.end_trial(&mut journal, now).await?;
        // A killed switch may have replaced `current` without recording the version in the journal.
        // The journal takes that version into its floor before `current` changes.
        journal.floor = self.floor()?;
        let current = self.installed()?;
        if let (None, Some(recovered)) = (to, &recovered)
            && recovered.is_restored
        {
            let previous_trial = Some(recovered.message.clone());
            let problem = recovered.problem.clone();
            // The release that was on trial is tried again later, so the operator has not left it.
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
        Ok(RollbackOutcome { previous_trial: recovered.map(|recovered| recovered.message), ..done })
    }

    /// Switches to the version of a roll-back, runs its hooks and its check, and ends its trial in
    /// the journal. If the hook `handover` fails, the installed version stays.
    pub(crate) async fn complete_rollback(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        now: Timestamp,
    ) -> Result<RollbackOutcome, RollbackError> {
        let release = &trial.release;
        // The release may have been withdrawn since the roll-back began.
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
            Err(error) => {
                let mut why = error.to_string();
                if let Some(back) = trial.backward()
                    && let Err(error) = self.hand_over(back).await
                {
                    why += &format!("; handing over {} again failed, too: {error}", back.release);
                }
                journal.trial = None;
                self.save_journal(journal)?;
                return Err(RollbackError::Handover(why));
            }
        };
        let error = self.run_trial(trial.forward(), false).await.err();
        let problem = error.map(|error| error.to_string());
        // Only this release's failure is forgotten: a roll-back proves nothing about other failed
        // releases.
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

    /// Records that the operator approves `release`. If `release` is `None`, this is the release
    /// that is on trial or has failed. Returns its label, and whether it counts as good now.
    ///
    /// - If the release is installed, it counts as good, although its trial was interrupted or has
    ///   failed.
    /// - If the release has failed and is not installed, the next update tries it again without the
    ///   check.
    pub async fn mark_good(&self, release: Option<&str>) -> Result<(String, bool), RollbackError> {
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let current = self.installed()?.map(|installed| installed.release);
        let trial = journal.trial.as_ref().filter(|trial| !trial.is_rollback);
        let trial = trial.map(|trial| &trial.release);
        let is_open =
            |release: &String| trial == Some(release) || journal.failed.contains_key(release);
        let on_trial = current.filter(is_open);
        let is_wanted = |candidate: &String| release.is_none_or(|release| release == candidate);
        let (release, passed) = match on_trial.filter(is_wanted) {
            Some(release) => {
                if let Some(trial) = &journal.trial {
                    trial.kill_leftovers()?;
                }
                journal.mark_good(&release);
                (release, true)
            }
            None => match (journal.failed.keys().filter(|failed| is_wanted(failed)))
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
