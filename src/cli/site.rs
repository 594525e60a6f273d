//! `publish`: a log's directory becomes a site that any static host can serve.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use unanimity_log::export::{ExportError, ExportSummary, LogSnapshot, MissingArtifact};
use unanimity_protocol::NoteVerifyingKey;
use unanimity_protocol::log_path::artifact_path;
use unanimity_report::{CommandError, CommandOutput, Exit, path_json};
use unanimity_storage::{Clock as _, Storage, SystemClock};

use super::input::parse_note_key;
use super::log::head_json;
use crate::advice;

/// Write a log's files to a directory that any static host can serve, or bring it up to date.
#[derive(Debug, Args)]
pub(super) struct LogExportArgs {
    /// The site's directory: empty or new, or one that was published to before
    site: PathBuf,
    /// The log's directory, or a copy of it
    #[arg(long, value_name = "DIRECTORY")]
    log: PathBuf,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    log_key: NoteVerifyingKey,
}

impl LogExportArgs {
    pub(super) fn run(self) -> Result<CommandOutput, CommandError> {
        let source = LogSnapshot::read(&self.log, &self.log_key).map_err(advice::command_error)?;
        match unanimity_log::export::export(&source, &self.site, &Storage::default()) {
            Ok(published) => Ok(self.render(&source, &published)),
            Err(error @ ExportError::Fork { .. }) => Ok(render_fork(&error)),
            Err(error) => Err(advice::command_error(error)),
        }
    }

    fn render(&self, source: &LogSnapshot, published: &ExportSummary) -> CommandOutput {
        let (site, head) = (self.site.display(), source.head());
        let (files, bytes, releases) = (published.files, published.bytes, source.releases().len());
        let mut text = if files == 0 {
            format!("{site} was up to date.\n")
        } else {
            format!("{site} is up to date; files written: {files} ({bytes} bytes).\n")
        };
        text += &format!("head      {head}\nreleases  {releases}\n");
        if published.has_foreign_page {
            text += &format!(
                "{} is somebody else's page and was left as it is.\n",
                self.site.join("index.html").display()
            );
        }
        let now = SystemClock.now();
        for MissingArtifact { manifest, artifact: target } in &published.missing_artifacts {
            // Nobody may install it any more.
            if manifest.expires <= now {
                continue;
            }
            text += &format!(
                "Clients will not find {} for {} of {} {}: copy the file to {} and publish again\n",
                target.file,
                target.platform,
                manifest.product,
                manifest.version,
                self.log.join(artifact_path(&target.sha256)).display()
            );
        }
        let missing: Vec<Value> = published.missing_artifacts.iter().map(missing_json).collect();
        let json = json!({
            "site": path_json(&self.site),
            "origin": source.log().origin.as_str(),
            "head": head_json(head),
            "releases": releases,
            "files_written": files,
            "bytes_written": bytes,
            "missing": missing,
            "foreign_index": published.has_foreign_page,
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

/// What proves a fork is said with it: there may be no other time at which both heads are together.
fn render_fork(error: &ExportError) -> CommandOutput {
    let evidence = match error {
        ExportError::Fork { evidence, .. } => evidence.to_string(),
        _ => String::new(),
    };
    let json = json!({ "message": error.to_string(), "evidence": evidence });
    let hint =
        "The evidence, for a file of its own (`unanimity evidence verify FILE --log-key KEY`):";
    let text = format!("{error}.\n{hint}\n\n{evidence}");
    CommandOutput { exit: Exit::Fork, text, json, failed: true, data: false }
}
