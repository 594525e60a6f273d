//! The arguments: parsed, handed to their verb, and what it says printed. The whole program.

use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(feature = "demo")]
use super::demo;
#[cfg(feature = "tor")]
use super::request::Command;
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
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a commented configuration to fill in
    Init(node::Init),
    /// Call the roll and say whether there is an update; install nothing
    Check {
        #[command(flatten)]
        others: cycle::Others,
    },
    /// Call the roll and install what every peer has confirmed for long enough
    Update {
        /// Fetch it and install nothing; with [install] spool, leave it there with its proof
        #[arg(long)]
        stage: bool,
        #[command(flatten)]
        others: cycle::Others,
    },
    /// Go back to a version that proved good before; newer releases install as ever
    Rollback(versions::Rollback),
    /// Say that a release is good whose trial was interrupted, or that failed its check
    MarkGood(versions::MarkGood),
    /// Show what is installed, which head is trusted, and who has been silent since when
    Status,
    /// Be a peer to others, and call the roll by itself, until told to end
    #[cfg(feature = "tor")]
    Serve,
    /// Pair with peers, see who they are, ask them
    #[cfg(feature = "tor")]
    #[command(subcommand)]
    Peers(peers::Verb),
    /// Verify a file against its proof bundle, offline
    Verify(verify::Verify),
    /// Look at evidence that a log has forked
    #[command(subcommand)]
    Evidence(evidence::Verb),
    /// Make a key: the secret half encrypted in a file, the public half printed
    Keygen(publisher::Keygen),
    /// Describe, sign and show releases
    #[command(subcommand)]
    Release(publisher::Verb),
    /// Write and read an audit log
    #[command(subcommand)]
    Log(log::Verb),
    /// Write a log's files to a directory that any static host can serve, or bring it up to date
    Publish(site::Publish),
    /// Play a whole circle, in one process or over Tor: two honest updates, then every attack
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
}

/// Parses the arguments, runs the verb, prints what it says. The whole program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let level = arguments.verb.log_level();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("UNANIMITY_LOG")
                .unwrap_or_else(|_| level.into()),
        )
        .init();
    let (json, verb) = (arguments.json, arguments.verb.name());
    run(arguments).unwrap_or_else(CommandOutput::from).finish("unanimity", verb, json)
}

/// A command line that makes no sense, or that asks for help.
fn usage(error: &clap::Error) -> ExitCode {
    let asked_for_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && asked_for_json {
        let message = error.to_string();
        print(&format_report("", Exit::Usage, json!({ "message": message.trim_end() }))).ok();
    } else {
        error.print().ok();
    }
    ExitCode::from(error.exit_code() as u8)
}

impl Verb {
    fn log_level(&self) -> &'static str {
        match self {
            // It plays attackers; what its peers have to say of them is part of the story.
            #[cfg(feature = "demo")]
            Verb::Demo(_) => "off",
            #[cfg(feature = "tor")]
            Verb::Serve => "error,unanimity=info",
            // What Tor has to warn of is in the answers of the peers that it did not reach.
            _ => "error,unanimity=warn",
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Verb::Init(_) => "init",
            Verb::Check { .. } => "check",
            Verb::Update { .. } => "update",
            Verb::Rollback(_) => "rollback",
            Verb::MarkGood(_) => "mark-good",
            Verb::Status => "status",
            #[cfg(feature = "tor")]
            Verb::Serve => "serve",
            #[cfg(feature = "tor")]
            Verb::Peers(verb) => verb.name(),
            Verb::Verify(_) => "verify",
            Verb::Evidence(verb) => verb.name(),
            Verb::Keygen(_) => "keygen",
            Verb::Release(verb) => verb.name(),
            Verb::Log(verb) => verb.name(),
            Verb::Publish(_) => "publish",
            #[cfg(feature = "demo")]
            Verb::Demo(_) => "demo",
        }
    }
}

fn run(arguments: Arguments) -> Result<CommandOutput, CommandError> {
    let (config, json) = (arguments.config, arguments.json);
    match arguments.verb {
        Verb::Init(init) => init.run(config),
        Verb::Check { others } => cycle::run(config, CycleMode::Check, others, json),
        Verb::Update { stage: false, others } => {
            cycle::run(config, CycleMode::Update, others, json)
        }
        Verb::Update { stage: true, others } => {
            cycle::run(config, CycleMode::Download, others, json)
        }
        #[cfg(feature = "tor")]
        Verb::Status => daemon_client::run(config, Command::Status, json),
        #[cfg(feature = "tor")]
        Verb::Serve => daemon::serve(config, json),
        #[cfg(feature = "tor")]
        Verb::Peers(peers::Verb::Add { ticket, name, operator }) => {
            let ticket = peers::read_ticket(&ticket)?.to_string();
            let verb = peers::Verb::Add { ticket, name, operator };
            daemon_client::run(config, Command::Peers(verb), json)
        }
        #[cfg(feature = "tor")]
        Verb::Peers(verb) => daemon_client::run(config, Command::Peers(verb), json),
        #[cfg(not(feature = "tor"))]
        Verb::Status => status::status(&node::load_node(config)?, None),
        Verb::Rollback(rollback) => rollback.run(&node::load_node(config)?),
        Verb::MarkGood(mark_good) => mark_good.run(&node::load_node(config)?),
        Verb::Verify(verify) => verify.run(&node::load(config)?),
        Verb::Evidence(verb) => verb.run(config),
        Verb::Keygen(keygen) => keygen.run(),
        Verb::Release(verb) => verb.run(),
        Verb::Log(verb) => verb.run(),
        Verb::Publish(publish) => publish.run(),
        #[cfg(feature = "demo")]
        Verb::Demo(demo) => demo.run(json),
    }
}
