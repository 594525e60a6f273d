//! `serve`, and how the commands of a node reach it: through the daemon's socket while one runs,
//! else by themselves.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::timeout;
use unanimity_client::{Errand, Step};
use unanimity_config::TorNetwork;
use unanimity_install::Root;
use unanimity_net::{Absent, Web};
use unanimity_report::{Ended, Exit, Said};
use unanimity_storage::{Clock as _, Disk, SystemClock};
use unanimity_tor::{Tor, TorError, address_of, hosting, hosting_artifacts};

use super::progress::Shown;
use super::{cycle, interrupt, node, ours, peers, status, versions};
use crate::daemon::control_socket::Lines;
use crate::daemon::{
    Alarms, Cycle, Daemon,
    control_socket::{self},
};
use crate::node::{Addresses, Node, NodeError};

/// How long the tasks of a run may take to notice that it is over.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a node is asked to do, by its operator.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Command {
    /// `check`, `update`, `update --stage`
    Cycle {
        /// Which of them.
        errand: Errand,
        /// The configurations of more products.
        others: Vec<Vec<u8>>,
    },
    /// `status`
    Status,
    /// `peers ...`
    Peers(peers::Verb),
}

/// A command on its way to the daemon.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    /// The configuration that the command was given: a path's bytes need not be text.
    config: Vec<u8>,
    command: Command,
    /// Whether lines that say how far it is may come before the answer.
    #[serde(default)]
    steps: bool,
}

/// Says how far Tor has come: to people on standard error, to programs as lines of JSON.
fn progress(json: bool) -> impl FnMut(f32, String) {
    let mut last = String::new();
    move |fraction, words| {
        // Before it has begun, arti calls it stuck.
        if fraction == 0.0 {
            return;
        }
        let percent = (fraction * 100.0).round();
        let line = if json {
            let event = json!({ "schema": "unanimity/v1", "event": "bootstrap", "percent": percent, "message": words });
            format!("{event}\n")
        } else {
            format!("Tor {percent}%: {words}\n")
        };
        if line != last {
            // Nobody is left to tell if this fails.
            if json {
                unanimity_report::print(&line).ok();
            } else {
                eprint!("{}", unanimity_report::visible(&line));
            }
            last = line;
        }
    }
}

pub(super) fn runtime() -> Result<Runtime, Ended> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| Ended::new(Exit::Failed, error.to_string()))
}

/// Runs one command of a node: by its daemon, if one is at work, else by itself.
pub(super) fn run(config: Option<PathBuf>, command: Command, json: bool) -> Result<Said, Ended> {
    let path = node::config_path(config)?;
    let told = node::load_file(&path)?;
    if let Err(ended) = ours::is_ours(&told.state) {
        // Whoever has their state may have put a daemon of their own there.
        let state = told.state.display();
        let not_asked = format!("serving     not asked: {state} is another user's\n");
        let is_seen = told.spool.is_some() || told.state.read_dir().is_ok();
        return match command {
            Command::Status if is_seen => status::status(&told, Some((not_asked, Value::Null))),
            Command::Peers(peers::Verb::List) => peers::list(&told, SystemClock.now()),
            _ => Err(ended),
        };
    }
    if matches!(command, Command::Cycle { errand: Errand::Update, .. }) {
        ours::is_roots_word(&told)?;
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
        match control_socket::ask(&told.state, &question, heard).await {
            Ok(Some(answer)) => parse_said(&answer),
            Ok(None) => {
                by_itself.set(true);
                Box::pin(alone(told, asked.command, &shown, json)).await
            }
            Err(error) => {
                Err(Ended::new(Exit::Disk, format!("the daemon does not answer: {error}")))
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
fn installs_to(told: &unanimity_config::Node, command: &Command) -> Vec<Root> {
    let Command::Cycle { errand: Errand::Update, others } = command else { return Vec::new() };
    let other =
        |path: &Vec<u8>| node::load_file(&PathBuf::from(OsString::from_vec(path.clone()))).ok();
    let others: Vec<_> = others.iter().filter_map(other).collect();
    let all = std::iter::once(told).chain(&others);
    all.filter(|told| told.spool.is_none() && ours::is_roots_word(told).is_ok())
        .filter_map(|told| versions::root_knowing(told).ok())
        .collect()
}

fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

async fn alone(
    told: unanimity_config::Node,
    command: Command,
    shown: &Shown,
    json: bool,
) -> Result<Said, Ended> {
    // These only look, and need nothing to themselves.
    match command {
        Command::Status => return status::status(&told, None),
        Command::Peers(peers::Verb::List) => return peers::list(&told, SystemClock.now()),
        _ => {}
    }
    let disk = Disk::default();
    let _owner = control_socket::Owner::new(&told.state, &disk)?;
    let mut node = open(told, &disk)?;
    node.watcher = shown.watcher();
    let (errand, others) = match command {
        Command::Cycle { errand, others } => (errand, others),
        Command::Peers(peers::Verb::Test) => {
            let tor = connect(&node, json).await?;
            return Ok(peers::tested(&node.test(&tor, |_| true).await?));
        }
        Command::Peers(verb) => return at_once(&node, &node.told, verb),
        Command::Status => return status::status(&node.told, None),
    };
    let mut rng = rand::rng();
    let tor = match node.told.tor.network {
        TorNetwork::Offline => None,
        _ => Some(connect(&node, json).await?),
    };
    let (report, ended) = match &tor {
        None => node.cycle(&Absent, errand, &mut rng).await,
        Some(tor) => node.cycle(tor, errand, &mut rng).await,
    };
    let mut said = vec![cycle::said(&report, ended)];
    for (path, another) in products(&node, others) {
        let ended = match (another, &tor) {
            (Err(ended), _) => Err(ended),
            (Ok(another), None) => Ok(another.cycle(&Absent, errand, &mut rng).await),
            (Ok(another), Some(tor)) => {
                let web: Arc<dyn Web> = Arc::new(tor.clone());
                another.connect(web);
                Ok(another.cycle(tor, errand, &mut rng).await)
            }
        };
        let ended = ended.map(|(report, ended)| cycle::said(&report, ended));
        said.push(cycle::of_another(&path, ended));
    }
    Ok(cycle::together(said))
}

type Product = (PathBuf, Result<Node<SystemClock>, Ended>);

/// More products of a node. One that cannot be does not keep the others from their turn.
fn products(node: &Node<SystemClock>, others: Vec<Vec<u8>>) -> Vec<Product> {
    let mut seen: Vec<unanimity_config::Node> = Vec::new();
    let product = |path: Vec<u8>| {
        let path = PathBuf::from(OsString::from_vec(path));
        let another = node::load_file(&path).map_err(Ended::from);
        let another = another.and_then(|told| {
            ours::is_ours(&told.state)?;
            ours::is_roots_word(&told)?;
            Ok(node.another(told)?)
        });
        let another = another.and_then(|another| {
            if let Some(other) = seen.iter().find(|other| !other.is_apart_from(&another.told)) {
                let other = other.source.path.display();
                let why = format!(
                    "its root, its state and its spool have to be apart from those of {other}"
                );
                return Err(Ended::new(Exit::Configuration, why));
            }
            seen.push(another.told.clone());
            Ok(another)
        });
        (path, another)
    };
    others.into_iter().map(product).collect()
}

fn open(told: unanimity_config::Node, disk: &Disk) -> Result<Node<SystemClock>, Ended> {
    let addresses_of = |told: &unanimity_config::Node, serve: &unanimity_config::Serve| {
        let artifacts = serve.artifacts.map(|_| address_of(&told.tor, &hosting_artifacts()));
        let peer = address_of(&told.tor, &hosting(serve))?;
        Ok::<_, Ended>(Addresses { peer, artifacts: artifacts.transpose()? })
    };
    Node::open(told, addresses_of, SystemClock, disk.clone(), &mut rand::rng())
}

fn tor(node: &Node<SystemClock>) -> Result<Tor, TorError> {
    let discovery = node.role.as_ref().map(|role| role.identity.discovery.clone());
    let tor = Tor::new(&node.told.tor, discovery)?;
    let web: Arc<dyn Web> = Arc::new(tor.clone());
    node.connect(web);
    Ok(tor)
}

/// Connects to Tor. If that fails, or takes too long, every peer is silent, and says why.
async fn connect(node: &Node<SystemClock>, json: bool) -> Result<Tor, Ended> {
    let tor = tor(node)?;
    let patience = node.told.bootstrap_timeout;
    match timeout(patience, tor.bootstrap(progress(json))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("{error}"),
        Err(_) => tracing::warn!("Tor is not connected after {patience:?}"),
    }
    Ok(tor)
}

/// What needs no connection.
fn at_once(
    node: &Node<SystemClock>,
    told: &unanimity_config::Node,
    verb: peers::Verb,
) -> Result<Said, Ended> {
    let (now, disk) = (SystemClock.now(), Disk::default());
    match verb {
        peers::Verb::Invite { qr } => peers::invite(node, qr),
        peers::Verb::Add { ticket, name, operator } => {
            peers::add(node, &ticket, name.as_deref(), operator.as_deref())
        }
        peers::Verb::Remove { name, now: words } => peers::remove(node, &name, words.as_deref()),
        peers::Verb::Keep { name } => peers::keep(told, &name, &disk),
        peers::Verb::List | peers::Verb::Test => peers::list(told, now),
    }
}

/// `serve`: until it is told to end.
pub(super) fn serve(config: Option<PathBuf>, json: bool) -> Result<Said, Ended> {
    let path = node::config_path(config)?;
    let told = node::load_file(&path)?;
    if told.serve.is_none() {
        return Err(NodeError::NoRole(path).into());
    }
    told.check_alarm()?;
    ours::is_ours(&told.state)?;
    ours::is_roots_word(&told)?;
    let disk = Disk::default();
    let owner = control_socket::Owner::new(&told.state, &disk)?;
    let node = open(told, &disk)?;
    let alarms = Alarms::open(node.told.alarm.clone(), &node.told.state, disk);
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
            .map_err(|error| Ended::new(Exit::Failed, error.to_string()))
    });
    runtime.shutdown_timeout(LAST_WORDS);
    ended.map(|()| Said::done("ended as it was told to\n", json!({})))
}

async fn answer(daemon: Arc<Daemon>, config: PathBuf, question: Vec<u8>, lines: Lines) -> Vec<u8> {
    let said = match serde_json::from_slice::<Asked>(&question) {
        Err(error) => Err(Ended::usage(format!(
            "the daemon does not understand this command ({error}): is it of another version?"
        ))),
        Ok(asked) if asked.config != config.as_os_str().as_bytes() => Err(Ended::new(
            Exit::Configuration,
            format!(
                "the daemon at work on this state goes by {}, not by {}",
                config.display(),
                PathBuf::from(OsString::from_vec(asked.config)).display()
            ),
        )),
        Ok(asked) => do_it(&daemon, asked.command, asked.steps.then_some(lines)).await,
    };
    let said = said.unwrap_or_else(Said::from);
    serde_json::to_vec(&said).expect("numbers and text")
}

async fn do_it(
    daemon: &Arc<Daemon>,
    command: Command,
    lines: Option<Lines>,
) -> Result<Said, Ended> {
    let (errand, others) = match command {
        Command::Cycle { errand, others } => (errand, others),
        Command::Status => {
            return status::status(&daemon.node.told.read_again()?, Some(serving(daemon)));
        }
        Command::Peers(peers::Verb::Test) => {
            return Ok(peers::tested(&daemon.test(|_| true).await?));
        }
        Command::Peers(verb) => {
            let said = at_once(&daemon.node, &daemon.node.told.read_again()?, verb)?;
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
            said.push(cycle::of_another(&path, ended));
        }
        Ok(cycle::together(said))
    };
    telling(daemon, lines, said).await
}

fn cycled(cycle: Cycle) -> Result<Said, Ended> {
    let (report, ended) = cycle.map_err(|error| Ended::new(Exit::Failed, error.to_string()))?;
    Ok(cycle::said(&report, ended))
}

/// Says how far the daemon's cycles are while it waits for one: another's may come first.
async fn telling<T>(daemon: &Daemon, lines: Option<Lines>, cycle: impl Future<Output = T>) -> T {
    let Some(lines) = lines else { return cycle.await };
    let say = |step: Step| lines.say(serde_json::to_vec(&step).expect("numbers and text"));
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

/// What the daemon answered.
fn parse_said(answer: &[u8]) -> Result<Said, Ended> {
    serde_json::from_slice(answer).map_err(|_| {
        Ended::new(Exit::Failed, "the daemon broke off in the middle: see what it logged")
    })
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
