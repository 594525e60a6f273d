//! `evidence`: showing, verifying and acknowledging evidence of a fork.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use unanimity_install::installer_state_dir;
use unanimity_install::permissions::check_owner;
use unanimity_protocol::evidence::{EvidenceError, MAX_EVIDENCE_BYTES};
use unanimity_protocol::{Evidence, Log, NoteVerifyingKey};
use unanimity_report::{CommandError, CommandOutput, Exit};
use unanimity_state::EvidenceStore;
use unanimity_storage::Storage;

use super::input::{parse_note_key, read_file};
use super::node;
use crate::advice;

/// Show, verify and acknowledge evidence that a log has forked.
#[derive(Debug, Subcommand)]
pub(super) enum EvidenceCommand {
    /// List stored evidence, or print one piece of it
    Show {
        /// The piece of evidence to print [default: list all]
        id: Option<String>,
        /// The installer's evidence (`unanimity-install`), not the client's
        #[arg(long)]
        installer: bool,
    },
    /// Verify an evidence file with the log's key alone
    Verify(EvidenceVerifyArgs),
    /// Allow updates again despite one piece of evidence, after you have looked at it
    Acknowledge {
        /// The piece of evidence
        id: String,
        /// The installer's evidence (`unanimity-install`), not the client's
        #[arg(long)]
        installer: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct EvidenceVerifyArgs {
    /// The evidence file
    file: PathBuf,
    /// The log's public key (the line, or a file that holds it)
    #[arg(long, value_name = "KEY", value_parser = parse_note_key)]
    log_key: NoteVerifyingKey,
}

impl EvidenceCommand {
    pub(super) fn name(&self) -> &'static str {
        match self {
            EvidenceCommand::Show { .. } => "evidence show",
            EvidenceCommand::Verify(_) => "evidence verify",
            EvidenceCommand::Acknowledge { .. } => "evidence acknowledge",
        }
    }

    pub(super) fn run(self, config: Option<PathBuf>) -> Result<CommandOutput, CommandError> {
        match self {
            EvidenceCommand::Verify(check) => check.run(),
            EvidenceCommand::Show { id: None, installer } => {
                let node_config = node::load_node(config)?;
                let own = open_store(&node_config, installer)?;
                let other = (!installer).then(|| open_store(&node_config, true)).transpose()?;
                list_evidence(&own, other.as_ref(), installer, &node_config.cycle.policy.log)
            }
            EvidenceCommand::Show { id: Some(id), installer } => {
                let text = open_store(&node::load_node(config)?, installer)?
                    .text(&id)
                    .map_err(advice::command_error)?;
                let json = json!({ "id": id, "evidence": text });
                Ok(CommandOutput::data(text, json))
            }
            EvidenceCommand::Acknowledge { id, installer } => {
                let node_config = node::load_node(config)?;
                let own = installer_state_dir(&node_config.cycle.install_root);
                check_owner(if installer { &own } else { &node_config.cycle.state })?;
                open_store(&node_config, installer)?
                    .acknowledge(&id)
                    .map_err(advice::command_error)?;
                let text =
                    format!("Evidence {id} is acknowledged. It no longer holds updates back.\n");
                Ok(CommandOutput::ok(text, json!({ "id": id })))
            }
        }
    }
}

impl EvidenceVerifyArgs {
    fn run(self) -> Result<CommandOutput, CommandError> {
        let bytes = read_file(&self.file, MAX_EVIDENCE_BYTES)?;
        let bad = |exit, why: &dyn std::fmt::Display| {
            CommandError::new(exit, format!("{}: {why}", self.file.display()))
        };
        let text = std::str::from_utf8(&bytes).map_err(|error| bad(Exit::BadInput, &error))?;
        let evidence = Evidence::verify_with_key(text, &self.log_key).map_err(|error| {
            let exit = match error {
                EvidenceError::Form(_) | EvidenceError::TooLong => Exit::BadInput,
                _ => Exit::BadProof,
            };
            bad(exit, &unanimity_report::error_chain(&error))
        })?;
        let text = format!(
            "Evidence {} is valid: the key {} signed both of these heads, and they contradict each other.\n  {}\n  {}\n",
            evidence.id(),
            self.log_key.name(),
            evidence.smaller(),
            evidence.larger(),
        );
        let json = json!({
            "id": evidence.id(),
            "smaller": super::log::head_json(evidence.smaller()),
            "larger": super::log::head_json(evidence.larger()),
        });
        Ok(CommandOutput::ok(text, json))
    }
}

/// Opens the evidence of the client or of the installer.
///
/// # Errors
///
/// An error if the node has a spool and another user owns the client's state, because that user
/// could have put any files there.
fn open_store(
    config: &unanimity_config::NodeConfig,
    installer: bool,
) -> Result<EvidenceStore, CommandError> {
    let own = installer_state_dir(&config.cycle.install_root);
    if config.cycle.spool.is_some() && !installer {
        check_owner(&config.cycle.state)?;
    }
    let state = if installer { &own } else { &config.cycle.state };
    Ok(EvidenceStore::new(state, &config.cycle.policy.log, Storage::default()))
}

/// Lists the evidence in `store`, and says whether `other`, the installer's store, holds updates
/// back.
fn list_evidence(
    store: &EvidenceStore,
    other: Option<&EvidenceStore>,
    installer: bool,
    log: &Log,
) -> Result<CommandOutput, CommandError> {
    let all = store.list()?;
    // The installer's evidence may be unreadable for this user.
    let latched = other.and_then(|other| other.find_unacknowledged().ok().flatten());
    let mut text = String::new();
    for (id, acknowledged) in &all {
        text += &format!(
            "{id}  {}\n",
            if *acknowledged { "acknowledged" } else { "holds updates back" }
        );
        if let Ok(evidence) = Evidence::verify(&store.text(id)?, log) {
            text += &format!("    {}\n    {}\n", evidence.smaller(), evidence.larger());
        }
    }
    let option = if installer { "--installer " } else { "" };
    text += &if all.is_empty() {
        let role = if installer { "installer" } else { "client" };
        format!("The {role} has no evidence of a fork.\n")
    } else {
        "The log signed both heads of each pair, and they contradict each other. Either its key is stolen, or its\n\
         operator shows different logs to different nodes.\n"
            .to_owned()
    };
    if all.iter().any(|(_, acknowledged)| !acknowledged) {
        text += &format!(
            "Send the evidence (`evidence show {option}ID`) to the log's operator, the publisher and your peers, over\n\
             another channel. `evidence acknowledge {option}ID` allows updates again. The node then installs again\n\
             once its mirrors and peers agree on one of the two heads.\n"
        );
    }
    if let Some(id) = &latched {
        text += &format!(
            "The installer has evidence {id}, so it installs nothing: see `evidence show --installer`.\n"
        );
    }
    let list: Vec<_> = (all.iter())
        .map(|(id, acknowledged)| json!({ "id": id, "acknowledged": acknowledged }))
        .collect();
    Ok(CommandOutput::ok(text, json!({ "evidence": list, "installer": latched })))
}
