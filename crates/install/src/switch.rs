//! A switch and its trial: what the operator configured around it, and the way back.
//!
//! 1. The journal says what is on trial and what is installed before.
//! 2. `pre_install` runs. Whoever installs looks once more whether it still may.
//! 3. Versions too many are removed; this one gets its name.
//! 4. `handover` is given the artifact; `current` is swapped.
//! 5. `post_install`, `restart` and the check run. If all end well, the journal says so, and then
//!    `on_success` runs: what it comes to changes nothing any more.
//!
//! If one of 2 to 5 does not, or is interrupted, the version before comes back: see
//! [`InstallRoot::recover`]. Where nothing is configured, 1 and the commands fall away.

use unanimity_protocol::{ConfirmedRelease, Refusal, Timestamp};
use unanimity_storage::{Clock, Lock};

use crate::hooks::{HookError, check_hooks_executable};
use crate::journal::{Journal, Trial};
use crate::{ArtifactMismatch, InstallError, InstallRoot, Installed, PreparedVersion};

/// The right to switch to one release, from before `pre_install` until its trial has ended.
#[derive(Debug)]
pub struct Switch {
    root: InstallRoot,
    journal: Journal,
    trial: Trial,
    lock: Lock,
}

/// A release that has proved good, and is written down as that.
#[derive(Debug)]
pub struct Committed {
    root: InstallRoot,
    trial: Trial,
    _lock: Lock,
    /// What is installed.
    pub installed: Installed,
}

impl InstallRoot {
    /// Takes the right to switch, runs `pre_install`, and then asks whether it may still be:
    /// `pre_install` may take long. Whatever another process has done to this root since the release
    /// was chosen counts.
    pub async fn begin_switch<E: From<InstallError>>(
        &self,
        confirmed: &ConfirmedRelease,
        clock: &impl Clock,
        recheck: impl FnOnce() -> Result<(), E>,
    ) -> Result<Switch, E> {
        let switch = self.begin_trial(confirmed, clock).await?;
        if let Err(trouble) = self.pre_install(switch.trial.forward()).await {
            return Err(switch.fail(&trouble, clock.now()).await.into());
        }
        match recheck() {
            Ok(()) => Ok(switch),
            Err(why) => {
                switch.abandon().await?;
                Err(why)
            }
        }
    }

    async fn begin_trial(
        &self,
        confirmed: &ConfirmedRelease,
        clock: &impl Clock,
    ) -> Result<Switch, InstallError> {
        let (release, sequence) = (confirmed.manifest().label(), confirmed.manifest().sequence);
        check_hooks_executable(&self.hooks)?;
        let lock = self.lock()?;
        let mut journal = self.journal()?;
        if let Some(ended) = self.end_trial(&mut journal, clock.now()).await? {
            tracing::warn!("{}", ended.message);
        }
        let floor = self.floor()?;
        // Also of a switch that was not followed by its bookkeeping, before `current` moves on.
        journal.floor = floor;
        if sequence <= floor {
            return Err(Refusal::SequenceRollback { offered: sequence, floor }.into());
        }
        journal.check_can_install(&release, clock.now())?;
        let before = self.installed()?.map(|installed| installed.release);
        let no_way_back = before.as_ref().is_some_and(|before| self.is_withdrawn(before));
        let trial = Trial { no_way_back, ..Trial::new(release, before, false) };
        if !self.hooks.has_no_hooks() {
            journal.trial = Some(trial.clone());
            self.save_journal(&journal)?;
        }
        Ok(Switch { root: self.clone(), journal, trial, lock })
    }

    /// Names the version, and makes it the present one.
    async fn switch_and_check(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        (agreed, ready, proof): (&ConfirmedRelease, PreparedVersion, &str),
        now: Timestamp,
    ) -> Result<Installed, HookError> {
        agreed.check_not_expired(now)?;
        if !ready.belongs_to(agreed.manifest()) {
            return Err(ArtifactMismatch::OtherRelease(ready.release).into());
        }
        self.remove_old_versions(journal)?;
        let release = self.add_version(ready, proof)?;
        let installed = self.switch_to(trial.forward()).await?;
        self.run_trial(trial.forward(), journal.approved.as_ref() == Some(&release)).await?;
        Ok(installed)
    }
}

impl Switch {
    /// Switches to what is ready, and tries it out; goes back if it does not work.
    pub async fn finish(
        mut self,
        agreed: &ConfirmedRelease,
        ready: PreparedVersion,
        proof: &str,
        clock: &impl Clock,
    ) -> Result<Committed, InstallError> {
        let what = (agreed, ready, proof);
        match self.root.switch_and_check(&mut self.journal, &self.trial, what, clock.now()).await {
            Ok(installed) => {
                let Switch { root, mut journal, trial, lock } = self;
                journal.mark_good(&trial.release);
                root.save_journal(&journal)?;
                Ok(Committed { root, trial, _lock: lock, installed })
            }
            // Nothing was tried that could be undone.
            Err(HookError::Refused(refusal)) if self.journal.trial.is_none() => Err(refusal.into()),
            Err(HookError::Artifact(mismatch)) if self.journal.trial.is_none() => {
                Err(mismatch.into())
            }
            Err(HookError::Disk(error)) if self.journal.trial.is_none() => Err(error.into()),
            Err(trouble) => Err(self.fail(&trouble, clock.now()).await),
        }
    }

    /// Goes back, and has the release tried again some time later.
    async fn fail(mut self, trouble: &HookError, now: Timestamp) -> InstallError {
        let Switch { root, journal, trial, .. } = &mut self;
        let failed = root.undo_and_record_failure(journal, trial, &trouble.to_string(), now).await;
        failed.map_or_else(InstallError::from, |(refusal, _)| refusal.into())
    }

    /// Goes back for a reason that is none of the release's.
    async fn abandon(mut self) -> Result<(), InstallError> {
        let Switch { root, journal, trial, .. } = &mut self;
        if journal.trial.is_none() {
            return Ok(());
        }
        let undone = root.undo_trial(trial).await?;
        if let Some(trouble) = undone.problem {
            tracing::warn!("{trouble}");
        }
        journal.trial = None;
        Ok(root.save_journal(journal)?)
    }
}

impl Committed {
    /// Runs `on_success`: whoever installs has written down all that there is to be remembered.
    pub async fn on_success(self) -> Installed {
        self.root.on_success(self.trial.forward()).await;
        self.installed
    }
}
