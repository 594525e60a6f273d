//! `log export`: writes a log's files to a directory that any static host can serve.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use unanimity_log::export::{ExportError, ExportSummary, LogSnapshot, MissingArtifact};
use unanimity_protocol::NoteVerifyingKey;
use unanimity_protocol::log_path::artifact_path;
use unanimity_report::{CommandError, CommandOutput, Exit, path_json};
use unanimity_storage::{Clock as _, Storage, SystemClock};

use crate::advice;
use crate::cli::input::parse_note_key;
use crate::cli::log::source::head_json;

/// Write a log's files to a directory that any static host can serve, or update that directory.
#[derive(Debug, Args)]
pub(in crate::cli) struct LogExportArgs {
    /// The log's directory, or a copy of it
    directory: PathBuf,
    /// The site's directory: empty or new, or one from an earlier export
    #[arg(long = "to", value_name = "SITE")]
    site: PathBuf,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    log_key: NoteVerifyingKey,
}

impl LogExportArgs {
    pub(super) fn run(self) -> Result<CommandOutput, CommandError> {
        let source =
            LogSnapshot::read(&self.directory, &self.log_key).map_err(advice::command_error)?;
        match unanimity_log::export::export(&source, &self.site, &Storage::default()) {
            Ok(summary) => Ok(self.render(&source, &summary)),
            Err(error @ ExportError::Fork { .. }) => Ok(render_fork(&error)),
            Err(error) => Err(advice::command_error(error)),
        }
    }

    fn render(&self, source: &LogSnapshot, summary: &ExportSummary) -> CommandOutput {
        let (site, head) = (self.site.display(), source.head());
        let (files, bytes, releases) = (summary.files, summary.bytes, source.releases().len());
        let mut text = if files == 0 {
            format!("{site} was up to date.\n")
        } else {
            format!("{site} is up to date; files written: {files} ({bytes} bytes).\n")
        };
        text += &format!("head      {head}\nreleases  {releases}\n");
        if summary.has_foreign_page {
            text += &format!(
                "{} was not written by this program and was left as it is.\n",
                self.site.join("index.html").display()
            );
        }
        let now = SystemClock.now();
        for MissingArtifact { manifest, artifact: target } in &summary.missing_artifacts {
            // No client may install it any more.
            if manifest.expires <= now {
                continue;
            }
            text += &format!(
                "Clients will not find {} for {} of {} {}: copy the file to {} and export again\n",
                target.file,
                target.platform,
                manifest.product,
                manifest.version,
                self.directory.join(artifact_path(&target.sha256)).display()
            );
        }
        let missing: Vec<Value> = summary.missing_artifacts.iter().map(missing_json).collect();
        let json = json!({
            "site": path_json(&self.site),
            "origin": source.log().origin.as_str(),
            "head": head_json(head),
            "releases": releases,
            "files_written": files,
            "bytes_written": bytes,
            "missing": missing,
            "foreign_index": summary.has_foreign_page,
        });
        CommandOutput::ok(text, json)
    }
}

fn missing_json(MissingArtifact { manifest, artifact: target }: &MissingArtifact) -> Value {
    json!({
        "product": manifest.product.as_str(),
        "channel": manifest.channel.as_str(),
        "sequence": manifest.sequence,
        "version": manifest.version.as_str(),
        "expires": manifest.expires,
        "platform": target.platform.as_str(),
        "file": target.file.as_str(),
        "sha256": target.sha256.hex(),
    })
}

/// Renders a fork with its evidence, because the two heads may never be in one place again.
fn render_fork(error: &ExportError) -> CommandOutput {
    let evidence = match error {
        ExportError::Fork { evidence, .. } => evidence.to_string(),
        _ => String::new(),
    };
    let json = json!({ "message": error.to_string(), "evidence": evidence });
    let hint =
        "The evidence, to be saved as a file for `unanimity evidence verify FILE --log-key KEY`:";
    let text = format!("{error}.\n{hint}\n\n{evidence}");
    CommandOutput { exit: Exit::Fork, text, json, failed: true, data: false }
}
