//! Going back, and vouching: where the operator knows better than the check.

use super::trial::{INTERRUPTED, Trouble};
use super::{InstallError, Installed, Root};
use crate::durable::DiskError;
use crate::verify::Timestamp;

/// What going back by hand came to.
#[derive(Debug)]
pub struct RolledBack {
    /// What is installed now.
    pub installed: Installed,
    /// What of the commands after the switch failed, if one did.
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
    Disk(#[from] DiskError),
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

fn no_version(wanted: Option<&str>) -> String {
    wanted.map_or("there is no other version here that proved good".to_owned(), |wanted| {
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
    /// Makes a good version the present one: `to`, or the one that was before this.
    pub async fn roll_back(
        &self,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<RolledBack, ByHandError> {
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        if let Some(trial) = journal.trial.clone() {
            self.go_back(&mut journal, &trial, INTERRUPTED.to_owned(), now).await?;
        }
        let before = self.installed()?.map(|installed| installed.release);
        let there = self.versions()?;
        let good = |release: &&String| there.contains(release);
        let earlier = || journal.good.iter().rev().filter(|good| Some(*good) != before.as_ref());
        let target = match to {
            Some(to) => journal.good.iter().filter(good).find(|good| *good == to).cloned(),
            None => earlier().find(good).cloned(),
        };
        let Some(target) = target else {
            let good = journal.good.iter().filter(good).cloned().collect();
            return Err(ByHandError::NoVersion { wanted: to.map(str::to_owned), good });
        };
        let installed = match self.go_to(&target, before.as_deref()).await {
            Ok(installed) => installed,
            Err(Trouble::Disk(error)) => return Err(error.into()),
            Err(trouble) => return Err(ByHandError::Handover(trouble.to_string())),
        };
        // What is installed is what was switched to last; none that failed is forgotten for it.
        journal.good.retain(|good| *good != target);
        journal.good.push(target.clone());
        self.keep_journal(&journal)?;
        let trouble = self.try_out(&target, before.as_deref(), false).await.err();
        Ok(RolledBack { installed, trouble: trouble.map(|trouble| trouble.to_string()) })
    }

    /// The operator's word for a release: if its trial was interrupted, it has passed; if it failed,
    /// it is tried again at once, and without the check. Returns which, and whether it has passed.
    pub fn mark_good(&self, release: Option<&str>) -> Result<(String, bool), ByHandError> {
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let current = self.installed()?.map(|installed| installed.release);
        let trial = journal.trial.as_ref().map(|trial| trial.release.clone());
        let on_trial = trial.filter(|release| Some(release) == current.as_ref());
        let is_meant = |candidate: &String| release.is_none_or(|release| release == candidate);
        let (release, passed) = match on_trial.filter(is_meant) {
            Some(release) => {
                journal.prove(&release);
                (release, true)
            }
            None => match journal.failed.keys().rev().find(|failed| is_meant(failed)).cloned() {
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
