//! The switch to a new version, with the operator's hooks and the trial of the version.

use unanimity_protocol::{ConfirmedRelease, Refusal, Timestamp};
use unanimity_storage::{Clock, Lock};

use crate::hooks::{HookError, check_hooks_executable};
use crate::journal::{Journal, Trial};
use crate::{ArtifactMismatch, InstallError, InstallRoot, Installed, PreparedVersion};

/// A switch to one release, begun by [`InstallRoot::begin_switch`]. The lock of the install root is
/// held until the switch has failed, or until [`Committed`] is dropped.
///
/// 1. The journal records the version on trial and the previous version.
/// 2. `pre_install` runs. Afterwards the caller checks again whether it may install.
/// 3. Old versions are removed, and the new version gets its name.
/// 4. `handover` gets the artifact, and `current` is replaced.
/// 5. `post_install`, `restart` and the health check run. If all succeed, the journal names the
///    version as good. Then `on_success` runs, whose result changes nothing.
///
/// If one of steps 2 to 5 fails or is interrupted, the previous version is restored: see
/// [`InstallRoot::recover`]. Without any configured hook, there is no step 1.
#[derive(Debug)]
pub struct Switch {
    root: InstallRoot,
    journal: Journal,
    trial: Trial,
    lock: Lock,
}

/// A version that has proved good and is recorded as good in the journal.
#[derive(Debug)]
pub struct Committed {
    root: InstallRoot,
    trial: Trial,
    _lock: Lock,
    /// The installed version.
    pub installed: Installed,
}

impl InstallRoot {
    /// Begins a switch: takes the lock, checks the floor and the journal, runs `pre_install`, and
    /// then calls `recheck`, because `pre_install` may take long.
    ///
    /// The floor and the journal are read under the lock. So changes of the root by another
    /// process, since the release was chosen, take effect.
    ///
    /// # Errors
    ///
    /// If `pre_install` fails, the journal records the failure of the release. If `recheck` fails,
    /// the switch is undone without such a record.
    pub async fn begin_switch<E: From<InstallError>>(
        &self,
        confirmed: &ConfirmedRelease,
        clock: &impl Clock,
        recheck: impl FnOnce() -> Result<(), E>,
    ) -> Result<Switch, E> {
        let switch = self.begin_trial(confirmed, clock).await?;
        if let Err(error) = self.pre_install(switch.trial.forward()).await {
            return Err(switch.fail(&error, clock.now()).await.into());
        }
        match recheck() {
            Ok(()) => Ok(switch),
            Err(error) => {
                switch.abandon().await?;
                Err(error)
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
        if let Some(recovered) = self.end_trial(&mut journal, clock.now()).await? {
            tracing::warn!("{}", recovered.message);
        }
        let floor = self.floor()?;
        // A killed switch may have replaced `current` without recording the version in the journal.
        // The journal takes that version into its floor before `current` changes.
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

    /// Gives the version its name, points `current` at it, and runs its trial.
    async fn switch_and_check(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        (confirmed, prepared, proof): (&ConfirmedRelease, PreparedVersion, &str),
        now: Timestamp,
    ) -> Result<Installed, HookError> {
        confirmed.check_not_expired(now)?;
        if !prepared.belongs_to(confirmed.manifest()) {
            return Err(ArtifactMismatch::OtherRelease(prepared.release).into());
        }
        self.remove_old_versions(journal)?;
        let release = self.add_version(prepared, proof)?;
        let installed = self.switch_to(trial.forward()).await?;
        self.run_trial(trial.forward(), journal.approved.as_ref() == Some(&release)).await?;
        Ok(installed)
    }
}

impl Switch {
    /// Installs the prepared version and runs its trial. If the trial fails, restores the previous
    /// version and records the failure.
    pub async fn finish(
        mut self,
        confirmed: &ConfirmedRelease,
        prepared: PreparedVersion,
        proof: &str,
        clock: &impl Clock,
    ) -> Result<Committed, InstallError> {
        let release = (confirmed, prepared, proof);
        match self.root.switch_and_check(&mut self.journal, &self.trial, release, clock.now()).await
        {
            Ok(installed) => {
                let Switch { root, mut journal, trial, lock } = self;
                journal.mark_good(&trial.release);
                root.save_journal(&journal)?;
                Ok(Committed { root, trial, _lock: lock, installed })
            }
            // Without hooks there is no trial, so there is nothing to undo.
            Err(HookError::Refused(refusal)) if self.journal.trial.is_none() => Err(refusal.into()),
            Err(HookError::Artifact(mismatch)) if self.journal.trial.is_none() => {
                Err(mismatch.into())
            }
            Err(HookError::Disk(error)) if self.journal.trial.is_none() => Err(error.into()),
            Err(error) => Err(self.fail(&error, clock.now()).await),
        }
    }

    /// Restores the previous version, and records the failure of the release, from which its
    /// backoff follows.
    async fn fail(mut self, error: &HookError, now: Timestamp) -> InstallError {
        let Switch { root, journal, trial, .. } = &mut self;
        let failed = root.undo_and_record_failure(journal, trial, &error.to_string(), now).await;
        failed.map_or_else(InstallError::from, |(refusal, _)| refusal.into())
    }

    /// Restores the previous version, without recording a failure of the release.
    async fn abandon(mut self) -> Result<(), InstallError> {
        let Switch { root, journal, trial, .. } = &mut self;
        if journal.trial.is_none() {
            return Ok(());
        }
        let undone = root.undo_trial(trial).await?;
        if let Some(problem) = undone.problem {
            tracing::warn!("{problem}");
        }
        journal.trial = None;
        Ok(root.save_journal(journal)?)
    }
}

impl Committed {
    /// Runs the hook `on_success`. Call it after the state that depends on the installation is
    /// stored.
    pub async fn on_success(self) -> Installed {
        self.root.on_success(self.trial.forward()).await;
        self.installed
    }
}
