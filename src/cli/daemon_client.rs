//! Running a command of a node: by its daemon if one is running, otherwise in this process.

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

/// Runs a command of a node: by its daemon if one is running, otherwise in this process.
pub(super) fn run(
    config: Option<PathBuf>,
    command: Request,
    json: bool,
) -> Result<CommandOutput, CommandError> {
    let path = unanimity_config::config_path(config)?;
    let node_config = node::load_node_file(&path)?;
    if let Err(error) = permissions::check_owner(&node_config.cycle.state) {
        // The owner of the state may run a daemon there, which this user must not trust or ask.
        let state = node_config.cycle.state.display();
        let not_asked = format!("serving     not asked: {state} is another user's\n");
        let is_readable =
            node_config.cycle.spool.is_some() || node_config.cycle.state.read_dir().is_ok();
        return match command {
            Request::Status if is_readable => {
                status::render_status(&node_config, Some((not_asked, Value::Null)))
            }
            Request::Peers(peers::PeersCommand::List) => {
                peers::list(&node_config, SystemClock.now())
            }
            _ => Err(error),
        };
    }
    if matches!(command, Request::Cycle { mode: CycleMode::Update, .. }) {
        permissions::check_root_inputs(&node_config)?;
    }
    let runtime = new_runtime()?;
    let display = ProgressDisplay::new(json);
    let is_cycle = matches!(command, Request::Cycle { .. });
    let runs_here = Cell::new(false);
    let roots = install_roots(&node_config, &command);
    let work = async {
        let config = absolute(&path).into_os_string().into_vec();
        let request = DaemonRequest { config, request: command, progress: true };
        let line = serde_json::to_string(&request).expect("bytes and words");
        // A line that cannot be read is of a later version, and is dispensable.
        let on_line = |line: &[u8]| {
            if let Ok(step) = serde_json::from_slice(line) {
                display.send(step);
            }
        };
        match control_socket::send_request(&node_config.cycle.state, &line, on_line).await {
            Ok(Some(answer)) => parse_output(&answer),
            Ok(None) => {
                runs_here.set(true);
                Box::pin(run_without_daemon(node_config, request.request, &display, json)).await
            }
            Err(error) => {
                Err(CommandError::new(Exit::Disk, format!("the daemon does not answer: {error}")))
            }
        }
    };
    let message = || {
        if runs_here.get() { interrupt::INTERRUPTED_HERE } else { interrupt::INTERRUPTED_AT_DAEMON }
    };
    let result = runtime.block_on(async {
        if !is_cycle {
            return work.await;
        }
        match interrupt::run_until_interrupted(work, message).await {
            Err(error) if error.exit == Exit::Interrupted && runs_here.get() => {
                Err(interrupt::recover_trials(&roots, error).await)
            }
            result => result,
        }
    });
    drop(display);
    if matches!(&result, Err(error) if error.exit == Exit::Interrupted) {
        runtime.shutdown_background();
    } else {
        // arti's tasks may outlive their client for a moment.
        runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    }
    result
}

/// Returns the install roots that a command may change if no daemon runs it.
fn install_roots(config: &unanimity_config::NodeConfig, command: &Request) -> Vec<InstallRoot> {
    let Request::Cycle { mode: CycleMode::Update, products } = command else {
        return Vec::new();
    };
    let load = |path: &Vec<u8>| {
        node::load_node_file(&PathBuf::from(OsString::from_vec(path.clone()))).ok()
    };
    let products: Vec<_> = products.iter().filter_map(load).collect();
    let all = std::iter::once(config).chain(&products);
    all.filter(|config| {
        config.cycle.spool.is_none() && permissions::check_root_inputs(config).is_ok()
    })
    .filter_map(|config| versions::open_install_root(config).ok())
    .collect()
}

/// Parses the daemon's answer.
fn parse_output(answer: &[u8]) -> Result<CommandOutput, CommandError> {
    serde_json::from_slice(answer).map_err(|_| {
        CommandError::new(Exit::Failed, "the daemon's answer is cut short. See the daemon's log")
    })
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
