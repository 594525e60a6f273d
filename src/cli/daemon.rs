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

use super::open_node::{open, products, progress, tor};
use super::request::{Asked, Command};
use super::{node, peers, render_cycle, status};
use crate::cli::daemon_client::absolute;
use crate::cli::runtime::{LAST_WORDS, runtime};
use crate::daemon::control_socket::Lines;
use crate::daemon::{
    Alarms, Cycle, Daemon,
    control_socket::{self},
};
use crate::node::NodeError;

/// `serve`: until it is told to end.
pub(super) fn serve(config: Option<PathBuf>, json: bool) -> Result<CommandOutput, CommandError> {
    let path = unanimity_config::config_path(config)?;
    let told = node::load_file(&path)?;
    if told.serve.is_none() {
        return Err(NodeError::NoRole(path).into());
    }
    told.check_alert_program()?;
    permissions::check_owner(&told.cycle.state)?;
    permissions::check_root_inputs(&told)?;
    let disk = Storage::default();
    let owner = control_socket::Owner::new(&told.cycle.state, &disk)?;
    let node = open(told, &disk)?;
    let alarms = Alarms::open(node.told.alert.clone(), &node.told.cycle.state, disk);
    let runtime = runtime()?;
    let ended = runtime.block_on(async {
        let tor = tor(&node)?;
        let socket = owner.listen()?;
        let (daemon, ends) = Daemon::new(node, tor);
        let config = absolute(&path);
        let answering = daemon.clone();
        let answer =
            move |question, lines| answer(answering.clone(), config.clone(), question, lines);
        tracing::info!("serving");
        daemon
            .run(alarms, ends, socket, answer, progress(json))
            .await
            .map_err(|error| CommandError::new(Exit::Failed, error.to_string()))
    });
    runtime.shutdown_timeout(LAST_WORDS);
    ended.map(|()| CommandOutput::ok("ended as it was told to\n", json!({})))
}

async fn answer(daemon: Arc<Daemon>, config: PathBuf, question: Vec<u8>, lines: Lines) -> Vec<u8> {
    let said = match serde_json::from_slice::<Asked>(&question) {
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
        Ok(asked) => do_it(&daemon, asked.command, asked.steps.then_some(lines)).await,
    };
    let said = said.unwrap_or_else(CommandOutput::from);
    serde_json::to_vec(&said).expect("numbers and text")
}

async fn do_it(
    daemon: &Arc<Daemon>,
    command: Command,
    lines: Option<Lines>,
) -> Result<CommandOutput, CommandError> {
    let (errand, others) = match command {
        Command::Cycle { errand, others } => (errand, others),
        Command::Status => {
            return status::status(&daemon.node.told.reload()?, Some(serving(daemon)));
        }
        Command::Peers(peers::Verb::Test) => {
            return Ok(peers::tested(&daemon.test(|_| true).await?));
        }
        Command::Peers(verb) => {
            let said = peers::at_once(&daemon.node, &daemon.node.told.reload()?, verb)?;
            daemon.relist();
            return Ok(said);
        }
    };
    let said = async {
        let mut said = vec![cycled(daemon.cycle(errand).await)?];
        for (path, another) in products(&daemon.node, others) {
            let ended = match another {
                Ok(another) => cycled(daemon.cycle_of(another, errand).await),
                Err(ended) => Err(ended),
            };
            said.push(render_cycle::of_another(&path, ended));
        }
        Ok(render_cycle::together(said))
    };
    telling(daemon, lines, said).await
}

fn cycled(cycle: Cycle) -> Result<CommandOutput, CommandError> {
    let (report, ended) =
        cycle.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    Ok(render_cycle::said(&report, ended))
}

/// Says how far the daemon's cycles are while it waits for one: another's may come first.
async fn telling<T>(daemon: &Daemon, lines: Option<Lines>, cycle: impl Future<Output = T>) -> T {
    let Some(lines) = lines else { return cycle.await };
    let say = |step: CycleProgress| lines.say(serde_json::to_vec(&step).expect("numbers and text"));
    let mut steps = daemon.steps();
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
fn serving(daemon: &Daemon) -> (String, Value) {
    let peer = daemon.node.role.as_ref().map(|role| &role.peer);
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
