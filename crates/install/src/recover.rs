//! The way back from a trial that did not end well.

use unanimity_protocol::Timestamp;
use unanimity_storage::StorageError;

use crate::hooks::{About, MARK, Trouble};
use crate::journal::{Journal, Trial};
use crate::leftovers::kill_all;
use crate::{ByHandError, InstallError, InstallRefusal, Installed, RolledBack, Root};

/// How often a trial that was interrupted is ended with the operator's commands: they may be what
/// interrupts it.
const MAX_TRIES: u32 = 3;

/// What came of going back.
pub(crate) struct Undone {
    /// What is installed now, for people.
    words: String,
    /// What did not work of it.
    pub(crate) trouble: Option<String>,
    /// Whether what was before a trial is what is installed.
    is_back: bool,
}

/// What became of a trial that had been interrupted.
pub(crate) struct Ended {
    /// For people.
    pub(crate) words: String,
    /// What did not work of it.
    pub(crate) trouble: Option<String>,
    /// Whether what it was to end at is what is installed.
    pub(crate) is_there: bool,
}

impl Trial {
    /// Kills what a run that was interrupted left at work of its commands.
    pub(crate) fn kill_leftovers(&self) -> Result<(), StorageError> {
        let killed = kill_all(MARK, |mark| self.is_marked(mark));
        killed.map_err(StorageError::at("/proc".as_ref()))
    }
}

impl Root {
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
        Ok(ended.map(|ended| ended.words))
    }

    pub(crate) async fn end_trial(
        &self,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<Option<Ended>, InstallError> {
        let Some(trial) = &mut journal.trial else { return Ok(None) };
        trial.kill_leftovers()?;
        // Written down before anything runs that may keep us from ever writing again.
        trial.tries = trial.tries.saturating_add(1);
        trial.mark_anew();
        let trial = trial.clone();
        let kept = self.keep_journal(journal);
        let unrun = match &kept {
            _ if trial.tries > MAX_TRIES => {
                format!("ending it was interrupted {MAX_TRIES} times: no command was run")
            }
            Ok(()) => {
                let ended = self.end(journal, &trial, now).await?;
                return Ok(Some(ended));
            }
            // A link may still fit on the disk. It is not over before the journal can say so.
            Err(error) => format!("no command was run: {error}"),
        };
        let mut ended = self.without_commands().end(journal, &trial, now).await?;
        kept?;
        ended.words += &format!("; {unrun}");
        ended.trouble.get_or_insert(unrun);
        Ok(Some(ended))
    }

    async fn end(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        now: Timestamp,
    ) -> Result<Ended, InstallError> {
        if !trial.by_hand {
            let why = "its trial was interrupted";
            let (refusal, undone) = self.undo_failed(journal, trial, why, now).await?;
            let Undone { trouble, is_back, .. } = undone;
            return Ok(Ended { words: refusal.to_string(), trouble, is_there: is_back });
        }
        let done = self.go_back_by_hand(journal, trial, now).await;
        let begun = format!("the roll-back to {} was interrupted", trial.release);
        Ok(match done {
            Ok(RolledBack { trouble, .. }) => {
                let mut words = format!("{begun}, and is done now");
                words.extend(trouble.as_ref().map(|trouble| format!(": {trouble}")));
                Ended { words, trouble, is_there: true }
            }
            Err(ByHandError::Install(error)) => return Err(error),
            Err(ByHandError::Disk(error)) => return Err(error.into()),
            Err(error) => {
                let words = format!("{begun}: {error}");
                Ended { words, trouble: Some(error.to_string()), is_there: false }
            }
        })
    }

    /// Hands a version over and points `current` at it.
    pub(crate) async fn go_to(&self, about: About<'_>) -> Result<Installed, Trouble> {
        self.hand_over(about).await?;
        Ok(self.point(about.release)?)
    }

    /// Brings back what was installed before a trial. What does not work of it is said, and the
    /// rest is done nevertheless.
    pub(crate) async fn undo(&self, trial: &Trial) -> Result<Undone, InstallError> {
        let release = &trial.release;
        let current = self.installed()?.map(|installed| installed.release);
        let stays = current == trial.before;
        let Some(back) = trial.back() else {
            self.point_nowhere()?;
            let words = "nothing is installed, as before".to_owned();
            return Ok(Undone { words, trouble: None, is_back: true });
        };
        let before = back.release;
        if !stays && (trial.is_one_way || self.is_withdrawn(before)) {
            let words = format!("{before} was taken back by its publisher, so {release} stays");
            return Ok(Undone { trouble: Some(words.clone()), words, is_back: false });
        }
        if !stays && !self.is_whole(before)? {
            let words = format!("{before} is not there any more as it was, so {release} stays");
            return Ok(Undone { trouble: Some(words.clone()), words, is_back: false });
        }
        let handed = self.hand_over(back).await.err();
        self.point(before)?;
        let rest = [self.post_install(back).await.err(), self.restart(back).await.err()];
        let troubles = [handed].into_iter().chain(rest).flatten();
        let troubles: Vec<String> =
            troubles.map(|trouble| format!("on the way back, {trouble}")).collect();
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        let again = if stays { "stays installed" } else { "is installed again" };
        let words = [troubles, vec![format!("{before} {again}")]].concat().join("; ");
        Ok(Undone { words, trouble, is_back: true })
    }

    /// The same for a release that failed: it is left alone for a while.
    pub(crate) async fn undo_failed(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        why: &str,
        now: Timestamp,
    ) -> Result<(InstallRefusal, Undone), InstallError> {
        let undone = self.undo(trial).await?;
        let mut refusal = journal.fail(&trial.release, &format!("{why}; {}", undone.words), now);
        self.keep_journal(journal)?;
        // Who knows what it has left there: the next try begins with what was signed.
        let current = self.installed()?.map(|installed| installed.release);
        if let InstallRefusal::Unhealthy { until, .. } = &mut refusal
            && current.as_ref() == Some(&trial.release)
        {
            // It stays, and there is no next try.
            *until = None;
        }
        if current.as_ref() != Some(&trial.release) {
            let path = self.version(&trial.release);
            self.disk.remove(&path).map_err(StorageError::at(&path))?;
        }
        Ok((refusal, undone))
    }
}
