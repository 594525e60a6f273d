//! `serve`: the daemon, and its answers to commands.

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

/// `serve`: until it is told to end.
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
    let owner = control_socket::ControlSocket::new(&node_config.cycle.state, &disk)?;
    let node = open_node(node_config, &disk)?;
    let alarms = Alerts::open(node.config.alert.clone(), &node.config.cycle.state, disk);
    let runtime = new_runtime()?;
    let ended = runtime.block_on(async {
        let tor = new_tor_client(&node)?;
        let socket = owner.listen()?;
        let (daemon, ends) = Daemon::new(node, tor);
        let config = absolute(&path);
        let answering = daemon.clone();
        let answer = move |question, lines| {
            answer_request(answering.clone(), config.clone(), question, lines)
        };
        tracing::info!("serving");
        daemon
            .run(alarms, ends, socket, answer, report_bootstrap(json))
            .await
            .map_err(|error| CommandError::new(Exit::Failed, error.to_string()))
    });
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    ended.map(|()| CommandOutput::ok("ended as it was told to\n", json!({})))
}

async fn answer_request(
    daemon: Arc<Daemon>,
    config: PathBuf,
    question: Vec<u8>,
    lines: ProgressLines,
) -> Vec<u8> {
    let said = match serde_json::from_slice::<DaemonRequest>(&question) {
        Err(error) => Err(CommandError::usage(format!(
            "the daemon does not understand this command ({error}): is it of another version?"
        ))),
        Ok(asked) if asked.config != config.as_os_str().as_bytes() => Err(CommandError::new(
            Exit::Configuration,
            format!(
                "the daemon at work on this state goes by {}, not by {}",
                config.display(),
                PathBuf::from(OsString::from_vec(asked.config)).display()
            ),
        )),
        Ok(asked) => dispatch(&daemon, asked.request, asked.progress.then_some(lines)).await,
    };
    let said = said.unwrap_or_else(CommandOutput::from);
    serde_json::to_vec(&said).expect("numbers and text")
}

async fn dispatch(
    daemon: &Arc<Daemon>,
    command: Request,
    lines: Option<ProgressLines>,
) -> Result<CommandOutput, CommandError> {
    let (mode, products) = match command {
        Request::Cycle { mode: errand, products: others } => (errand, others),
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
            let said = peers::run_offline(&daemon.node, &daemon.node.config.reload()?, verb)?;
            daemon.reload_authorized_clients();
            return Ok(said);
        }
    };
    let said = async {
        let mut said = vec![render_finished_cycle(daemon.run_cycle(mode).await)?];
        for (path, another) in open_extra_products(&daemon.node, products) {
            let ended = match another {
                Ok(another) => render_finished_cycle(daemon.run_extra_cycle(another, mode).await),
                Err(ended) => Err(ended),
            };
            said.push(render_cycle::label(&path, ended));
        }
        Ok(render_cycle::merge(said))
    };
    stream_progress(daemon, lines, said).await
}

fn render_finished_cycle(cycle: CycleTaskResult) -> Result<CommandOutput, CommandError> {
    let (report, ended) =
        cycle.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    Ok(render_cycle::render_outcome(&report, ended))
}

/// Says how far the daemon's cycles are while it waits for one: another's may come first.
async fn stream_progress<T>(
    daemon: &Daemon,
    lines: Option<ProgressLines>,
    cycle: impl Future<Output = T>,
) -> T {
    let Some(lines) = lines else { return cycle.await };
    let say =
        |step: CycleProgress| lines.send(serde_json::to_vec(&step).expect("numbers and text"));
    let mut steps = daemon.subscribe_progress();
    let mut cycle = pin!(cycle);
    let done = loop {
        tokio::select! {
            done = &mut cycle => break done,
            // Some may have been missed.
            step = steps.recv() => drop(step.map(say)),
        }
    };
    while let Ok(step) = steps.try_recv() {
        say(step);
    }
    done
}

/// What the daemon says of itself.
fn daemon_status(daemon: &Daemon) -> (String, Value) {
    let peer = daemon.node.role.as_ref().map(|role| &role.witness);
    let head = peer.and_then(|peer| peer.head());
    let fresh = peer.is_some_and(|peer| peer.is_fresh());
    let (connected, reachable) = (daemon.is_connected(), daemon.is_reachable());
    let tor = match (connected, reachable) {
        (_, true) => "peers can find this node",
        (true, false) => "connected; not to be found yet",
        (false, false) => "not connected yet",
    };
    let seen = head.as_ref().map_or_else(|| "nothing yet".to_owned(), ToString::to_string);
    let lately = if fresh { "" } else { ", and nothing lately" };
    let text = format!("serving     {tor}; its own mirrors have shown it {seen}{lately}\n");
    let json = json!({
        "connected": connected,
        "reachable": reachable,
        "fresh": fresh,
        "head": head.as_ref().map(super::log::head_json),
    });
    (text, json)
}
