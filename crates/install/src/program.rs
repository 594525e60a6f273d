//! Command line of `unanimity-install`: its arguments, verbs and output.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use futures_util::FutureExt as _;
use serde_json::json;
use unanimity_config::{NodeConfig, config_path, load_node_config};
use unanimity_install::permissions::check_install_inputs;
use unanimity_install::spool::{PROOF_FILE, SpoolError, SpoolReader};
use unanimity_install::verbs::{
    ROLLBACK_INTERRUPTED, UNDO_INTERRUPTED, mark_good, roll_back, undo_trials,
};
use unanimity_install::{
    BlockingHookRunner, Installed, OfflineInstallError, OfflineInstaller, advice, root_from_config,
    root_with_withdrawn,
};
use unanimity_protocol::Refusal;
use unanimity_report::{
    CommandError, CommandOutput, Exit, format_report, outcome_table, path_json, print,
};
use unanimity_storage::{Clock as _, Storage, StorageError, SystemClock};

use crate::signals::interrupt_on_signals;

/// Name of this program.
const PROGRAM: &str = "unanimity-install";
/// Message after a signal, if there was no trial to undo.
const INSTALL_INTERRUPTED: &str = "interrupted: there is no trial to undo. The next `unanimity-install` continues where this one stopped";

/// Verifies again and installs what `unanimity download` has left in [install] spool, without any
/// network.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = outcome_table(), max_term_width = 100)]
struct InstallerArguments {
    /// Install from this directory instead: a copy of the directory that [install] spool names on
    /// the downloading machine
    #[arg(long, value_name = "DIRECTORY")]
    from: Option<PathBuf>,
    /// Report as one line of JSON (schema "unanimity/v1") instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// The node's configuration [default: /etc/unanimity/unanimity.toml for root, else
    /// unanimity/unanimity.toml below $XDG_CONFIG_HOME or ~/.config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<InstallerCommand>,
}

#[derive(Debug, Subcommand)]
enum InstallerCommand {
    /// Go back to an earlier good version. After that, only releases newer than the one you left
    /// are installed automatically
    Rollback {
        /// The version, as SEQUENCE-VERSION [default: of the older good versions, the one
        /// installed last]
        release: Option<String>,
    },
    /// Accept the release that is on trial. If its check has failed already, let the next update
    /// install it without the check
    MarkGood {
        /// The release, as SEQUENCE-VERSION [default: the one that is on trial or has failed]
        release: Option<String>,
    },
}

/// The whole program: parses the arguments, runs the verb, and prints its output.
pub(crate) fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(error) => return report_usage_error(&error),
    };
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("UNANIMITY_LOG")
                .unwrap_or_else(|_| "error,unanimity=warn".into()),
        )
        .init();
    let (json, verb) = (arguments.json, arguments.verb_name());
    run(arguments).unwrap_or_else(CommandOutput::from).finish(PROGRAM, verb, json)
}

fn parse() -> Result<InstallerArguments, clap::Error> {
    let arguments = InstallerArguments::try_parse()?;
    if arguments.from.is_some() && arguments.verb.is_some() {
        let why = "--from is for installing, and cannot be used with another verb";
        return Err(InstallerArguments::command().error(ErrorKind::ArgumentConflict, why));
    }
    Ok(arguments)
}

/// Prints a usage error or the help, and returns the exit code.
fn report_usage_error(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let message = error.to_string();
        print(&format_report("", Exit::Usage, json!({ "message": message.trim_end() }))).ok();
    } else {
        error.print().ok();
    }
    ExitCode::from(error.exit_code() as u8)
}

impl InstallerArguments {
    fn verb_name(&self) -> &'static str {
        match self.verb {
            None => "install",
            Some(InstallerCommand::Rollback { .. }) => "rollback",
            Some(InstallerCommand::MarkGood { .. }) => "mark-good",
        }
    }
}

fn run(arguments: InstallerArguments) -> Result<CommandOutput, CommandError> {
    let config =
        load_node_config(&config_path(arguments.config)?).map_err(advice::command_error)?;
    check_install_inputs(&config)?;
    match (arguments.verb, arguments.from) {
        (None, None) => install_from_spool(&config),
        (None, Some(directory)) => install_from_directory(&config, &directory),
        (Some(InstallerCommand::Rollback { release }), _) => {
            let interrupt = interrupt_on_signals()?;
            let root = root_with_withdrawn(&config)?
                .with_hook_runner(Arc::new(BlockingHookRunner(interrupt)));
            let done = roll_back(&root, release.as_deref()).now_or_never();
            done.unwrap_or_else(|| Err(CommandError::new(Exit::Interrupted, ROLLBACK_INTERRUPTED)))
        }
        (Some(InstallerCommand::MarkGood { release }), _) => {
            let done =
                mark_good(&config, &root_from_config(&config), release.as_deref()).now_or_never();
            done.expect("no command runs that could be interrupted")
        }
    }
}

fn install_from_spool(config: &NodeConfig) -> Result<CommandOutput, CommandError> {
    let Some(spool) = &config.cycle.spool else {
        let why = match config.cycle.freshness {
            Some(_) => {
                "there is no [install] spool in the configuration: name the copied directory with --from"
            }
            None => "there is no [install] spool in the configuration: `update` installs by itself",
        };
        return Err(CommandError::new(Exit::Configuration, why));
    };
    install(config, &spool.directory, spool.freshness)
}

fn install_from_directory(
    config: &NodeConfig,
    directory: &Path,
) -> Result<CommandOutput, CommandError> {
    let Some(freshness) = config.cycle.freshness else {
        let why = "[install] freshness is not set. Set it to the greatest age of the peers' signatures on arrival, such as \"7d\". For that long, the carrier of the directory can hold a release back";
        return Err(CommandError::new(Exit::Configuration, why));
    };
    let proof = directory.join(PROOF_FILE);
    if let Err(error) = std::fs::metadata(&proof) {
        let why = "this directory is not a spool. Copy the directory that `[install] spool` names on the downloading machine";
        return Err(CommandError::new(Exit::Disk, format!("{}: {error}; {why}", proof.display())));
    }
    install(config, directory, freshness)
}

fn install(
    config: &NodeConfig,
    spool: &Path,
    freshness: Duration,
) -> Result<CommandOutput, CommandError> {
    let interrupt = interrupt_on_signals()?;
    let hooks = Arc::new(BlockingHookRunner(interrupt.clone()));
    // If the known withdrawals cannot be read, an interrupted trial is still undone.
    let (root, known) = match root_with_withdrawn(config) {
        Ok(root) => (root, Ok(())),
        Err(error) => (root_from_config(config), Err(error)),
    };
    let root = root.with_hook_runner(hooks.clone());
    let installing = async {
        // Recovery comes first, even if the installation fails afterwards.
        if let Some(undone) = root.recover(SystemClock.now()).await? {
            tracing::warn!("{undone}");
        }
        known?;
        let client_config =
            config.client_config(SystemClock.now()).map_err(advice::command_error)?;
        let spool = match spool.canonicalize() {
            // Nothing was ever downloaded to this spool.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(SpoolError::Empty(spool.to_owned()).into()));
            }
            found => found.map_err(StorageError::at(spool))?,
        };
        let mut installer =
            OfflineInstaller::open(&client_config, Storage::default())?.with_hook_runner(hooks);
        Ok::<_, CommandError>(match SpoolReader::open(&spool) {
            Ok(spool) => installer.install(&spool, freshness, &SystemClock).await,
            Err(error) => Err(error.into()),
        })
    };
    let Some(installed) = installing.now_or_never() else {
        let interrupted = CommandError::new(Exit::Interrupted, INSTALL_INTERRUPTED);
        // After another signal, this process leaves the trial as it is.
        interrupt.clear();
        let undone = undo_trials(slice::from_ref(&root), interrupted).now_or_never();
        return Err(
            undone.unwrap_or_else(|| CommandError::new(Exit::Interrupted, UNDO_INTERRUPTED))
        );
    };
    render_installed(installed?)
}

/// Renders the result of an installation. An empty spool, and a release that is installed already,
/// are successes.
fn render_installed(
    installed: Result<Installed, OfflineInstallError>,
) -> Result<CommandOutput, CommandError> {
    let nothing =
        |why: String| Ok(CommandOutput::ok(format!("{why}\n"), json!({ "installed": null })));
    let installed = match installed {
        // A spool is usually empty.
        Err(OfflineInstallError::Spool(error @ SpoolError::Empty(_))) => {
            return nothing(advice::describe(&error));
        }
        Err(OfflineInstallError::Refused(Refusal::SequenceRollback { offered, floor }))
            if offered == floor =>
        {
            return nothing(format!(
                "nothing new is downloaded: sequence {offered} was installed before"
            ));
        }
        installed => installed.map_err(advice::command_error)?,
    };
    let text = format!("installed {}\n", installed.directory.display());
    let json = json!({
        "installed": installed.release,
        "directory": path_json(&installed.directory),
    });
    Ok(CommandOutput::ok(text, json))
}
