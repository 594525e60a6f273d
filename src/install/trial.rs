//! A switch and its trial: what the operator configured around it, and the way back.
//!
//! 1. `pre_install` runs. If it fails, nothing is switched.
//! 2. The version gets its name; versions too many are gone.
//! 3. The journal says what is on trial and what was installed before.
//! 4. `handover` is given the artifact; `current` is swapped.
//! 5. `post_install`, `restart` and the check run. If all end well, the journal says so, and then
//!    `when_good` runs: what it comes to changes nothing any more.
//!
//! If one of 4 and 5 does not, or is interrupted, the version before comes back: it is handed over,
//! `current` points at it, `post_install` and `restart` run, and the journal says when the release is
//! tried again. Where nothing is configured, 1, 3 and the commands fall away.

use std::fs::File;
use std::io::{self, Seek as _};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use super::journal::{Journal, Trial};
use super::{InstallError, Installed, Ready, Root, verify_artifact};
use crate::command::{self, CommandError};
use crate::durable::{DiskError, Lock, open_plain};
use crate::verify::bundle::MAX_BUNDLE_BYTES;
use crate::verify::manifest::{Kind, Target};
use crate::verify::{Agreed, Bundle, Refusal, Timestamp};

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
    /// Whether there is nothing that a switch could fail by.
    fn is_plain(&self) -> bool {
        let commands = [&self.handover, &self.post_install, &self.check];
        commands.iter().all(|command| command.is_empty()) && self.restart.is_none()
    }
}

/// Why a trial failed whose end nobody saw.
pub(super) const INTERRUPTED: &str = "its trial was interrupted";

/// What restarts a unit.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// What a version failed by.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// A command.
    #[error("{0} {1}")]
    Command(&'static str, CommandError),
    /// There is not one file to hand over.
    #[error("handover: {0}")]
    Handover(io::Error),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The right to switch to one release, from before `pre_install` until its trial has ended.
#[derive(Debug)]
pub struct Switch<'a> {
    root: &'a Root,
    journal: Journal,
    before: Option<String>,
    _lock: Lock,
}

impl Root {
    /// Takes the right to switch, and runs `pre_install`.
    pub async fn begin(&self, agreed: &Agreed, now: Timestamp) -> Result<Switch<'_>, InstallError> {
        let release = agreed.manifest().label();
        let lock = self.lock()?;
        let mut journal = self.journal()?;
        if let Some(trial) = journal.trial.clone() {
            self.go_back(&mut journal, &trial, INTERRUPTED.to_owned(), now).await?;
        }
        journal.may_try(&release, now)?;
        let before = self.installed()?.map(|installed| installed.release);
        let ran = self.run("pre_install", &self.procedure.pre_install, &release, before.as_deref());
        if let Err(trouble) = ran.await {
            let refusal = journal.fail(&release, format!("{trouble}; nothing was switched"), now);
            self.keep_journal(&journal)?;
            return Err(refusal.into());
        }
        Ok(Switch { root: self, journal, before, _lock: lock })
    }

    /// Ends a trial that was interrupted, by going back: what stops a machine must not do so for
    /// ever. Returns what there is to say of it.
    pub async fn recover(&self, now: Timestamp) -> Result<Option<Refusal>, InstallError> {
        if self.journal()?.trial.is_none() {
            return Ok(None);
        }
        let _lock = self.lock()?;
        let mut journal = self.journal()?;
        let Some(trial) = journal.trial.clone() else { return Ok(None) };
        Ok(Some(self.go_back(&mut journal, &trial, INTERRUPTED.to_owned(), now).await?))
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

    async fn hand_over(&self, release: &str, before: Option<&str>) -> Result<(), Trouble> {
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
        let no = |why: &str| Trouble::Handover(io::Error::other(why));
        let directory = self.version(release);
        let names = self.disk.names(&directory).map_err(DiskError::at(&directory))?;
        let [name] = &names[..] else {
            return Err(no(
                "what the release brings is not one file: no archive can be handed over",
            ));
        };
        let proof = self.disk.read(&self.proof(release), MAX_BUNDLE_BYTES)?.unwrap_or_default();
        let bundle = Bundle::parse(&String::from_utf8_lossy(&proof)).ok();
        let manifest = bundle.and_then(|bundle| bundle.claimed());
        let manifest = manifest.filter(|manifest| manifest.label() == release);
        let targets = manifest.map(|manifest| manifest.targets).unwrap_or_default();
        let file = open_plain(&directory.join(name)).map_err(Trouble::Handover)?;
        let named = targets.iter().filter(|target| Some(target.file.as_str()) == name.to_str());
        let is_signed = |target: &&Target| {
            let mut file = &file;
            file.rewind().is_ok() && verify_artifact(target, file).is_ok()
        };
        match named.filter(|target| target.kind == Kind::File).find(is_signed) {
            Some(_) => Ok(file),
            None => Err(no("its file is not what its proof says was signed")),
        }
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
        ran.map_err(|error| Trouble::Command(what, error))
    }

    /// Brings back what was installed before a trial. What does not work of it is said, and the
    /// rest is done nevertheless.
    pub(super) async fn go_back(
        &self,
        journal: &mut Journal,
        trial: &Trial,
        mut why: String,
        now: Timestamp,
    ) -> Result<Refusal, InstallError> {
        let Trial { release, before } = trial;
        match before {
            Some(before) if !self.disk.exists(&self.version(before)) => {
                why += &format!("; {before} is not there any more, so {release} stays");
                let refusal = journal.fail(release, why, now);
                self.keep_journal(journal)?;
                return Ok(refusal);
            }
            Some(before) => {
                let after = Some(release.as_str());
                let mut troubles = vec![self.hand_over(before, after).await.err()];
                self.point(before)?;
                troubles.push(self.post_install(before, after).await.err());
                troubles.push(self.restart(before, after).await.err());
                for trouble in troubles.into_iter().flatten() {
                    why += &format!("; on the way back, {trouble}");
                }
                why += &format!("; {before} is installed again");
            }
            None => {
                self.point_nowhere()?;
                why += "; nothing is installed, as before";
            }
        }
        let refusal = journal.fail(release, why, now);
        self.keep_journal(journal)?;
        // What was fetched once need not be fetched again. It is verified again.
        let (from, to) = (self.version(release), self.staging_of(release));
        if self.disk.exists(&from) {
            (self.disk.remove(&to).and_then(|()| self.disk.rename(&from, &to)))
                .map_err(DiskError::at(&to))?;
        }
        Ok(refusal)
    }
}

impl Switch<'_> {
    /// Switches to what is ready, and tries it out; goes back if it does not work.
    pub async fn finish(
        self,
        agreed: &Agreed,
        ready: Ready,
        proof: &str,
        now: Timestamp,
    ) -> Result<Installed, InstallError> {
        let Switch { root, mut journal, before, _lock } = self;
        agreed.still_good(now)?;
        if !ready.is_of(agreed.manifest()) {
            let why = format!("what was staged is release {}", ready.release);
            return Err(Refusal::Artifact(why).into());
        }
        root.make_room(&mut journal)?;
        let release = root.place(ready, proof)?;
        let vouched = journal.vouched.as_ref() == Some(&release);
        if root.procedure.is_plain() {
            let installed = root.point(&release)?;
            journal.prove(&release);
            root.keep_journal(&journal)?;
            root.when_good(&release, before.as_deref()).await;
            return Ok(installed);
        }
        let trial = Trial { release: release.clone(), before };
        journal.trial = Some(trial.clone());
        root.keep_journal(&journal)?;
        let before = trial.before.as_deref();
        let tried = match root.go_to(&release, before).await {
            Ok(installed) => root.try_out(&release, before, vouched).await.map(|()| installed),
            Err(trouble) => Err(trouble),
        };
        match tried {
            Ok(installed) => {
                journal.prove(&release);
                root.keep_journal(&journal)?;
                root.when_good(&release, before).await;
                Ok(installed)
            }
            Err(trouble) => {
                let why = trouble.to_string();
                Err(root.go_back(&mut journal, &trial, why, now).await?.into())
            }
        }
    }
}
