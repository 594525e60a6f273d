//! The hooks: the operator's commands around a switch, and their environment.

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

/// Refuses to begin if the program of a hook cannot be run. The error does not count as a failure
/// of the release.
pub(crate) fn check_hooks_executable(hooks: &HookSettings) -> Result<(), InstallError> {
    for program in hooks.programs() {
        check_executable(program.as_ref())
            .map_err(|why| InstallError::Command { program: program.to_owned(), why })?;
    }
    Ok(())
}

/// The most bytes of a command's standard error in an error message.
const MAX_SHOWN_BYTES: usize = 512;

/// The program that restarts a systemd unit.
const SYSTEMCTL: &str = "/usr/bin/systemctl";

/// The variable with [`Trial::process_tag`] in the environment of a trial's commands.
pub(crate) const TRIAL_VARIABLE: &str = "UNANIMITY_TRIAL";

/// Why a switch or a trial failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HookError {
    /// A hook failed. The first field is the name of its step.
    #[error("{0} {1}")]
    Command(&'static str, ProcessError),
    /// The version has no verified single file to hand over.
    #[error("handover: {0}")]
    Handover(io::Error),
    /// A check of the protocol failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The artifact does not fit the release.
    #[error(transparent)]
    Artifact(#[from] ArtifactMismatch),
    /// The storage failed.
    #[error(transparent)]
    Disk(#[from] StorageError),
}

/// The versions and the process tag in a hook's environment, for one direction of a switch.
#[derive(Clone, Copy)]
pub(crate) struct HookContext<'a> {
    /// The version that this direction of the switch installs.
    pub(crate) release: &'a str,
    /// The version that this direction of the switch replaces, if any.
    pub(crate) before: Option<&'a str>,
    /// The tag by which the next run finds the command after an interruption.
    process_tag: &'a str,
}

impl Trial {
    /// Context for the direction to the version on trial.
    pub(crate) fn forward(&self) -> HookContext<'_> {
        HookContext {
            release: &self.release,
            before: self.before.as_deref(),
            process_tag: &self.process_tag,
        }
    }

    /// Context for the direction back to the previous version. `None` if no version was installed.
    pub(crate) fn backward(&self) -> Option<HookContext<'_>> {
        let release = self.before.as_deref()?;
        Some(HookContext { release, before: Some(&self.release), process_tag: &self.process_tag })
    }
}

impl InstallRoot {
    /// A copy of this root without any hooks.
    pub(crate) fn without_hooks(&self) -> InstallRoot {
        let keep = self.hooks.keep;
        self.clone().with_hooks(HookSettings { keep, ..HookSettings::default() })
    }

    pub(crate) async fn pre_install(&self, context: HookContext<'_>) -> Result<(), HookError> {
        self.run_hook("pre_install", &self.hooks.pre_install, context).await
    }

    pub(crate) async fn hand_over(&self, context: HookContext<'_>) -> Result<(), HookError> {
        if self.hooks.handover.is_empty() {
            return Ok(());
        }
        let (path, file) = self.open_artifact(context.release)?;
        // The command and its children inherit the file. `/proc/self` is safe where `/proc/PID` is
        // not: after this process ends, another process could get its number while the command
        // still runs.
        fcntl_setfd(&file, FdFlags::empty()).map_err(|why| HookError::Handover(why.into()))?;
        let open_path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let path = std::path::absolute(&path).unwrap_or(path);
        let path = path.to_string_lossy();
        let fill = |argument: &String| argument.replace("{}", &open_path).replace("{path}", &path);
        let command: Vec<String> = self.hooks.handover.iter().map(fill).collect();
        self.run_hook("handover", &command, context).await
    }

    /// Opens a version's single file, and verifies it again against the version's proof bundle.
    ///
    /// The hook gets the open file. If another file replaces it at the same path later, the hook
    /// still has the verified one.
    fn open_artifact(&self, release: &str) -> Result<(PathBuf, File), HookError> {
        let artifacts = self.signed_artifacts(release)?;
        let mut why = io::Error::other("a release that is an archive cannot be handed over");
        for artifact in artifacts.iter().filter(|artifact| artifact.kind == ArtifactKind::File) {
            let path = self.version_dir(release).join(artifact.file.as_str());
            match open_regular_file(&path) {
                Ok(file) if verify_artifact(artifact, &file).is_ok() => return Ok((path, file)),
                Ok(_) => why = io::Error::other("the version's file differs from the signed one"),
                Err(error) => why = error,
            }
        }
        Err(HookError::Handover(why))
    }

    /// Runs the hooks that must succeed after a switch. If the operator has approved the release,
    /// the health check is omitted.
    pub(crate) async fn run_trial(
        &self,
        context: HookContext<'_>,
        approved: bool,
    ) -> Result<(), HookError> {
        self.post_install(context).await?;
        self.restart(context).await?;
        if approved { Ok(()) } else { self.run_hook("check", &self.hooks.check, context).await }
    }

    pub(crate) async fn post_install(&self, context: HookContext<'_>) -> Result<(), HookError> {
        self.run_hook("post_install", &self.hooks.post_install, context).await
    }

    pub(crate) async fn restart(&self, context: HookContext<'_>) -> Result<(), HookError> {
        let Some(unit) = &self.hooks.restart else { return Ok(()) };
        let restart = [SYSTEMCTL, "restart", "--", unit].map(str::to_owned);
        self.run_hook("restart", &restart, context).await
    }

    pub(crate) async fn on_success(&self, context: HookContext<'_>) {
        if let Err(error) = self.run_hook("on_success", &self.hooks.on_success, context).await {
            tracing::warn!("{} is installed, but {error}", context.release);
        }
    }

    async fn run_hook(
        &self,
        step: &'static str,
        command: &[String],
        context: HookContext<'_>,
    ) -> Result<(), HookError> {
        let directory = self.version_dir(context.release);
        let directory = std::path::absolute(&directory).unwrap_or(directory);
        let directory = directory.to_string_lossy();
        let variables = [
            ("UNANIMITY_STEP", step),
            ("UNANIMITY_RELEASE", context.release),
            ("UNANIMITY_DIRECTORY", &*directory),
            ("UNANIMITY_BEFORE", context.before.unwrap_or_default()),
            (TRIAL_VARIABLE, context.process_tag),
        ];
        let variables = variables.map(|(name, value)| (name, value.to_owned())).into();
        let HookSettings { timeout, check_timeout, .. } = self.hooks;
        let limit = if step == "check" { check_timeout } else { timeout };
        let (command, input) = (command.to_vec(), String::new());
        let ran = self.hook_runner.run(Invocation { command, variables, input, limit }).await;
        ran.map_err(|mut error| {
            // The end of the output usually names the cause.
            if let ProcessError::Failed { said, .. } = &mut error
                && said.len() > MAX_SHOWN_BYTES
            {
                let from = said.ceil_char_boundary(said.len() - MAX_SHOWN_BYTES);
                *said = format!("…{}", &said[from..]);
            }
            HookError::Command(step, error)
        })
    }
}
