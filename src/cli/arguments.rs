//! The arguments: parsed, handed to their verb, and what it says printed. The whole program.

use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "demo")]
use super::demo;
#[cfg(feature = "tor")]
use super::request::Request;
#[cfg(not(feature = "tor"))]
use super::status;
use super::{cycle, evidence, log, node, publisher, site, verify, versions};
#[cfg(feature = "tor")]
use super::{daemon, daemon_client, peers};
use clap::{Parser, Subcommand};
use serde_json::json;
use unanimity_client::CycleMode;
use unanimity_report::{CommandError, CommandOutput, Exit, format_report, outcome_table, print};

/// Installs an update only when its signatures verify, it is in a public log, and every trusted
/// peer has seen the same log for a while.
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
    /// Call the roll and say whether there is an update; install nothing
    Check {
        #[command(flatten)]
        extra: cycle::ExtraProducts,
    },
    /// Call the roll and install what every peer has confirmed for long enough
    Update {
        /// Fetch it and install nothing; with [install] spool, leave it there with its proof
        #[arg(long)]
        stage: bool,
        #[command(flatten)]
        extra: cycle::ExtraProducts,
    },
    /// Go back to a version that proved good before; newer releases install as ever
    Rollback(versions::RollbackArgs),
    /// Say that a release is good whose trial was interrupted, or that failed its check
    MarkGood(versions::MarkGoodArgs),
    /// Show what is installed, which head is trusted, and who has been silent since when
    Status,
    /// Be a peer to others, and call the roll by itself, until told to end
    #[cfg(feature = "tor")]
    Serve,
    /// Pair with peers, see who they are, ask them
    #[cfg(feature = "tor")]
    #[command(subcommand)]
    Peers(peers::PeersCommand),
    /// Verify a file against its proof bundle, offline
    Verify(verify::VerifyArgs),
    /// Look at evidence that a log has forked
    #[command(subcommand)]
    Evidence(evidence::EvidenceCommand),
    /// Make a key: the secret half encrypted in a file, the public half printed
    Keygen(publisher::KeygenArgs),
    /// Describe, sign and show releases
    #[command(subcommand)]
    Release(publisher::ReleaseCommand),
    /// Write and read an audit log
    #[command(subcommand)]
    Log(log::LogCommand),
    /// Write a log's files to a directory that any static host can serve, or bring it up to date
    Publish(site::LogExportArgs),
    /// Play a whole circle, in one process or over Tor: two honest updates, then every attack
    #[cfg(feature = "demo")]
    Demo(demo::DemoArgs),
}

/// Parses the arguments, runs the verb, prints what it says. The whole program.
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

/// A command line that makes no sense, or that asks for help.
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
            // It plays attackers; what its peers have to say of them is part of the story.
            #[cfg(feature = "demo")]
            CliCommand::Demo(_) => "off",
            #[cfg(feature = "tor")]
            CliCommand::Serve => "error,unanimity=info",
            // What Tor has to warn of is in the answers of the peers that it did not reach.
            _ => "error,unanimity=warn",
        }
    }

    fn name(&self) -> &'static str {
        match self {
            CliCommand::Init(_) => "init",
            CliCommand::Check { .. } => "check",
            CliCommand::Update { .. } => "update",
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
            CliCommand::Publish(_) => "publish",
            #[cfg(feature = "demo")]
            CliCommand::Demo(_) => "demo",
        }
    }
}

fn run(arguments: Arguments) -> Result<CommandOutput, CommandError> {
    let (config, json) = (arguments.config, arguments.json);
    match arguments.command {
        CliCommand::Init(init) => init.run(config),
        CliCommand::Check { extra: others } => cycle::run(config, CycleMode::Check, others, json),
        CliCommand::Update { stage: false, extra: others } => {
            cycle::run(config, CycleMode::Update, others, json)
        }
        CliCommand::Update { stage: true, extra: others } => {
            cycle::run(config, CycleMode::Download, others, json)
        }
        #[cfg(feature = "tor")]
        CliCommand::Status => daemon_client::run(config, Request::Status, json),
        #[cfg(feature = "tor")]
        CliCommand::Serve => daemon::serve(config, json),
        #[cfg(feature = "tor")]
        CliCommand::Peers(peers::PeersCommand::Add { invite: ticket, name, operator }) => {
            let ticket = peers::read_invite(&ticket)?.to_string();
            let verb = peers::PeersCommand::Add { invite: ticket, name, operator };
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
        CliCommand::Publish(publish) => publish.run(),
        #[cfg(feature = "demo")]
        CliCommand::Demo(demo) => demo.run(json),
    }
}
