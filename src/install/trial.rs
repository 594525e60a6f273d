//! A switch and its trial: what the operator configured around it, and the way back.
//!
//! 1. The journal says what is on trial and what is installed before.
//! 2. `pre_install` runs.
//! 3. Versions too many are removed; this one gets its name.
//! 4. `handover` is given the artifact; `current` is swapped.
//! 5. `post_install`, `restart` and the check run. If all end well, the journal says so, and then
//!    `when_good` runs: what it comes to changes nothing any more.
//!
//! If one of 2 to 5 does not, or is interrupted, the version before comes back: it is handed over,
//! `current` points at it, `post_install` and `restart` run, and the journal says when the release is
//! tried again. Where nothing is configured, 1 and the commands fall away.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use super::journal::{Journal, Trial};
use super::{ByHandError, InstallError, Installed, Ready, RolledBack, Root, verify_artifact};
use crate::clock::Clock;
use crate::command::{self, CommandError};
use crate::durable::{DiskError, Lock, open_plain};
use crate::verify::manifest::Kind;
use crate::verify::{Agreed, Refusal, Timestamp};

/// What belongs to a switch besides the switch, from the configuration alone. A command is a program
/// and its arguments, run without a shell; an empty one is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Procedure {
    /// How many versions there are after a switch, the present one included; at least two.
    pub keep: usize,
    /// Runs before the switch.
    pub pre_install: Vec<String>,
    /// Is given the artifact, in place of each argument `{}`.
    pub handover: Vec<String>,
    /// Runs after the switch, also after the one back.
    pub post_install: Vec<String>,
    /// The systemd unit that is restarted then.
    pub restart: Option<String>,
    /// How long each of these may take.
    pub timeout: Duration,
    /// Says whether the version works.
    pub check: Vec<String>,
    /// How long that may take.
    pub check_timeout: Duration,
    /// Runs once the version has proved good.
    pub when_good: Vec<String>,
}

impl Default for Procedure {
    /// Three versions, and nothing around a switch.
    fn default() -> Procedure {
        Procedure {
            keep: 3,
            pre_install: Vec::new(),
            handover: Vec::new(),
            post_install: Vec::new(),
            restart: None,
            timeout: Duration::from_secs(5 * 60),
            check: Vec::new(),
            check_timeout: Duration::from_secs(60),
            when_good: Vec::new(),
        }
    }
}

impl Procedure {
    /// Refuses a command that cannot be run: that is no release's fault.
    pub fn check_commands(&self) -> Result<(), InstallError> {
        let Procedure { pre_install, handover, post_install, check, when_good, .. } = self;
        for command in [pre_install, handover, post_install, check, when_good] {
            let Some(program) = command.first() else { continue };
            command::check(program.as_ref())
                .map_err(|why| InstallError::Command { program: program.clone(), why })?;
        }
        Ok(())
    }

    /// Whether there is nothing that a switch could fail by.
    fn is_plain(&self) -> bool {
        let commands = [&self.pre_install, &self.handover, &self.post_install, &self.check];
        commands.iter().all(|command| command.is_empty()) && self.restart.is_none()
    }
}

/// The most bytes that are told of what a command said.
const MAX_SAID_BYTES: usize = 512;

/// What restarts a unit.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// What a version failed by.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// A command.
    #[error("{0} {1}")]
    Command(&'static str, CommandError),
    /// There is nothing to hand over.
    #[error("handover: {0}")]
    Handover(io::Error),
    /// A check of ours.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The right to switch to one release, from before `pre_install` until its trial has ended.
#[derive(Debug)]
pub struct Switch<'a> {
    root: &'a Root,
    journal: Journal,
    trial: Trial,
    _lock: Lock,
}

impl Root {
    /// Takes the right to switch, and runs `pre_install`. Whatever another process has done to this
    /// root since the release was chosen counts.
    pub async fn begin(
        &self,
        agreed: &Agreed,
        clock: &impl Clock,
    ) -> Result<Switch<'_>, InstallError> {
        let (release, sequence) = (agreed.manifest().label(), agreed.manifest().sequence);
        self.procedure.check_commands()?;
        let lock = self.lock()?;
        let mut journal = self.journal()?;
        self.end_trial(&mut journal, clock.now()).await?;
        let floor = self.floor()?;
        // Also of a switch that was not followed by its bookkeeping, before `current` moves on.
        journal.floor = floor;
        if sequence <= floor {
            return Err(Refusal::Rollback { offered: sequence, floor }.into());
        }
        journal.may_try(&release, clock.now())?;
        let before = self.installed()?.map(|installed| installed.release);
        let trial = Trial { release: release.clone(), before, by_hand: false };
        if !self.procedure.is_plain() {
            journal.trial = Some(trial.clone());
            self.keep_journal(&journal)?;
        }
        let (command, before) = (&self.procedure.pre_install, trial.before.as_deref());
        if let Err(trouble) = self.run("pre_install", command, &release, before).await {
            let why = trouble.to_string();
            return Err(self.go_back(&mut journal, &trial, why, clock.now()).await?.into());
        }
        Ok(Switch { root: self, journal, trial, _lock: lock })
    }

    /// Ends a trial that was interrupted: a release's by going back, for what stops a machine must not
    /// do so for ever; a roll-back by doing it. Returns what there is to say of it.
    pub async fn recover(&self, now: Timestamp) -> Result<Option<String>, InstallError> {
        if self.journal()?.trial.is_none() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        self.end_trial(&mut self.journal()?, now).await
    }

    pub(super) async fn end_trial(
        &self,
        journal: &mut Journal,
        now: Timestamp,
    ) -> Result<Option<String>, InstallError> {
        let Some(trial) = journal.trial.clone() else { return Ok(None) };
        if !trial.by_hand {
            let why = "its trial was interrupted".to_owned();
            return Ok(Some(self.go_back(journal, &trial, why, now).await?.to_string()));
        }
        let ended = self.go_back_by_hand(journal, &trial).await;
        let release = &trial.release;
        Ok(Some(match ended {
            Ok(RolledBack { trouble: None, .. }) => {
                format!("the roll-back to {release} was interrupted, and is done now")
            }
            Ok(RolledBack { trouble: Some(trouble), .. }) => {
                format!("the roll-back to {release} was interrupted, and is done now: {trouble}")
            }
            Err(ByHandError::Install(error)) => return Err(error),
            Err(ByHandError::Disk(error)) => return Err(error.into()),
            Err(error) => format!("the roll-back to {release} was interrupted: {error}"),
        }))
    }

    /// Hands a version over and points `current` at it.
    pub(super) async fn go_to(
        &self,
        release: &str,
        before: Option<&str>,
    ) -> Result<Installed, Trouble> {
        self.hand_over(release, before).await?;
        Ok(self.point(release)?)
    }

    pub(super) async fn hand_over(
        &self,
        release: &str,
        before: Option<&str>,
    ) -> Result<(), Trouble> {
        if self.procedure.handover.is_empty() {
            return Ok(());
        }
        let file = self.artifact_of(release)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let argument = |argument: &String| argument.replace("{}", &path);
        let command: Vec<String> = self.procedure.handover.iter().map(argument).collect();
        self.run("handover", &command, release, before).await
    }

    /// A version's one file, open, and once more what its proof says was signed. Whoever is given the
    /// open file is given that, whatever its name leads to by then.
    fn artifact_of(&self, release: &str) -> Result<File, Trouble> {
        let targets = self.targets_of(release)?;
        let mut why = io::Error::other("a release that is no single file cannot be handed over");
        for target in targets.iter().filter(|target| target.kind == Kind::File) {
            let file = open_plain(&self.version(release).join(target.file.as_str()));
            match file {
                Ok(file) if verify_artifact(target, &file).is_ok() => return Ok(file),
                Ok(_) => why = io::Error::other("its file is not what its proof says was signed"),
                Err(error) => why = error,
            }
        }
        Err(Trouble::Handover(why))
    }

    /// What has to end well after a switch.
    pub(super) async fn try_out(
        &self,
        release: &str,
        before: Option<&str>,
        vouched: bool,
    ) -> Result<(), Trouble> {
        self.post_install(release, before).await?;
        self.restart(release, before).await?;
        let check = &self.procedure.check;
        if vouched { Ok(()) } else { self.run("check", check, release, before).await }
    }

    async fn post_install(&self, release: &str, before: Option<&str>) -> Result<(), Trouble> {
        self.run("post_install", &self.procedure.post_install, release, before).await
    }

    async fn restart(&self, release: &str, before: Option<&str>) -> Result<(), Trouble> {
        let Some(unit) = &self.procedure.restart else { return Ok(()) };
        let restart = [SYSTEMCTL, "restart", "--", unit].map(str::to_owned);
        self.run("restart", &restart, release, before).await
    }

    async fn when_good(&self, release: &str, before: Option<&str>) {
        let ran = self.run("when_good", &self.procedure.when_good, release, before);
        if let Err(trouble) = ran.await {
            tracing::warn!("{release} is installed, and {trouble}");
        }
    }

    async fn run(
        &self,
        what: &'static str,
        command: &[String],
        release: &str,
        before: Option<&str>,
    ) -> Result<(), Trouble> {
        let directory = self.version(release);
        let directory = directory.to_string_lossy();
        let variables = [
            ("UNANIMITY_STEP", what),
            ("UNANIMITY_RELEASE", release),
            ("UNANIMITY_DIRECTORY", &*directory),
            ("UNANIMITY_BEFORE", before.unwrap_or_default()),
        ];
        let Procedure { timeout, check_timeout, .. } = self.procedure;
        let limit = if what == "check" { check_timeout } else { timeout };
        let ran = command::run(command, &variables, "", limit).await;
        ran.map_err(|mut error| {
            // What it said last says most.
            if let CommandError::Failed { said, .. } = &mut error
                && said.len() > MAX_SAID_BYTES
            {
                let from = said.ceil_char_boundary(said.len() - MAX_SAID_BYTES);
                *said = format!("…{}", &said[from..]);
            }
            Trouble::Command(what, error)
        })
    }

    /// Brings back what was installed before a trial. What does not work of it is said, and the
    /// rest is done nevertheless.
    async fn go_back(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        mut why: String,
        now: Timestamp,
    ) -> Result<Refusal, InstallError> {
        let Trial { release, before, .. } = trial;
        let current = self.installed()?.map(|installed| installed.release);
        let stays = current == *before;
        match before {
            Some(before) if !stays && !self.is_whole(before)? => {
                why += &format!("; {before} is not there any more as it was, so {release} stays");
            }
            Some(before) => {
                let after = Some(release.as_str());
                let handed = self.hand_over(before, after).await.err();
                self.point(before)?;
                let rest = [
                    self.post_install(before, after).await.err(),
                    self.restart(before, after).await.err(),
                ];
                for trouble in [handed].into_iter().chain(rest).flatten() {
                    why += &format!("; on the way back, {trouble}");
                }
                let again = if stays { "stays installed" } else { "is installed again" };
                why += &format!("; {before} {again}");
            }
            None => {
                self.point_nowhere()?;
                why += "; nothing is installed, as before";
            }
        }
        let refusal = journal.fail(release, &why, now);
        self.keep_journal(journal)?;
        // Who knows what it has left there: the next try begins with what was signed.
        let current = self.installed()?.map(|installed| installed.release);
        if current.as_ref() != Some(release) {
            let path = self.version(release);
            self.disk.remove(&path).map_err(DiskError::at(&path))?;
        }
        Ok(refusal)
    }

    /// Names the version, and makes it the present one.
    async fn switch(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        (agreed, ready, proof): (&Agreed, Ready, &str),
        now: Timestamp,
    ) -> Result<Installed, Trouble> {
        agreed.still_good(now)?;
        if !ready.is_of(agreed.manifest()) {
            let why = format!("what was staged is release {}", ready.release);
            return Err(Refusal::Artifact(why).into());
        }
        self.make_room(journal)?;
        let release = self.place(ready, proof)?;
        let before = trial.before.as_deref();
        let installed = self.go_to(&release, before).await?;
        self.try_out(&release, before, journal.vouched.as_ref() == Some(&release)).await?;
        Ok(installed)
    }
}

impl Switch<'_> {
    /// Switches to what is ready, and tries it out; goes back if it does not work.
    pub async fn finish(
        self,
        agreed: &Agreed,
        ready: Ready,
        proof: &str,
        clock: &impl Clock,
    ) -> Result<Installed, InstallError> {
        let Switch { root, mut journal, trial, _lock } = self;
        let what = (agreed, ready, proof);
        match root.switch(&mut journal, &trial, what, clock.now()).await {
            Ok(installed) => {
                journal.prove(&trial.release);
                root.keep_journal(&journal)?;
                root.when_good(&trial.release, trial.before.as_deref()).await;
                Ok(installed)
            }
            // Nothing was tried that could be undone.
            Err(Trouble::Refused(refusal)) if journal.trial.is_none() => Err(refusal.into()),
            Err(Trouble::Disk(error)) if journal.trial.is_none() => Err(error.into()),
            Err(trouble) => {
                let (why, now) = (trouble.to_string(), clock.now());
                Err(root.go_back(&mut journal, &trial, why, now).await?.into())
            }
        }
    }
}
