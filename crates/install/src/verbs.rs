//! The verbs `rollback` and `mark-good`, and the recovery from an interrupted trial, for the
//! programs `unanimity` and `unanimity-install`.

use serde_json::json;
use unanimity_config::NodeConfig;
use unanimity_protocol::Manifest;
use unanimity_report::{CommandError, CommandOutput, Exit, path_json};
use unanimity_storage::{Clock as _, SystemClock};

use crate::{InstallRoot, Installed};

/// Message after a signal that interrupted a roll-back.
pub const ROLLBACK_INTERRUPTED: &str =
    "interrupted: the next `update`, `unanimity-install` or `rollback` completes the roll-back";
/// Message after a second signal, which interrupted the undoing of a trial.
pub const UNDO_INTERRUPTED: &str = "interrupted again: the trial of a release is still open. The next \
    `update` or `unanimity-install` undoes it";

/// The command that installs on this node, for messages.
pub fn install_command(config: &NodeConfig) -> &'static str {
    match (&config.cycle.spool, config.cycle.freshness) {
        (Some(_), _) => "`unanimity-install`",
        // The operator carries the spool to this machine.
        (None, Some(_)) => "`unanimity-install --from`",
        (None, None) => "`update`",
    }
}

/// The command that accepts a release on this node, for messages.
pub fn mark_good_command(config: &NodeConfig) -> &'static str {
    match (&config.cycle.spool, config.cycle.freshness) {
        (None, None) => "`unanimity mark-good`",
        _ => "`unanimity-install mark-good`",
    }
}

/// Runs `rollback`: goes back to `release`. If `release` is `None`, goes back to the most recently
/// installed good version that is older than the current one.
pub async fn roll_back(
    root: &InstallRoot,
    release: Option<&str>,
) -> Result<CommandOutput, CommandError> {
    let done = root.roll_back(release, SystemClock.now()).await?;
    let installed = match &done.installed {
        Some(Installed { release, directory, .. }) => {
            let again = if done.before.as_ref() == Some(release) { "" } else { " again" };
            format!("{release} is installed{again}, in {}", directory.display())
        }
        None => "nothing is installed, as before".to_owned(),
    };
    let sequence = |release: &str| Manifest::sequence_from_label(release);
    let left_release = done.before.iter().find(|before| {
        let now = done.installed.as_ref();
        now.is_none_or(|now| sequence(&now.release) < sequence(before))
    });
    let left_note = left_release.map_or(String::new(), |left| {
        format!(" {left} is not installed again by itself; something newer is.")
    });
    let previous_trial: String =
        done.previous_trial.iter().map(|message| format!("{message}\n")).collect();
    let text = format!("{previous_trial}{installed}.{left_note}\n");
    let json = json!({
        "installed": done.installed.as_ref().map(|installed| &installed.release),
        "directory": done.installed.as_ref().map(|installed| path_json(&installed.directory)),
        "previous_trial": done.previous_trial,
        "problem": done.problem,
    });
    let Some(problem) = done.problem else { return Ok(CommandOutput::ok(text, json)) };
    let text = format!("{text}Problem after the roll-back: {problem}\n");
    Ok(CommandOutput { exit: Exit::Unhealthy, text, json, failed: true, data: false })
}

/// Runs `mark-good`: records that the operator approves `release`. If `release` is `None`, approves
/// the release that is on trial or has failed.
pub async fn mark_good(
    config: &NodeConfig,
    root: &InstallRoot,
    release: Option<&str>,
) -> Result<CommandOutput, CommandError> {
    let (release, passed) = root.mark_good(release).await?;
    let text = match passed {
        true => format!("{release} is good, and stays\n"),
        false => {
            format!(
                "{release} is tried again at the next {}, without the check\n",
                install_command(config)
            )
        }
    };
    Ok(CommandOutput::ok(text, json!({ "release": release, "passed": passed })))
}

/// Ends the trials that an interrupted run may have left in these roots.
///
/// Returns the error to report. Its message says how each trial ended, or why it could not be
/// ended. If no root had an open trial, returns `interrupted`.
pub async fn undo_trials(roots: &[InstallRoot], interrupted: CommandError) -> CommandError {
    let mut messages = Vec::new();
    for root in roots {
        match root.recover(SystemClock.now()).await {
            Ok(undone) => messages.extend(undone),
            Err(error) => messages.push(error.to_string()),
        }
    }
    if messages.is_empty() {
        return interrupted;
    }
    CommandError::new(Exit::Interrupted, format!("interrupted: {}", messages.join("; ")))
}
