//! The way back from a trial that did not end well.

use unanimity_protocol::Timestamp;
use unanimity_storage::StorageError;

use crate::hooks::{HookContext, HookError, TRIAL_VARIABLE};
use crate::journal::{Journal, Trial};
use crate::leftovers::kill_processes_with_variable;
use crate::{InstallError, InstallRefusal, InstallRoot, Installed, RollbackError, RollbackOutcome};

/// How often a trial that was interrupted is ended with the operator's commands: they may be what
/// interrupts it.
const MAX_RECOVERY_ATTEMPTS: u32 = 3;

/// What came of going back.
pub(crate) struct UndoOutcome {
    /// What is installed now, for people.
    message: String,
    /// What did not work of it.
    pub(crate) problem: Option<String>,
    /// Whether what was before a trial is what is installed.
    is_restored: bool,
}

/// What became of a trial that had been interrupted.
pub(crate) struct RecoverOutcome {
    /// For people.
    pub(crate) message: String,
    /// What did not work of it.
    pub(crate) problem: Option<String>,
    /// Whether what it was to end at is what is installed.
    pub(crate) is_restored: bool,
}

impl Trial {
    /// Kills what a run that was interrupted left at work of its commands.
    pub(crate) fn kill_leftovers(&self) -> Result<(), StorageError> {
        let killed =
            kill_processes_with_variable(TRIAL_VARIABLE, |mark| self.has_process_tag(mark));
        killed.map_err(StorageError::at("/proc".as_ref()))
    }
}

impl InstallRoot {
    /// Ends a trial that was interrupted: a release's by going back, for what stops a machine must not
    /// do so for ever; a roll-back by doing it. Returns what there is to say of it.
    ///
    /// What the interrupted run left at work of its commands is killed first. If it is interrupted
    /// again and again, it is ended without the commands.
    pub async fn recover(&self, now: Timestamp) -> Result<Option<String>, InstallError> {
        if self.journal()?.trial.is_none() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let ended = self.end_trial(&mut self.journal()?, now).await?;
        Ok(ended.map(|ended| ended.message))
    }

    pub(crate) async fn end_trial(
        &self,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<Option<RecoverOutcome>, InstallError> {
        let Some(trial) = &mut journal.trial else { return Ok(None) };
        trial.kill_leftovers()?;
        // Written down before anything runs that may keep us from ever writing again.
        trial.recovery_attempts = trial.recovery_attempts.saturating_add(1);
        trial.renew_process_tag();
        let trial = trial.clone();
        let kept = self.save_journal(journal);
        let unrun = match &kept {
            _ if trial.recovery_attempts > MAX_RECOVERY_ATTEMPTS => {
                format!(
                    "ending it was interrupted {MAX_RECOVERY_ATTEMPTS} times: no command was run"
                )
            }
            Ok(()) => {
                let ended = self.undo_or_complete(journal, &trial, now).await?;
                return Ok(Some(ended));
            }
            // A link may still fit on the disk. It is not over before the journal can say so.
            Err(error) => format!("no command was run: {error}"),
        };
        let mut ended = self.without_hooks().undo_or_complete(journal, &trial, now).await?;
        kept?;
        ended.message += &format!("; {unrun}");
        ended.problem.get_or_insert(unrun);
        Ok(Some(ended))
    }

    async fn undo_or_complete(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        now: Timestamp,
    ) -> Result<RecoverOutcome, InstallError> {
        if !trial.is_rollback {
            let why = "its trial was interrupted";
            let (refusal, undone) = self.undo_and_record_failure(journal, trial, why, now).await?;
            let UndoOutcome { problem, is_restored, .. } = undone;
            return Ok(RecoverOutcome { message: refusal.to_string(), problem, is_restored });
        }
        let done = self.complete_rollback(journal, trial, now).await;
        let begun = format!("the roll-back to {} was interrupted", trial.release);
        Ok(match done {
            Ok(RollbackOutcome { problem, .. }) => {
                let mut message = format!("{begun}, and is done now");
                message.extend(problem.as_ref().map(|trouble| format!(": {trouble}")));
                RecoverOutcome { message, problem, is_restored: true }
            }
            Err(RollbackError::Install(error)) => return Err(error),
            Err(RollbackError::Disk(error)) => return Err(error.into()),
            Err(error) => {
                let message = format!("{begun}: {error}");
                RecoverOutcome { message, problem: Some(error.to_string()), is_restored: false }
            }
        })
    }

    /// Hands a version over and points `current` at it.
    pub(crate) async fn switch_to(&self, about: HookContext<'_>) -> Result<Installed, HookError> {
        self.hand_over(about).await?;
        Ok(self.set_current(about.release)?)
    }

    /// Brings back what was installed before a trial. What does not work of it is said, and the
    /// rest is done nevertheless.
    pub(crate) async fn undo_trial(&self, trial: &Trial) -> Result<UndoOutcome, InstallError> {
        let release = &trial.release;
        let current = self.installed()?.map(|installed| installed.release);
        let stays = current == trial.before;
        let Some(back) = trial.backward() else {
            self.clear_current()?;
            let message = "nothing is installed, as before".to_owned();
            return Ok(UndoOutcome { message, problem: None, is_restored: true });
        };
        let before = back.release;
        if !stays && (trial.no_way_back || self.is_withdrawn(before)) {
            let message = format!("{before} was taken back by its publisher, so {release} stays");
            return Ok(UndoOutcome { problem: Some(message.clone()), message, is_restored: false });
        }
        if !stays && !self.is_intact(before)? {
            let message = format!("{before} is not there any more as it was, so {release} stays");
            return Ok(UndoOutcome { problem: Some(message.clone()), message, is_restored: false });
        }
        let handed = self.hand_over(back).await.err();
        self.set_current(before)?;
        let rest = [self.post_install(back).await.err(), self.restart(back).await.err()];
        let troubles = [handed].into_iter().chain(rest).flatten();
        let troubles: Vec<String> =
            troubles.map(|trouble| format!("on the way back, {trouble}")).collect();
        let problem = (!troubles.is_empty()).then(|| troubles.join("; "));
        let again = if stays { "stays installed" } else { "is installed again" };
        let message = [troubles, vec![format!("{before} {again}")]].concat().join("; ");
        Ok(UndoOutcome { message, problem, is_restored: true })
    }

    /// The same for a release that failed: it is left alone for a while.
    pub(crate) async fn undo_and_record_failure(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        why: &str,
        now: Timestamp,
    ) -> Result<(InstallRefusal, UndoOutcome), InstallError> {
        let undone = self.undo_trial(trial).await?;
        let mut refusal =
            journal.record_failure(&trial.release, &format!("{why}; {}", undone.message), now);
        self.save_journal(journal)?;
        // Who knows what it has left there: the next try begins with what was signed.
        let current = self.installed()?.map(|installed| installed.release);
        if let InstallRefusal::Unhealthy { until, .. } = &mut refusal
            && current.as_ref() == Some(&trial.release)
        {
            // It stays, and there is no next try.
            *until = None;
        }
        if current.as_ref() != Some(&trial.release) {
            let path = self.version_dir(&trial.release);
            self.disk.remove(&path).map_err(StorageError::at(&path))?;
        }
        Ok((refusal, undone))
    }
}
