//! A command of a node: by its daemon, if one is at work, else by itself.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use unanimity_client::CycleMode;
use unanimity_install::{InstallRoot, permissions};
use unanimity_report::{CommandError, CommandOutput, Exit};
use unanimity_storage::{Clock as _, SystemClock};

use super::progress::Shown;
use super::request::{Asked, Command};
use super::{interrupt, node, peers, status, versions};
use crate::cli::offline::alone;
use crate::cli::runtime::{LAST_WORDS, runtime};
use crate::daemon::control_socket::{self};

/// Runs one command of a node: by its daemon, if one is at work, else by itself.
pub(super) fn run(
    config: Option<PathBuf>,
    command: Command,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    let path = unanimity_config::config_path(config)?;
    let told = node::load_file(&path)?;
    if let Err(ended) = permissions::check_owner(&told.cycle.state) {
        // Whoever has their state may have put a daemon of their own there.
        let state = told.cycle.state.display();
        let not_asked = format!("serving     not asked: {state} is another user's\n");
        let is_seen = told.cycle.spool.is_some() || told.cycle.state.read_dir().is_ok();
        return match command {
            Command::Status if is_seen => status::status(&told, Some((not_asked, Value::Null))),
            Command::Peers(peers::Verb::List) => peers::list(&told, SystemClock.now()),
            _ => Err(ended),
        };
    }
    if matches!(command, Command::Cycle { errand: CycleMode::Update, .. }) {
        permissions::check_root_inputs(&told)?;
    }
    let runtime = runtime()?;
    let shown = Shown::new(json);
    let is_cycle = matches!(command, Command::Cycle { .. });
    let by_itself = Cell::new(false);
    let roots = installs_to(&told, &command);
    let work = async {
        let config = absolute(&path).into_os_string().into_vec();
        let asked = Asked { config, command, steps: true };
        let question = serde_json::to_string(&asked).expect("bytes and words");
        // What is no step is of a later version, and can be done without.
        let heard = |line: &[u8]| {
            if let Ok(step) = serde_json::from_slice(line) {
                shown.tell(step);
            }
        };
        match control_socket::ask(&told.cycle.state, &question, heard).await {
            Ok(Some(answer)) => parse_said(&answer),
            Ok(None) => {
                by_itself.set(true);
                Box::pin(alone(told, asked.command, &shown, json)).await
            }
            Err(error) => {
                Err(CommandError::new(Exit::Disk, format!("the daemon does not answer: {error}")))
            }
        }
    };
    let said = || if by_itself.get() { interrupt::ALONE } else { interrupt::DAEMON };
    let ended = runtime.block_on(async {
        if !is_cycle {
            return work.await;
        }
        match interrupt::until_told_to_end(work, said).await {
            Err(ended) if ended.exit == Exit::Interrupted && by_itself.get() => {
                Err(interrupt::undo(&roots, ended).await)
            }
            ended => ended,
        }
    });
    drop(shown);
    if matches!(&ended, Err(ended) if ended.exit == Exit::Interrupted) {
        runtime.shutdown_background();
    } else {
        // arti's tasks may outlive their client for a moment.
        runtime.shutdown_timeout(LAST_WORDS);
    }
    ended
}

/// Where a command may switch to a release, if no daemon does it.
fn installs_to(told: &unanimity_config::NodeConfig, command: &Command) -> Vec<InstallRoot> {
    let Command::Cycle { errand: CycleMode::Update, others } = command else { return Vec::new() };
    let other =
        |path: &Vec<u8>| node::load_file(&PathBuf::from(OsString::from_vec(path.clone()))).ok();
    let others: Vec<_> = others.iter().filter_map(other).collect();
    let all = std::iter::once(told).chain(&others);
    all.filter(|told| told.cycle.spool.is_none() && permissions::check_root_inputs(told).is_ok())
        .filter_map(|told| versions::root_to_switch(told).ok())
        .collect()
}

/// What the daemon answered.
fn parse_said(answer: &[u8]) -> Result<CommandOutput, CommandError> {
    serde_json::from_slice(answer).map_err(|_| {
        CommandError::new(Exit::Failed, "the daemon broke off in the middle: see what it logged")
    })
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
