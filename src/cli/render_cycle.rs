//! What is said of a cycle, of the node's own product and of others.

use std::path::Path;

use serde_json::{Value, json};
use unanimity_client::{CycleError, CycleOutcome, CycleReport};
use unanimity_protocol::{Refusal, TreeHead};
use unanimity_report::{Classify, CommandError, CommandOutput, Exit, path_json};

use crate::advice;

/// What a cycle of one more product came to, as part of what is said of all.
pub(super) fn label(path: &Path, ended: Result<CommandOutput, CommandError>) -> CommandOutput {
    let mut said = ended.unwrap_or_else(CommandOutput::from);
    // What is wrong with a file begins with its name.
    let named = format!("{}: ", path.display());
    if !said.text.starts_with(&named) {
        said.text = named + &said.text;
    }
    if let Value::Object(fields) = &mut said.json {
        fields.insert("config".to_owned(), path_json(path));
        fields.insert("exit".to_owned(), (said.exit as u8).into());
        fields.insert("outcome".to_owned(), said.exit.word().into());
    }
    said
}

/// What all products came to, the node's own first: the exit code is the first that is a failure, or
/// else the first that is not 0.
pub(super) fn merge(mut all: Vec<CommandOutput>) -> CommandOutput {
    // What nobody mends by waiting comes first.
    let waits = |said: &CommandOutput| matches!(said.exit, Exit::Settling | Exit::Incomplete);
    let failed = all.iter().position(|said| said.failed && !waits(said));
    let failed = failed.or(all.iter().position(|said| said.failed));
    let odd = all.iter().position(|said| said.exit != Exit::Done);
    let exit = failed.or(odd).map_or(Exit::Done, |at| all[at].exit);
    let others = all.split_off(1);
    let mut said = all.remove(0);
    for other in &others {
        said.text = format!("{}\n{}", said.text.trim_end(), other.text);
    }
    if !others.is_empty() {
        said.json["own"] = json!({ "exit": said.exit as u8, "outcome": said.exit.word() });
        said.json["also"] = others.into_iter().map(|other| other.json).collect();
    }
    CommandOutput { exit, failed: failed.is_some(), ..said }
}

/// What a cycle came to.
pub(super) fn render_outcome(
    report: &CycleReport,
    ended: Result<CycleOutcome, CycleError>,
) -> CommandOutput {
    let mut json = report_json(report);
    let exit = ended.as_ref().map_or_else(Classify::exit, Classify::exit);
    let message = match ended {
        Ok(CycleOutcome::UpToDate) => "every peer agrees, and nothing is new".to_owned(),
        Ok(CycleOutcome::Available(agreed)) => {
            json["release"] = super::render_statement::manifest_json(agreed.manifest());
            let release = agreed.manifest().label();
            format!(
                "release {release} can be installed: every peer has confirmed it for long enough"
            )
        }
        Ok(CycleOutcome::Installed(installed)) => {
            json["installed"] = installed.release.clone().into();
            format!("installed {}", installed.directory.display())
        }
        Err(failure) => advice::command_error(failure).message,
    };
    json["message"] = message.clone().into();
    let remarks = list_remarks(report).into_iter().filter(|line| !message.contains(line));
    let remarks: String = remarks.map(|line| format!("\n  {line}")).collect();
    let failed = exit != Exit::Done && exit != Exit::Available;
    CommandOutput { exit, text: format!("{message}{remarks}\n"), json, failed, data: false }
}

/// What an operator should read besides the outcome itself.
fn list_remarks(report: &CycleReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (mirror, head) in &report.mirrors {
        match (head, &report.head) {
            (Err(why), _) => lines.push(format!("{mirror}: {why}")),
            (Ok(shown), Some(newest)) if shown.size() < newest.size() => {
                let (shown, newest) = (shown.size(), newest.size());
                lines.push(format!("{mirror} is stale: it shows {shown} entries of {newest}"));
            }
            _ => {}
        }
    }
    lines.extend(report.refused.iter().map(|(index, why)| match why {
        Refusal::Withdrawn { .. } => why.to_string(),
        why => format!("skipped log entry {index}: {}", advice::describe(why)),
    }));
    if report.unknown_kinds > 0 {
        lines.push(format!(
            "{} log entries are of kinds that this version does not know",
            report.unknown_kinds
        ));
    }
    lines.extend(report.remarks.iter().cloned());
    lines
}

fn report_json(report: &CycleReport) -> Value {
    let peers: Vec<Value> = (report.peers.iter())
        .map(|(name, answer)| match answer {
            Ok(view) => {
                json!({ "name": name, "size": view.head().size(), "cosigned": view.signed_at() })
            }
            Err(silence) => json!({ "name": name, "silent": silence.to_string() }),
        })
        .collect();
    let mirrors: Vec<Value> = (report.mirrors.iter())
        .map(|(mirror, head)| match head {
            Ok(head) => {
                let newest = report.head.as_ref().map_or(0, TreeHead::size);
                json!({ "mirror": mirror, "size": head.size(), "stale": head.size() < newest })
            }
            Err(why) => json!({ "mirror": mirror, "error": why }),
        })
        .collect();
    let refused: Vec<Value> = (report.refused.iter())
        .map(|(index, why)| json!({ "index": index, "outcome": why.exit().word(), "message": advice::describe(why) }))
        .collect();
    json!({
        "head": report.head.as_ref().map(super::log::head_json),
        "peers": peers,
        "mirrors": mirrors,
        "refused_entries": refused,
        "unknown_kinds": report.unknown_kinds,
        "remarks": report.remarks,
    })
}
