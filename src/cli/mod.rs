//! The command line: arguments in, one exit code out, and the words people read between.

mod demo;
mod evidence;
pub mod exit;
mod log;
mod node;
mod publisher;
mod secrets;
mod verify;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::verify::NoteKey;
use exit::{Ended, Exit};

/// Installs an update only when its signatures verify, it is in a public log, and every trusted
/// peer has seen the same log for a while.
#[derive(Debug, Parser)]
#[command(version, after_help = exit::table(), max_term_width = 100)]
struct Arguments {
    /// Report as one line of JSON (schema "unanimity/v1") instead of text
    #[arg(long, global = true)]
    json: bool,
    /// The node's configuration [default: /etc/unanimity/unanimity.toml for root, else
    /// unanimity/unanimity.toml below $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Write a commented configuration to fill in
    Init(node::Init),
    /// Call the roll and say whether there is an update; install nothing
    Check,
    /// Call the roll and install what every peer has confirmed for long enough
    Update,
    /// Show what is installed, which head is trusted, and who has been silent since when
    Status,
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
    /// Play a whole circle in one process: two honest updates, then every attack
    Demo(demo::Demo),
}

/// What a verb has to say.
struct Said {
    exit: Exit,
    text: String,
    json: Value,
}

impl Said {
    fn done(text: impl Into<String>, json: Value) -> Said {
        Said { exit: Exit::Done, text: text.into(), json }
    }
}

/// Parses the arguments, runs the verb, prints what it says. The whole program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // The demo plays attackers; what its peers have to say of them is part of the story.
    let level = if matches!(arguments.verb, Verb::Demo(_)) { "off" } else { "warn" };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("UNANIMITY_LOG")
                .unwrap_or_else(|_| level.into()),
        )
        .init();
    let (json, verb) = (arguments.json, arguments.verb.name());
    let (exit, text, value) = match run(arguments) {
        Ok(said) => (said.exit, said.text, said.json),
        Err(ended) => (ended.exit, ended.message.clone(), json!({ "message": ended.message })),
    };
    if json {
        let mut report = json!({
            "schema": "unanimity/v1",
            "verb": verb,
            "exit": exit as u8,
            "outcome": exit.word(),
        });
        if let (Some(report), Value::Object(fields)) = (report.as_object_mut(), value) {
            report.extend(fields);
        }
        print(&format!("{report}\n"));
    } else if exit == Exit::Done || exit == Exit::Available {
        print(&text);
    } else {
        let text = text.trim_end();
        // Nobody is left to tell if this fails.
        writeln!(std::io::stderr(), "unanimity: {text}").ok();
    }
    ExitCode::from(exit as u8)
}

impl Verb {
    fn name(&self) -> &'static str {
        match self {
            Verb::Init(_) => "init",
            Verb::Check => "check",
            Verb::Update => "update",
            Verb::Status => "status",
            Verb::Verify(_) => "verify",
            Verb::Evidence(verb) => verb.name(),
            Verb::Keygen(_) => "keygen",
            Verb::Release(verb) => verb.name(),
            Verb::Log(verb) => verb.name(),
            Verb::Demo(_) => "demo",
        }
    }
}

fn run(arguments: Arguments) -> Result<Said, Ended> {
    let config = arguments.config;
    match arguments.verb {
        Verb::Init(init) => init.run(config),
        Verb::Check => node::cycle(&node::load(config)?, false),
        Verb::Update => node::cycle(&node::load(config)?, true),
        Verb::Status => node::status(&node::load(config)?),
        Verb::Verify(verify) => verify.run(&node::load(config)?),
        Verb::Evidence(verb) => verb.run(config),
        Verb::Keygen(keygen) => keygen.run(),
        Verb::Release(verb) => verb.run(),
        Verb::Log(verb) => verb.run(),
        Verb::Demo(demo) => demo.run(arguments.json),
    }
}

/// Prints to standard output; whoever closed the other end wants no more.
fn print(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).ok();
}

/// Runs what waits for others, on one thread.
fn wait_for<T>(work: impl Future<Output = T>) -> Result<T, Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Ended::new(Exit::Failed, error.to_string()))?;
    Ok(runtime.block_on(work))
}

/// Reads a file that the user named.
fn read(path: &Path) -> Result<Vec<u8>, Ended> {
    Ok(std::fs::read(path).map_err(crate::durable::DiskError::at(path))?)
}

/// A verifier key as an argument: the line itself, or a file that holds it.
fn note_key(argument: &str) -> Result<NoteKey, String> {
    match argument.parse::<NoteKey>() {
        Ok(key) => Ok(key),
        Err(error) if argument.contains('+') => Err(error.to_string()),
        Err(_) => {
            let text = std::fs::read_to_string(argument);
            let text = text.map_err(|error| format!("neither a key nor a file: {error}"))?;
            text.trim().parse().map_err(|error| format!("{argument}: {error}"))
        }
    }
}
