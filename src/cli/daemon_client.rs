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

use super::progress::ProgressDisplay;
use super::request::{DaemonRequest, Request};
use super::{interrupt, node, peers, status, versions};
use crate::cli::offline::run_without_daemon;
use crate::cli::runtime::{SHUTDOWN_TIMEOUT, new_runtime};
use crate::daemon::control_socket::{self};

/// Runs one command of a node: by its daemon, if one is at work, else by itself.
pub(super) fn run(
    config: Option<PathBuf>,
    command: Request,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    let path = unanimity_config::config_path(config)?;
    let node_config = node::load_node_file(&path)?;
    if let Err(ended) = permissions::check_owner(&node_config.cycle.state) {
        // Whoever has their state may have put a daemon of their own there.
        let state = node_config.cycle.state.display();
        let not_asked = format!("serving     not asked: {state} is another user's\n");
        let is_seen =
            node_config.cycle.spool.is_some() || node_config.cycle.state.read_dir().is_ok();
        return match command {
            Request::Status if is_seen => {
                status::render_status(&node_config, Some((not_asked, Value::Null)))
            }
            Request::Peers(peers::PeersCommand::List) => {
                peers::list(&node_config, SystemClock.now())
            }
            _ => Err(ended),
        };
    }
    if matches!(command, Request::Cycle { mode: CycleMode::Update, .. }) {
        permissions::check_root_inputs(&node_config)?;
    }
    let runtime = new_runtime()?;
    let shown = ProgressDisplay::new(json);
    let is_cycle = matches!(command, Request::Cycle { .. });
    let by_itself = Cell::new(false);
    let roots = install_roots(&node_config, &command);
    let work = async {
        let config = absolute(&path).into_os_string().into_vec();
        let asked = DaemonRequest { config, request: command, progress: true };
        let question = serde_json::to_string(&asked).expect("bytes and words");
        // What is no step is of a later version, and can be done without.
        let heard = |line: &[u8]| {
            if let Ok(step) = serde_json::from_slice(line) {
                shown.send(step);
            }
        };
        match control_socket::send_request(&node_config.cycle.state, &question, heard).await {
            Ok(Some(answer)) => parse_output(&answer),
            Ok(None) => {
                by_itself.set(true);
                Box::pin(run_without_daemon(node_config, asked.request, &shown, json)).await
            }
            Err(error) => {
                Err(CommandError::new(Exit::Disk, format!("the daemon does not answer: {error}")))
            }
        }
    };
    let said = || {
        if by_itself.get() { interrupt::INTERRUPTED_HERE } else { interrupt::INTERRUPTED_AT_DAEMON }
    };
    let ended = runtime.block_on(async {
        if !is_cycle {
            return work.await;
        }
        match interrupt::run_until_interrupted(work, said).await {
            Err(ended) if ended.exit == Exit::Interrupted && by_itself.get() => {
                Err(interrupt::recover_trials(&roots, ended).await)
            }
            ended => ended,
        }
    });
    drop(shown);
    if matches!(&ended, Err(ended) if ended.exit == Exit::Interrupted) {
        runtime.shutdown_background();
    } else {
        // arti's tasks may outlive their client for a moment.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    }
    ended
}

/// Where a command may switch to a release, if no daemon does it.
fn install_roots(config: &unanimity_config::NodeConfig, command: &Request) -> Vec<InstallRoot> {
    let Request::Cycle { mode: CycleMode::Update, products: others } = command else {
        return Vec::new();
    };
    let other = |path: &Vec<u8>| {
        node::load_node_file(&PathBuf::from(OsString::from_vec(path.clone()))).ok()
    };
    let others: Vec<_> = others.iter().filter_map(other).collect();
    let all = std::iter::once(config).chain(&others);
    all.filter(|config| {
        config.cycle.spool.is_none() && permissions::check_root_inputs(config).is_ok()
    })
    .filter_map(|config| versions::open_install_root(config).ok())
    .collect()
}

/// What the daemon answered.
fn parse_output(answer: &[u8]) -> Result<CommandOutput, CommandError> {
    serde_json::from_slice(answer).map_err(|_| {
        CommandError::new(Exit::Failed, "the daemon broke off in the middle: see what it logged")
    })
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
