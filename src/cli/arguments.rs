//! The arguments: the verbs with their help, and the dispatch to each of them.

use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "demo")]
use super::demo;
#[cfg(feature = "tor")]
use super::request::Request;
#[cfg(not(feature = "tor"))]
use super::status;
use super::{cycle, evidence, log, node, publisher, verify, versions};
#[cfg(feature = "tor")]
use super::{daemon, daemon_client, peers};
use clap::{Parser, Subcommand};
use serde_json::json;
use unanimity_client::CycleMode;
use unanimity_report::{CommandError, CommandOutput, Exit, format_report, outcome_table, print};

/// Installs an update only if its signatures verify, it is in a public log, and every counted peer
/// has confirmed it for the settle time
#[derive(Debug, Parser)]
#[command(version, after_help = outcome_table(), max_term_width = 100)]
struct Arguments {
    /// Report as one line of JSON (schema "unanimity/v1") instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// The node's configuration [default: /etc/unanimity/unanimity.toml for root, else
    /// unanimity/unanimity.toml below $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Write a commented configuration to fill in
    Init(node::InitArgs),
    /// Ask every peer whether there is an update; install nothing
    Check {
        #[command(flatten)]
        extra: cycle::ExtraProducts,
    },
    /// Ask every peer, and install the update that all have confirmed for long enough
    Update {
        #[command(flatten)]
        extra: cycle::ExtraProducts,
    },
    /// Download the update and install nothing. If [install] spool is set, leave the update and its
    /// proof in that directory
    Download {
        #[command(flatten)]
        extra: cycle::ExtraProducts,
    },
    /// Go back to an earlier good version. After that, only releases newer than the one you left
    /// are installed automatically
    Rollback(versions::RollbackArgs),
    /// Accept the release that is on trial. If its check has failed already, let the next update
    /// install it without the check
    MarkGood(versions::MarkGoodArgs),
    /// Show what is installed, which head is trusted, and since when peers have not answered
    Status,
    /// Run the daemon: answer peers and check for updates until it is stopped
    #[cfg(feature = "tor")]
    Serve,
    /// Pair with peers, list them, test them
    #[cfg(feature = "tor")]
    #[command(subcommand)]
    Peers(peers::PeersCommand),
    /// Verify a file against its proof bundle, offline
    Verify(verify::VerifyArgs),
    /// Show, verify and acknowledge evidence that a log has forked
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Make a key pair: the secret key encrypted in a file, the public key printed
    Keygen(publisher::KeygenArgs),
    /// Describe, sign, show and withdraw releases
    #[command(subcommand)]
    Release(publisher::ReleaseCommand),
    /// Write, read and export an audit log
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Run a whole group of peers, in one process or over Tor: two honest updates, then every
    /// attack
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
}

/// Runs the whole program: parses the arguments, runs the verb, prints its output.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return report_usage_error(&error),
    };
    let level = arguments.command.log_level();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("UNANIMITY_LOG")
                .unwrap_or_else(|_| level.into()),
        )
        .init();
    let (json, verb) = (arguments.json, arguments.command.name());
    run(arguments).unwrap_or_else(CommandOutput::from).finish("unanimity", verb, json)
}

/// Prints the help that was asked for, or the error of an unusable command line.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let asked_for_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && asked_for_json {
        let message = error.to_string();
        print(&format_report("", Exit::Usage, json!({ "message": message.trim_end() }))).ok();
    } else {
        error.print().ok();
    }
    ExitCode::from(error.exit_code() as u8)
}

impl CliCommand {
    fn log_level(&self) -> &'static str {
        match self {
            // The demo runs attackers, and its peers' warnings about them are expected.
            #[cfg(feature = "demo")]
            CliCommand::Demo(_) => "off",
            #[cfg(feature = "tor")]
            CliCommand::Serve => "error,unanimity=info",
            // Tor's warnings are repeated in the failures of the peers that it did not reach.
            _ => "error,unanimity=warn",
        }
    }

    fn name(&self) -> &'static str {
        match self {
            CliCommand::Init(_) => "init",
            CliCommand::Check { .. } => "check",
            CliCommand::Update { .. } => "update",
            CliCommand::Download { .. } => "download",
            CliCommand::Rollback(_) => "rollback",
            CliCommand::MarkGood(_) => "mark-good",
            CliCommand::Status => "status",
            #[cfg(feature = "tor")]
            CliCommand::Serve => "serve",
            #[cfg(feature = "tor")]
            CliCommand::Peers(verb) => verb.name(),
            CliCommand::Verify(_) => "verify",
            CliCommand::Evidence(verb) => verb.name(),
            CliCommand::Keygen(_) => "keygen",
            CliCommand::Release(verb) => verb.name(),
            CliCommand::Log(verb) => verb.name(),
            #[cfg(feature = "demo")]
            CliCommand::Demo(_) => "demo",
        }
    }
}

fn run(arguments: Arguments) -> Result<CommandOutput, CommandError> {
    let (config, json) = (arguments.config, arguments.json);
    match arguments.command {
        CliCommand::Init(init) => init.run(config),
        CliCommand::Check { extra } => cycle::run(config, CycleMode::Check, extra, json),
        CliCommand::Update { extra } => cycle::run(config, CycleMode::Update, extra, json),
        CliCommand::Download { extra } => cycle::run(config, CycleMode::Download, extra, json),
        #[cfg(feature = "tor")]
        CliCommand::Status => daemon_client::run(config, Request::Status, json),
        #[cfg(feature = "tor")]
        CliCommand::Serve => daemon::serve(config, json),
        #[cfg(feature = "tor")]
        CliCommand::Peers(peers::PeersCommand::Add { invite, name, operator }) => {
            let invite = peers::read_invite(&invite)?.to_string();
            let verb = peers::PeersCommand::Add { invite, name, operator };
            daemon_client::run(config, Request::Peers(verb), json)
        }
        #[cfg(feature = "tor")]
        CliCommand::Peers(peers::PeersCommand::Remove { name, immediately: true, confirm }) => {
            peers::confirm_removal(&name, confirm)?;
            let verb = peers::PeersCommand::Remove { name, immediately: true, confirm: None };
            daemon_client::run(config, Request::Peers(verb), json)
        }
        #[cfg(feature = "tor")]
        CliCommand::Peers(verb) => daemon_client::run(config, Request::Peers(verb), json),
        #[cfg(not(feature = "tor"))]
        CliCommand::Status => status::render_status(&node::load_node(config)?, None),
        CliCommand::Rollback(rollback) => rollback.run(&node::load_node(config)?),
        CliCommand::MarkGood(mark_good) => mark_good.run(&node::load_node(config)?),
        CliCommand::Verify(verify) => verify.run(&node::load_client_config(config)?),
        CliCommand::Evidence(verb) => verb.run(config),
        CliCommand::Keygen(keygen) => keygen.run(),
        CliCommand::Release(verb) => verb.run(),
        CliCommand::Log(verb) => verb.run(),
        #[cfg(feature = "demo")]
        CliCommand::Demo(demo) => demo.run(json),
    }
}
