//! Going back, and vouching: where the operator knows better than the check.

use unanimity_protocol::{Manifest, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::hooks::{Trouble, check_commands};
use crate::journal::{Journal, Trial};
use crate::{InstallError, Installed, Root};

/// What going back by hand came to.
#[derive(Debug)]
pub struct RolledBack {
    /// What is installed now, if anything is.
    pub installed: Option<Installed>,
    /// What was installed before, and was left by this.
    pub before: Option<String>,
    /// What came of a trial that had been interrupted and was ended first.
    pub ended: Option<String>,
    /// What of it did not work, if something did not.
    pub trouble: Option<String>,
}

/// Why nothing came of what was to be done by hand.
#[derive(Debug, thiserror::Error)]
pub enum ByHandError {
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
    current.is_none_or(|current| Manifest::sequence_of(release) < Manifest::sequence_of(current))
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

impl Root {
    /// Makes a good version the present one: `to`, or, of those that are older than this, the one that
    /// was installed last. A trial that was interrupted is ended first, and where that worked and no
    /// version is named, that is all.
    pub async fn roll_back(
        &self,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<RolledBack, ByHandError> {
        check_commands(&self.procedure)?;
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let ended = self.end_trial(&mut journal, now).await?;
        // Also of a switch that was not followed by its bookkeeping, before `current` moves on.
        journal.floor = self.floor()?;
        let current = self.installed()?;
        if let (None, Some(ended)) = (to, &ended)
            && ended.is_there
        {
            let (ended, trouble) = (Some(ended.words.clone()), ended.trouble.clone());
            // What was on trial is not left for good: it is tried again.
            return Ok(RolledBack { installed: current, before: None, ended, trouble });
        }
        if let Some(to) = to.filter(|to| self.is_withdrawn(to)) {
            return Err(ByHandError::Withdrawn(to.to_owned()));
        }
        let before = current.map(|installed| installed.release);
        let mut good = Vec::new();
        for release in &journal.good {
            if !self.is_withdrawn(release) && self.is_whole(release)? {
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
            return Err(ByHandError::NoVersion { wanted, good });
        };
        let trial = Trial::of(release, before, true);
        journal.trial = Some(trial.clone());
        self.keep_journal(&journal)?;
        let done = self.go_back_by_hand(&mut journal, &trial, now).await?;
        Ok(RolledBack { ended: ended.map(|ended| ended.words), ..done })
    }

    /// Goes back to what the operator wants back, or stays where it cannot be handed over.
    pub(crate) async fn go_back_by_hand(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        now: Timestamp,
    ) -> Result<RolledBack, ByHandError> {
        let release = &trial.release;
        // Since it was asked for.
        if self.is_withdrawn(release) {
            journal.trial = None;
            self.keep_journal(journal)?;
            return Err(ByHandError::Withdrawn(release.clone()));
        }
        if !self.is_whole(release)? {
            journal.trial = None;
            self.keep_journal(journal)?;
            let good = journal.good.iter().filter(|good| *good != release).cloned().collect();
            return Err(ByHandError::NoVersion { wanted: Some(release.clone()), good });
        }
        let installed = match self.go_to(trial.forth()).await {
            Ok(installed) => installed,
            Err(Trouble::Disk(error)) => return Err(error.into()),
            Err(trouble) => {
                let mut why = trouble.to_string();
                if let Some(back) = trial.back()
                    && let Err(trouble) = self.hand_over(back).await
                {
                    why += &format!("; nor is {} handed over again: {trouble}", back.release);
                }
                journal.trial = None;
                self.keep_journal(journal)?;
                return Err(ByHandError::Handover(why));
            }
        };
        let trouble = self.try_out(trial.forth(), false).await.err();
        let trouble = trouble.map(|trouble| trouble.to_string());
        // What is installed is what was switched to last; no other that failed is forgotten for it.
        journal.present(release);
        match &trouble {
            None => drop(journal.failed.remove(release)),
            Some(why) => drop(journal.fail(release, why, now)),
        }
        self.keep_journal(journal)?;
        let installed = Some(installed);
        let before = trial.before.clone();
        Ok(RolledBack { installed, before, ended: None, trouble })
    }

    /// The operator's word for a release: if its trial was interrupted, or it stayed though it failed, it
    /// has passed; if it gave way, it is tried again at once, and without the check. Returns which, and
    /// whether it has passed.
    pub async fn mark_good(&self, release: Option<&str>) -> Result<(String, bool), ByHandError> {
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let current = self.installed()?.map(|installed| installed.release);
        let trial = journal.trial.as_ref().filter(|trial| !trial.by_hand);
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
                journal.prove(&release);
                (release, true)
            }
            None => match (journal.failed.keys().filter(|failed| is_meant(failed)))
                .max_by_key(|failed| Manifest::sequence_of(failed))
                .cloned()
            {
                Some(release) => {
                    journal.failed.remove(&release);
                    journal.vouched = Some(release.clone());
                    (release, false)
                }
                None => return Err(ByHandError::NoTrial(release.map(str::to_owned))),
            },
        };
        self.keep_journal(&journal)?;
        Ok((release, passed))
    }
}

impl Classify for ByHandError {
    fn exit(&self) -> Exit {
        match self {
            ByHandError::Install(error) => error.exit(),
            ByHandError::Disk(_) => Exit::Disk,
            ByHandError::NoVersion { .. } | ByHandError::NoTrial(_) => Exit::Usage,
            ByHandError::Withdrawn(_) => Exit::Withdrawn,
            ByHandError::Handover(_) => Exit::Unhealthy,
        }
    }
}
