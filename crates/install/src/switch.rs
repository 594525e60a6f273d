//! A switch and its trial: what the operator configured around it, and the way back.
//!
//! 1. The journal says what is on trial and what is installed before.
//! 2. `pre_install` runs. Whoever installs looks once more whether it still may.
//! 3. Versions too many are removed; this one gets its name.
//! 4. `handover` is given the artifact; `current` is swapped.
//! 5. `post_install`, `restart` and the check run. If all end well, the journal says so, and then
//!    `when_good` runs: what it comes to changes nothing any more.
//!
//! If one of 2 to 5 does not, or is interrupted, the version before comes back: see
//! [`Root::recover`]. Where nothing is configured, 1 and the commands fall away.

use unanimity_protocol::{ConfirmedRelease, Refusal, Timestamp};
use unanimity_storage::{Clock, Lock};

use crate::hooks::{Trouble, check_commands};
use crate::journal::{Journal, Trial};
use crate::{ArtifactMismatch, InstallError, Installed, Ready, Root};

/// The right to switch to one release, from before `pre_install` until its trial has ended.
#[derive(Debug)]
pub struct Switch {
    root: Root,
    journal: Journal,
    trial: Trial,
    lock: Lock,
}

/// A release that has proved good, and is written down as that.
#[derive(Debug)]
pub struct Proven {
    root: Root,
    trial: Trial,
    _lock: Lock,
    /// What is installed.
    pub installed: Installed,
}

impl Root {
    /// Takes the right to switch, runs `pre_install`, and then asks whether it may still be:
    /// `pre_install` may take long. Whatever another process has done to this root since the release
    /// was chosen counts.
    pub async fn begin<E: From<InstallError>>(
        &self,
        agreed: &ConfirmedRelease,
        clock: &impl Clock,
        may_still: impl FnOnce() -> Result<(), E>,
    ) -> Result<Switch, E> {
        let switch = self.take(agreed, clock).await?;
        if let Err(trouble) = self.pre_install(switch.trial.forth()).await {
            return Err(switch.fail(&trouble, clock.now()).await.into());
        }
        match may_still() {
            Ok(()) => Ok(switch),
            Err(why) => {
                switch.abandon().await?;
                Err(why)
            }
        }
    }

    async fn take(
        &self,
        agreed: &ConfirmedRelease,
        clock: &impl Clock,
    ) -> Result<Switch, InstallError> {
        let (release, sequence) = (agreed.manifest().label(), agreed.manifest().sequence);
        check_commands(&self.procedure)?;
        let lock = self.lock()?;
        let mut journal = self.journal()?;
        if let Some(ended) = self.end_trial(&mut journal, clock.now()).await? {
            tracing::warn!("{}", ended.words);
        }
        let floor = self.floor()?;
        // Also of a switch that was not followed by its bookkeeping, before `current` moves on.
        journal.floor = floor;
        if sequence <= floor {
            return Err(Refusal::SequenceRollback { offered: sequence, floor }.into());
        }
        journal.may_try(&release, clock.now())?;
        let before = self.installed()?.map(|installed| installed.release);
        let is_one_way = before.as_ref().is_some_and(|before| self.is_withdrawn(before));
        let trial = Trial { is_one_way, ..Trial::of(release, before, false) };
        if !self.procedure.is_plain() {
            journal.trial = Some(trial.clone());
            self.keep_journal(&journal)?;
        }
        Ok(Switch { root: self.clone(), journal, trial, lock })
    }

    /// Names the version, and makes it the present one.
    async fn switch(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        (agreed, ready, proof): (&ConfirmedRelease, Ready, &str),
        now: Timestamp,
    ) -> Result<Installed, Trouble> {
        agreed.check_not_expired(now)?;
        if !ready.is_of(agreed.manifest()) {
            return Err(ArtifactMismatch::OtherRelease(ready.release).into());
        }
        self.make_room(journal)?;
        let release = self.place(ready, proof)?;
        let installed = self.go_to(trial.forth()).await?;
        self.try_out(trial.forth(), journal.vouched.as_ref() == Some(&release)).await?;
        Ok(installed)
    }
}

impl Switch {
    /// Switches to what is ready, and tries it out; goes back if it does not work.
    pub async fn finish(
        mut self,
        agreed: &ConfirmedRelease,
        ready: Ready,
        proof: &str,
        clock: &impl Clock,
    ) -> Result<Proven, InstallError> {
        let what = (agreed, ready, proof);
        match self.root.switch(&mut self.journal, &self.trial, what, clock.now()).await {
            Ok(installed) => {
                let Switch { root, mut journal, trial, lock } = self;
                journal.prove(&trial.release);
                root.keep_journal(&journal)?;
                Ok(Proven { root, trial, _lock: lock, installed })
            }
            // Nothing was tried that could be undone.
            Err(Trouble::Refused(refusal)) if self.journal.trial.is_none() => Err(refusal.into()),
            Err(Trouble::Artifact(mismatch)) if self.journal.trial.is_none() => {
                Err(mismatch.into())
            }
            Err(Trouble::Disk(error)) if self.journal.trial.is_none() => Err(error.into()),
            Err(trouble) => Err(self.fail(&trouble, clock.now()).await),
        }
    }

    /// Goes back, and has the release tried again some time later.
    async fn fail(mut self, trouble: &Trouble, now: Timestamp) -> InstallError {
        let Switch { root, journal, trial, .. } = &mut self;
        let failed = root.undo_failed(journal, trial, &trouble.to_string(), now).await;
        failed.map_or_else(InstallError::from, |(refusal, _)| refusal.into())
    }

    /// Goes back for a reason that is none of the release's.
    async fn abandon(mut self) -> Result<(), InstallError> {
        let Switch { root, journal, trial, .. } = &mut self;
        if journal.trial.is_none() {
            return Ok(());
        }
        let undone = root.undo(trial).await?;
        if let Some(trouble) = undone.trouble {
            tracing::warn!("{trouble}");
        }
        journal.trial = None;
        Ok(root.keep_journal(journal)?)
    }
}

impl Proven {
    /// Runs `when_good`: whoever installs has written down all that there is to be remembered.
    pub async fn when_good(self) -> Installed {
        self.root.when_good(self.trial.forth()).await;
        self.installed
    }
}
