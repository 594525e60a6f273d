//! `rollback` and `mark-good`, where the operator knows better than the check; and the way back from a
//! trial that was interrupted. Both programs have them.

use serde_json::json;
use unanimity_config::NodeConfig;
use unanimity_protocol::Manifest;
use unanimity_report::{CommandError, CommandOutput, Exit, path_json};
use unanimity_storage::{Clock as _, SystemClock};

use crate::{InstallRoot, Installed};

/// What a person reads when a roll-back has begun.
pub const ROLLBACK_INTERRUPTED: &str =
    "interrupted: the next `update`, `unanimity-install` or `rollback` does the rest";
/// What a person reads who did not wait for a trial to be undone.
pub const UNDO_INTERRUPTED: &str = "interrupted once more: a release is on trial, and not undone yet; the next \
    `update` or `unanimity-install` does that";

/// The command that installs on this node.
pub fn install_command(config: &NodeConfig) -> &'static str {
    match (&config.cycle.spool, config.cycle.freshness) {
        (Some(_), _) => "`unanimity-install`",
        // The operator brings the spool to this machine.
        (None, Some(_)) => "`unanimity-install --from`",
        (None, None) => "`update`",
    }
}

/// Goes back to a version that proved good: `release`, or, of the older ones, the one that was installed last.
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
    let left = done.before.iter().find(|before| {
        let now = done.installed.as_ref();
        now.is_none_or(|now| sequence(&now.release) < sequence(before))
    });
    let left = left.map_or(String::new(), |left| {
        format!(" {left} is not installed again by itself; something newer is.")
    });
    let ended: String = done.previous_trial.iter().map(|ended| format!("{ended}\n")).collect();
    let text = format!("{ended}{installed}.{left}\n");
    let json = json!({
        "installed": done.installed.as_ref().map(|installed| &installed.release),
        "directory": done.installed.as_ref().map(|installed| path_json(&installed.directory)),
        "ended": done.previous_trial,
        "trouble": done.problem,
    });
    let Some(problem) = done.problem else { return Ok(CommandOutput::ok(text, json)) };
    let text = format!("{text}It does not work as it should: {problem}\n");
    Ok(CommandOutput { exit: Exit::Unhealthy, text, json, failed: true, data: false })
}

/// Takes the operator's word that a release is good: `release`, or the one on trial, or that failed.
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

/// Undoes the trials that an interrupted run may have left in these roots. Returns what there is to read
/// then.
pub async fn undo_trials(roots: &[InstallRoot], interrupted: CommandError) -> CommandError {
    let mut said = Vec::new();
    for root in roots {
        match root.recover(SystemClock.now()).await {
            Ok(undone) => said.extend(undone),
            Err(error) => said.push(error.to_string()),
        }
    }
    if said.is_empty() {
        return interrupted;
    }
    CommandError::new(Exit::Interrupted, format!("interrupted: {}", said.join("; ")))
}
