//! `serve`: starting the daemon, and its answers to commands.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;

use serde_json::{Value, json};
use unanimity_client::CycleProgress;
use unanimity_install::permissions;
use unanimity_report::{CommandError, CommandOutput, Exit};
use unanimity_storage::Storage;

use super::open_node::{new_tor_client, open_extra_products, open_node, report_bootstrap};
use super::request::{DaemonRequest, Request};
use super::{node, peers, render_cycle, status};
use crate::cli::daemon_client::absolute;
use crate::cli::runtime::{SHUTDOWN_TIMEOUT, new_runtime};
use crate::daemon::control_socket::ProgressLines;
use crate::daemon::{
    Alerts, CycleTaskResult, Daemon,
    control_socket::{self},
};
use crate::node::NodeError;

/// Runs `serve`, until a signal stops it.
pub(super) fn serve(config: Option<PathBuf>, json: bool) -> Result<CommandOutput, CommandError> {
    let path = unanimity_config::config_path(config)?;
    let node_config = node::load_node_file(&path)?;
    if node_config.serve.is_none() {
        return Err(NodeError::NoRole(path).into());
    }
    node_config.check_alert_program()?;
    permissions::check_owner(&node_config.cycle.state)?;
    permissions::check_root_inputs(&node_config)?;
    let disk = Storage::default();
    let control = control_socket::ControlSocket::new(&node_config.cycle.state, &disk)?;
    let node = open_node(node_config, &disk)?;
    let alerts = Alerts::open(node.config.alert.clone(), &node.config.cycle.state, disk);
    let runtime = new_runtime()?;
    let result = runtime.block_on(async {
        let tor = new_tor_client(&node)?;
        let socket = control.listen()?;
        let (daemon, statuses) = Daemon::new(node, tor);
        let config = absolute(&path);
        let for_answers = daemon.clone();
        let answer = move |request, lines| {
            answer_request(for_answers.clone(), config.clone(), request, lines)
        };
        tracing::info!("serving");
        daemon
            .run(alerts, statuses, socket, answer, report_bootstrap(json))
            .await
            .map_err(|error| CommandError::new(Exit::Failed, error.to_string()))
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result.map(|()| CommandOutput::ok("stopped by a signal\n", json!({})))
}

async fn answer_request(
    daemon: Arc<Daemon>,
    config: PathBuf,
    request: Vec<u8>,
    lines: ProgressLines,
) -> Vec<u8> {
    let output = match serde_json::from_slice::<DaemonRequest>(&request) {
        Err(error) => Err(CommandError::usage(format!(
            "the daemon does not understand this command: {error}. Run both in the same version"
        ))),
        Ok(request) if request.config != config.as_os_str().as_bytes() => Err(CommandError::new(
            Exit::Configuration,
            format!(
                "the daemon that uses this state runs with the configuration {}, not with {}",
                config.display(),
                PathBuf::from(OsString::from_vec(request.config)).display()
            ),
        )),
        Ok(request) => dispatch(&daemon, request.request, request.progress.then_some(lines)).await,
    };
    let output = output.unwrap_or_else(CommandOutput::from);
    serde_json::to_vec(&output).expect("numbers and text")
}

async fn dispatch(
    daemon: &Arc<Daemon>,
    command: Request,
    lines: Option<ProgressLines>,
) -> Result<CommandOutput, CommandError> {
    let (mode, products) = match command {
        Request::Cycle { mode, products } => (mode, products),
        Request::Status => {
            return status::render_status(
                &daemon.node.config.reload()?,
                Some(daemon_status(daemon)),
            );
        }
        Request::Peers(peers::PeersCommand::Test) => {
            return Ok(peers::render_peer_tests(&daemon.test_peers(|_| true).await?));
        }
        Request::Peers(verb) => {
            let output = peers::run_offline(&daemon.node, &daemon.node.config.reload()?, verb)?;
            daemon.reload_authorized_clients();
            return Ok(output);
        }
    };
    let cycles = async {
        let mut outputs = vec![render_finished_cycle(daemon.run_cycle(mode).await)?];
        for (path, product) in open_extra_products(&daemon.node, products) {
            let result = match product {
                Ok(product) => render_finished_cycle(daemon.run_extra_cycle(product, mode).await),
                Err(error) => Err(error),
            };
            outputs.push(render_cycle::label(&path, result));
        }
        Ok(render_cycle::merge(outputs))
    };
    stream_progress(daemon, lines, cycles).await
}

fn render_finished_cycle(cycle: CycleTaskResult) -> Result<CommandOutput, CommandError> {
    let (report, result) =
        cycle.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    Ok(render_cycle::render_outcome(&report, result))
}

/// Sends progress lines while `cycle` runs. The lines may be about the cycle of another command,
/// which runs first.
async fn stream_progress<T>(
    daemon: &Daemon,
    lines: Option<ProgressLines>,
    cycle: impl Future<Output = T>,
) -> T {
    let Some(lines) = lines else { return cycle.await };
    let send =
        |step: CycleProgress| lines.send(serde_json::to_vec(&step).expect("numbers and text"));
    let mut steps = daemon.subscribe_progress();
    let mut cycle = pin!(cycle);
    let result = loop {
        tokio::select! {
            result = &mut cycle => break result,
            // An error means that some steps were missed.
            step = steps.recv() => drop(step.map(send)),
        }
    };
    while let Ok(step) = steps.try_recv() {
        send(step);
    }
    result
}

/// Renders the daemon's own part of `status`: a line for people, and the fields of `serving`.
fn daemon_status(daemon: &Daemon) -> (String, Value) {
    let peer = daemon.node.role.as_ref().map(|role| &role.witness);
    let head = peer.and_then(|peer| peer.head());
    let fresh = peer.is_some_and(|peer| peer.is_fresh());
    let (connected, reachable) = (daemon.is_connected(), daemon.is_reachable());
    let tor = match (connected, reachable) {
        (_, true) => "peers can find this node",
        (true, false) => "connected to Tor; peers cannot find this node yet",
        (false, false) => "not connected to Tor yet",
    };
    let seen = head.as_ref().map_or_else(|| "no head yet".to_owned(), ToString::to_string);
    let recency = if fresh { "" } else { ", but not recently" };
    let text = format!("serving     {tor}; its own mirrors have served {seen}{recency}\n");
    let json = json!({
        "connected": connected,
        "reachable": reachable,
        "fresh": fresh,
        "head": head.as_ref().map(super::log::head_json),
    });
    (text, json)
}
