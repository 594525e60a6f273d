//! `evidence`: what a fork leaves behind.

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

/// Look at evidence that a log has forked.
#[derive(Debug, Subcommand)]
pub(super) enum EvidenceCommand {
    /// Print stored evidence, or list what is stored
    Show {
        /// Which; all are listed without it
        id: Option<String>,
        /// What the installer has found (`unanimity-install`), not whoever fetches
        #[arg(long)]
        installer: bool,
    },
    /// Check an evidence file with the log's key alone
    Verify(EvidenceVerifyArgs),
    /// Lift the latch of one piece of evidence, once you have looked at it and decided to go on
    Acknowledge {
        /// Which
        id: String,
        /// What the installer has found (`unanimity-install`), not whoever fetches
        #[arg(long)]
        installer: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct EvidenceVerifyArgs {
    /// The evidence
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
                    format!("Evidence {id} is acknowledged; it no longer holds updates back.\n");
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
            "Evidence {} holds: the key {} signed both of these, and they cannot both be true.\n  {}\n  {}\n",
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

/// What the client has found, or the installer. What another user left there is not shown as theirs.
fn open_store(
    told: &unanimity_config::NodeConfig,
    installer: bool,
) -> Result<EvidenceStore, CommandError> {
    let own = installer_state_dir(&told.cycle.install_root);
    if told.cycle.spool.is_some() && !installer {
        check_owner(&told.cycle.state)?;
    }
    let state = if installer { &own } else { &told.cycle.state };
    Ok(EvidenceStore::new(state, &told.cycle.policy.log, Storage::default()))
}

/// Lists what is stored here, and says where there is more.
fn list_evidence(
    store: &EvidenceStore,
    other: Option<&EvidenceStore>,
    installer: bool,
    log: &Log,
) -> Result<CommandOutput, CommandError> {
    let all = store.list()?;
    // Nobody else need be able to see it.
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
    let whose = if installer { "--installer " } else { "" };
    text += &if all.is_empty() {
        "There is no evidence against this log.\n".to_owned()
    } else {
        format!(
            "The log signed both heads of each, and they cannot both be true: its key is in two hands, or its\n\
             operator shows different people different logs. Send the evidence (`evidence show {whose}ID`) to the log's\n\
             operator, the publisher and your peers, over another channel. `evidence acknowledge {whose}ID` lets this\n\
             node go on, as far as its mirrors and peers agree on one of the two.\n"
        )
    };
    if let Some(id) = &latched {
        text += &format!(
            "The installer holds updates back by evidence {id}: see `evidence show --installer`.\n"
        );
    }
    let list: Vec<_> = (all.iter())
        .map(|(id, acknowledged)| json!({ "id": id, "acknowledged": acknowledged }))
        .collect();
    Ok(CommandOutput::ok(text, json!({ "evidence": list, "installer": latched })))
}
