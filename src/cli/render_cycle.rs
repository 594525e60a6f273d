//! Rendering the results of cycles, for the node's own product and for further products.

use std::path::Path;

use serde_json::{Value, json};
use unanimity_client::{CycleError, CycleOutcome, CycleReport};
use unanimity_protocol::{Refusal, TreeHead};
use unanimity_report::{Classify, CommandError, CommandOutput, Exit, path_json};

use crate::advice;

/// Labels the output of a further product's cycle with the path of its configuration.
pub(super) fn label(path: &Path, result: Result<CommandOutput, CommandError>) -> CommandOutput {
    let mut output = result.unwrap_or_else(CommandOutput::from);
    // An error about that configuration begins with its path already.
    let named = format!("{}: ", path.display());
    if !output.text.starts_with(&named) {
        output.text = named + &output.text;
    }
    if let Value::Object(fields) = &mut output.json {
        fields.insert("config".to_owned(), path_json(path));
        fields.insert("exit".to_owned(), (output.exit as u8).into());
        fields.insert("outcome".to_owned(), output.exit.word().into());
    }
    output
}

/// Merges the outputs of all products, the node's own first.
///
/// The exit code is that of the first failure other than `settling` and `incomplete`. If there is
/// none, it is that of the first failure, or else the first exit code that is not 0.
pub(super) fn merge(mut all: Vec<CommandOutput>) -> CommandOutput {
    // `settling` and `incomplete` may pass with time, so other failures take precedence.
    let waits = |output: &CommandOutput| matches!(output.exit, Exit::Settling | Exit::Incomplete);
    let failed = all.iter().position(|output| output.failed && !waits(output));
    let failed = failed.or(all.iter().position(|output| output.failed));
    let first_nonzero = all.iter().position(|output| output.exit != Exit::Done);
    let exit = failed.or(first_nonzero).map_or(Exit::Done, |at| all[at].exit);
    let others = all.split_off(1);
    let mut output = all.remove(0);
    for other in &others {
        output.text = format!("{}\n{}", output.text.trim_end(), other.text);
    }
    if !others.is_empty() {
        output.json["own"] = json!({ "exit": output.exit as u8, "outcome": output.exit.word() });
        output.json["products"] = others.into_iter().map(|other| other.json).collect();
    }
    CommandOutput { exit, failed: failed.is_some(), ..output }
}

/// Renders the result of a cycle, and the remarks of its report.
pub(super) fn render_outcome(
    report: &CycleReport,
    result: Result<CycleOutcome, CycleError>,
) -> CommandOutput {
    let mut json = report_json(report);
    let exit = result.as_ref().map_or_else(Classify::exit, Classify::exit);
    let message = match result {
        Ok(CycleOutcome::UpToDate) => "every peer agrees, and nothing is new".to_owned(),
        Ok(CycleOutcome::Available(release)) => {
            json["release"] = super::render_statement::manifest_json(release.manifest());
            let release = release.manifest().label();
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

/// Lists the remarks of a cycle for the operator: failed and stale mirrors, refused entries, and
/// further observations.
fn list_remarks(report: &CycleReport) -> Vec<String> {
    let mut lines = Vec::new();
    for (mirror, head) in &report.mirrors {
        match (head, &report.head) {
            (Err(why), _) => lines.push(format!("{mirror}: {why}")),
            (Ok(shown), Some(newest)) if shown.size() < newest.size() => {
                let (shown, newest) = (shown.size(), newest.size());
                lines.push(format!("{mirror} is stale: it shows size {shown} of {newest}"));
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
            "log entries of kinds that this version does not know: {}",
            report.unknown_kinds
        ));
    }
    lines.extend(report.remarks.iter().cloned());
    lines
}

fn report_json(report: &CycleReport) -> Value {
    let peers: Vec<Value> = (report.peers.iter())
        .map(|(name, answer)| match answer {
            Ok(cosigned) => {
                json!({ "name": name, "size": cosigned.head().size(), "cosigned": cosigned.signed_at() })
            }
            Err(failure) => json!({ "name": name, "failure": failure.to_string() }),
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
