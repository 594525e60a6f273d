//! Recovery from a failed or interrupted trial.

use unanimity_protocol::Timestamp;
use unanimity_storage::StorageError;

use crate::hooks::{HookContext, HookError, TRIAL_VARIABLE};
use crate::journal::{Journal, Trial};
use crate::leftovers::kill_processes_with_variable;
use crate::{InstallError, InstallRefusal, InstallRoot, Installed, RollbackError, RollbackOutcome};

/// The most runs that try to end an interrupted trial with the operator's commands. The commands
/// themselves may cause the interruption.
const MAX_RECOVERY_ATTEMPTS: u32 = 3;

/// Result of undoing a trial, or of ending an interrupted one.
pub(crate) struct RecoverOutcome {
    /// What happened, for people.
    pub(crate) message: String,
    /// The steps that failed, if any.
    pub(crate) problem: Option<String>,
    /// Whether the right version is installed now: the previous version if a trial was undone, or
    /// the target of a roll-back.
    pub(crate) is_restored: bool,
}

impl Trial {
    /// Kills processes that the commands of an interrupted run have left running.
    pub(crate) fn kill_leftovers(&self) -> Result<(), StorageError> {
        let killed = kill_processes_with_variable(TRIAL_VARIABLE, |tag| self.has_process_tag(tag));
        killed.map_err(StorageError::at("/proc".as_ref()))
    }
}

impl InstallRoot {
    /// Ends an interrupted trial. Returns a message about it, or `None` if there was no trial.
    ///
    /// The trial of a release is undone: a release that stops the machine must not do so again at
    /// every start. A roll-back is completed.
    ///
    /// 1. Processes that the interrupted run's commands have left running are killed.
    /// 2. The operator's commands run. They are omitted after `MAX_RECOVERY_ATTEMPTS`
    ///    interrupted attempts, and if the journal cannot be written.
    /// 3. The journal records the end of the trial.
    pub async fn recover(&self, now: Timestamp) -> Result<Option<String>, InstallError> {
        if self.journal()?.trial.is_none() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let recovered = self.end_trial(&mut self.journal()?, now).await?;
        Ok(recovered.map(|recovered| recovered.message))
    }

    pub(crate) async fn end_trial(
        &self,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<Option<RecoverOutcome>, InstallError> {
        let Some(trial) = &mut journal.trial else { return Ok(None) };
        trial.kill_leftovers()?;
        // Stored before any command runs: a command may stop this process for good.
        trial.recovery_attempts = trial.recovery_attempts.saturating_add(1);
        trial.renew_process_tag();
        let trial = trial.clone();
        let saved = self.save_journal(journal);
        let skipped = match &saved {
            _ if trial.recovery_attempts > MAX_RECOVERY_ATTEMPTS => {
                let what =
                    if trial.is_rollback { "complete the roll-back" } else { "undo the trial" };
                format!(
                    "{MAX_RECOVERY_ATTEMPTS} attempts to {what} were interrupted, so this one ran no hook"
                )
            }
            Ok(()) => {
                let recovered = self.undo_or_complete(journal, &trial, now).await?;
                return Ok(Some(recovered));
            }
            // On a full disk, `current` can often still be replaced. The trial stays open in the
            // journal.
            Err(error) => format!("no hook was run: {error}"),
        };
        let mut recovered = self.without_hooks().undo_or_complete(journal, &trial, now).await?;
        saved?;
        recovered.message += &format!(". {skipped}");
        recovered.problem.get_or_insert(skipped);
        Ok(Some(recovered))
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
            let (release, next) = (&trial.release, refusal.describe_next_attempt());
            let message =
                format!("the trial of release {release} was interrupted; {}{next}", undone.message);
            return Ok(RecoverOutcome { message, ..undone });
        }
        let done = self.complete_rollback(journal, trial, now).await;
        let begun = format!("the roll-back to {} was interrupted", trial.release);
        Ok(match done {
            Ok(RollbackOutcome { problem, .. }) => {
                let mut message = format!("{begun}, and is done now");
                message.extend(problem.as_ref().map(|problem| format!(": {problem}")));
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

    /// Runs `handover` for a version and points `current` at it.
    pub(crate) async fn switch_to(&self, context: HookContext<'_>) -> Result<Installed, HookError> {
        self.hand_over(context).await?;
        Ok(self.set_current(context.release)?)
    }

    /// Restores the version that was installed before a trial. If that version is withdrawn or
    /// damaged, the release on trial stays. If a hook fails, the failure is reported, and the other
    /// steps still run.
    pub(crate) async fn undo_trial(&self, trial: &Trial) -> Result<RecoverOutcome, InstallError> {
        let release = &trial.release;
        let current = self.installed()?.map(|installed| installed.release);
        let stays = current == trial.before;
        let Some(back) = trial.backward() else {
            self.clear_current()?;
            let message = "nothing is installed, as before".to_owned();
            return Ok(RecoverOutcome { message, problem: None, is_restored: true });
        };
        let before = back.release;
        if !stays && (trial.no_way_back || self.is_withdrawn(before)) {
            let message =
                format!("the version before, {before}, is withdrawn, so {release} stays installed");
            return Ok(RecoverOutcome {
                problem: Some(message.clone()),
                message,
                is_restored: false,
            });
        }
        if !stays && !self.is_intact(before)? {
            let message = format!("{before} is missing or damaged, so {release} stays");
            return Ok(RecoverOutcome {
                problem: Some(message.clone()),
                message,
                is_restored: false,
            });
        }
        let handover = self.hand_over(back).await.err();
        self.set_current(before)?;
        let rest = [self.post_install(back).await.err(), self.restart(back).await.err()];
        let errors = [handover].into_iter().chain(rest).flatten();
        let problems: Vec<String> =
            errors.map(|error| format!("on the way back, {error}")).collect();
        let problem = (!problems.is_empty()).then(|| problems.join("; "));
        let again = if stays { "stays installed" } else { "is installed again" };
        let message = [problems, vec![format!("{before} {again}")]].concat().join("; ");
        Ok(RecoverOutcome { message, problem, is_restored: true })
    }

    /// Undoes the trial of a failed release, and records the failure and its backoff in the
    /// journal.
    pub(crate) async fn undo_and_record_failure(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        why: &str,
        now: Timestamp,
    ) -> Result<(InstallRefusal, RecoverOutcome), InstallError> {
        let undone = self.undo_trial(trial).await?;
        let mut refusal =
            journal.record_failure(&trial.release, &format!("{why}; {}", undone.message), now);
        self.save_journal(journal)?;
        let current = self.installed()?.map(|installed| installed.release);
        if let InstallRefusal::Unhealthy { until, .. } = &mut refusal
            && current.as_ref() == Some(&trial.release)
        {
            // The release stays installed, so there is no next try.
            *until = None;
        }
        if current.as_ref() != Some(&trial.release) {
            // The trial may have changed files of the version. The next try begins with the signed
            // files.
            let path = self.version_dir(&trial.release);
            self.disk.remove(&path).map_err(StorageError::at(&path))?;
        }
        Ok((refusal, undone))
    }
}
