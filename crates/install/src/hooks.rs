//! The operator's commands around a switch, and how they are run.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

use rustix::io::{FdFlags, fcntl_setfd};
use unanimity_config::{HookSettings, check_executable};
use unanimity_protocol::Refusal;
use unanimity_protocol::manifest::ArtifactKind;
use unanimity_storage::{StorageError, open_regular_file};

use crate::journal::Trial;
use crate::process::{Invocation, ProcessError};
use crate::{ArtifactMismatch, InstallError, InstallRoot, verify_artifact};

/// Refuses a command that cannot be run: that is no release's fault.
pub(crate) fn check_hooks_executable(procedure: &HookSettings) -> Result<(), InstallError> {
    for program in procedure.programs() {
        check_executable(program.as_ref())
            .map_err(|why| InstallError::Command { program: program.to_owned(), why })?;
    }
    Ok(())
}

/// The most bytes that are told of what a command said.
const MAX_SHOWN_BYTES: usize = 512;

/// What restarts a unit.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// The variable that commands of a trial have in their environment, with [`HeadCandidate::process_tag`].
pub(crate) const TRIAL_VARIABLE: &str = "UNANIMITY_TRIAL";

/// What a version failed by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// A command.
    #[error("{0} {1}")]
    Command(&'static str, ProcessError),
    /// There is nothing to hand over.
    #[error("handover: {0}")]
    Handover(io::Error),
    /// A check of ours.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A check of installing.
    #[error(transparent)]
    Artifact(#[from] ArtifactMismatch),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// What a command is about.
#[derive(Clone, Copy)]
pub(crate) struct HookContext<'a> {
    /// The version that is to be installed then.
    pub(crate) release: &'a str,
    /// What was before.
    pub(crate) before: Option<&'a str>,
    /// By what it is found after an interruption.
    process_tag: &'a str,
}

impl Trial {
    /// The way to what is on trial.
    pub(crate) fn forward(&self) -> HookContext<'_> {
        HookContext {
            release: &self.release,
            before: self.before.as_deref(),
            process_tag: &self.process_tag,
        }
    }

    /// The way back from there, if there was anything.
    pub(crate) fn backward(&self) -> Option<HookContext<'_>> {
        let release = self.before.as_deref()?;
        Some(HookContext { release, before: Some(&self.release), process_tag: &self.process_tag })
    }
}

impl InstallRoot {
    /// The same, where nothing but the switch belongs to a switch.
    pub(crate) fn without_hooks(&self) -> InstallRoot {
        let keep = self.hooks.keep;
        self.clone().with_hooks(HookSettings { keep, ..HookSettings::default() })
    }

    pub(crate) async fn pre_install(&self, about: HookContext<'_>) -> Result<(), HookError> {
        self.run_hook("pre_install", &self.hooks.pre_install, about).await
    }

    pub(crate) async fn hand_over(&self, about: HookContext<'_>) -> Result<(), HookError> {
        if self.hooks.handover.is_empty() {
            return Ok(());
        }
        let (path, file) = self.open_artifact(about.release)?;
        // It goes to the command and to all that it starts. By our number among the processes others
        // could be meant: of one that is given it once we have ended, and the command has not.
        fcntl_setfd(&file, FdFlags::empty()).map_err(|why| HookError::Handover(why.into()))?;
        let open = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = std::path::absolute(&path).unwrap_or(path);
        let path = path.to_string_lossy();
        let argument = |argument: &String| argument.replace("{}", &open).replace("{path}", &path);
        let command: Vec<String> = self.hooks.handover.iter().map(argument).collect();
        self.run_hook("handover", &command, about).await
    }

    /// A version's one file, open, and once more what its proof says was signed. Whoever is given the
    /// open file is given that, whatever its name leads to by then.
    fn open_artifact(&self, release: &str) -> Result<(PathBuf, File), HookError> {
        let targets = self.signed_artifacts(release)?;
        let mut why = io::Error::other("a release that is no single file cannot be handed over");
        for target in targets.iter().filter(|target| target.kind == ArtifactKind::File) {
            let path = self.version_dir(release).join(target.file.as_str());
            match open_regular_file(&path) {
                Ok(file) if verify_artifact(target, &file).is_ok() => return Ok((path, file)),
                Ok(_) => why = io::Error::other("its file is not what its proof says was signed"),
                Err(error) => why = error,
            }
        }
        Err(HookError::Handover(why))
    }

    /// What has to end well after a switch. The check can be left out on the operator's word.
    pub(crate) async fn run_trial(
        &self,
        about: HookContext<'_>,
        approved: bool,
    ) -> Result<(), HookError> {
        self.post_install(about).await?;
        self.restart(about).await?;
        if approved { Ok(()) } else { self.run_hook("check", &self.hooks.check, about).await }
    }

    pub(crate) async fn post_install(&self, about: HookContext<'_>) -> Result<(), HookError> {
        self.run_hook("post_install", &self.hooks.post_install, about).await
    }

    pub(crate) async fn restart(&self, about: HookContext<'_>) -> Result<(), HookError> {
        let Some(unit) = &self.hooks.restart else { return Ok(()) };
        let restart = [SYSTEMCTL, "restart", "--", unit].map(str::to_owned);
        self.run_hook("restart", &restart, about).await
    }

    pub(crate) async fn on_success(&self, about: HookContext<'_>) {
        if let Err(trouble) = self.run_hook("when_good", &self.hooks.on_success, about).await {
            tracing::warn!("{} is installed, and {trouble}", about.release);
        }
    }

    async fn run_hook(
        &self,
        what: &'static str,
        command: &[String],
        about: HookContext<'_>,
    ) -> Result<(), HookError> {
        let directory = self.version_dir(about.release);
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let directory = directory.to_string_lossy();
        let variables = [
            ("UNANIMITY_STEP", what),
            ("UNANIMITY_RELEASE", about.release),
            ("UNANIMITY_DIRECTORY", &*directory),
            ("UNANIMITY_BEFORE", about.before.unwrap_or_default()),
            (TRIAL_VARIABLE, about.process_tag),
        ];
        let variables = variables.map(|(name, value)| (name, value.to_owned())).into();
        let HookSettings { timeout, check_timeout, .. } = self.hooks;
        let limit = if what == "check" { check_timeout } else { timeout };
        let (command, input) = (command.to_vec(), String::new());
        let ran = self.hook_runner.run(Invocation { command, variables, input, limit }).await;
        ran.map_err(|mut error| {
            // What it said last says most.
            if let ProcessError::Failed { said, .. } = &mut error
                && said.len() > MAX_SHOWN_BYTES
            {
                let from = said.ceil_char_boundary(said.len() - MAX_SHOWN_BYTES);
                *said = format!("…{}", &said[from..]);
            }
            HookError::Command(what, error)
        })
    }
}
