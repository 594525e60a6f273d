//! `init`, `check`, `update`, `status`: what a node's operator runs.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::exit::{Ended, Exit};
use super::memories::{Memory, known, memories};
use super::{Said, path_json};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{self, Config};
use crate::durable::{Disk, DiskError, Mode, NotOurs, only_ours, only_ours_below};
use crate::install::journal::Journal;
use crate::publish::{self, PublishError};
use crate::store::{ClientState, ClientStore, EvidenceStore};
use crate::verify::Manifest;

const NODE_TEMPLATE: &str = include_str!("unanimity.example.toml");
const PEERS_TEMPLATE: &str = include_str!("../../peers.example.toml");
/// What the example says of itself that a node's own file need not.
const COPY_ME: &str = "# Copy this file to peers.toml beside the node's configuration and put your own circle in it.\n";

/// Where a node's files are unless somebody says otherwise: for root below / as the FHS has it,
/// for others as the XDG base directory specification has it.
struct Places {
    config: PathBuf,
    state: PathBuf,
    root: PathBuf,
}

impl Places {
    fn find() -> Result<Places, Ended> {
        if rustix::process::geteuid().is_root() {
            return Ok(Places {
                config: "/etc/unanimity".into(),
                state: "/var/lib/unanimity/state".into(),
                root: "/var/lib/unanimity/installed".into(),
            });
        }
        let base = |variable: &str, below_home: &str| {
            below(variable, below_home)
                .ok_or_else(|| Ended::usage("HOME is not set: give --config FILE"))
        };
        Ok(Places {
            config: base("XDG_CONFIG_HOME", ".config")?.join("unanimity"),
            state: base("XDG_STATE_HOME", ".local/state")?.join("unanimity"),
            root: base("XDG_DATA_HOME", ".local/share")?.join("unanimity"),
        })
    }
}

/// A base directory as the XDG specification has it.
fn below(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    set.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below_home)))
}

/// Where what can be had again is kept, of this user's.
#[cfg(feature = "tor")]
pub(super) fn cache() -> Result<PathBuf, Ended> {
    let cache = below("XDG_CACHE_HOME", ".cache");
    let cache = cache.ok_or_else(|| Ended::usage("HOME is not set, nor is XDG_CACHE_HOME"))?;
    Ok(cache.join("unanimity"))
}

/// The configuration that was named, or the one in its usual place.
pub(super) fn config_path(path: Option<PathBuf>) -> Result<PathBuf, Ended> {
    let path = match path {
        Some(path) => path,
        None => Places::find()?.config.join("unanimity.toml"),
    };
    if !path.exists() {
        let message = format!(
            "{}: there is no configuration yet; `unanimity init` writes one to fill in",
            path.display()
        );
        return Err(Ended::new(Exit::Configuration, message));
    }
    Ok(path)
}

/// Reads it, for who can do with a circle of any size.
pub(super) fn load_node(path: Option<PathBuf>) -> Result<config::Node, Ended> {
    Ok(config::load_node(&config_path(path)?)?)
}

/// Reads it, for who needs a whole circle.
pub(super) fn load(path: Option<PathBuf>) -> Result<Config, Ended> {
    Ok(config::load(&config_path(path)?, SystemClock.now())?)
}

/// Write a commented configuration to fill in.
#[derive(Debug, Args)]
pub(super) struct Init {}

impl Init {
    pub(super) fn run(self, config: Option<PathBuf>) -> Result<Said, Ended> {
        let places = Places::find()?;
        let node = config.unwrap_or_else(|| places.config.join("unanimity.toml"));
        let peers = node.with_file_name("peers.toml");
        if node.exists() && peers.exists() {
            return Err(PublishError::Exists(node).into());
        }
        let quoted = |path: &Path| Value::from(path.to_string_lossy()).to_string();
        let text = NODE_TEMPLATE
            .replace("\"@STATE@\"", &quoted(&places.state))
            .replace("\"@STATE@/tor\"", &quoted(&places.state.join("tor")))
            .replace("\"@STATE@/tor-cache\"", &quoted(&places.state.join("tor-cache")))
            .replace("\"@ROOT@\"", &quoted(&places.root))
            .replace("@PLATFORM@", config::this_platform().as_str());
        let disk = Disk::default();
        let directory = crate::durable::parent(&node);
        disk.make_dir(directory, Mode::Public).map_err(DiskError::at(directory))?;
        // Nobody holds the example's keys: its peers are there to be replaced, not to be asked.
        let template = PEERS_TEMPLATE.replace(COPY_ME, "");
        let circle: String = match template.split_once("[[peer]]") {
            Some((head, example)) => {
                let example = format!("[[peer]]{example}");
                let commented = example.lines().map(|line| match line {
                    "" => "\n".to_owned(),
                    line => format!("#{line}\n"),
                });
                format!("{head}{}", commented.collect::<String>())
            }
            None => template,
        };
        let mut written: Vec<&PathBuf> = Vec::new();
        // Of the two, what is missing.
        for (path, text) in [(&peers, &circle), (&node, &text)] {
            if path.exists() {
                continue;
            }
            if let Err(error) = publish::write_new(path, text.as_bytes(), Mode::Private, &disk) {
                // Half of the two would be in the way of the next try.
                written.iter().for_each(|path| drop(disk.remove(path)));
                return Err(error.into());
            }
            written.push(path);
        }
        let paths: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        let said = format!(
            "Written: {}\nFill in {}; `unanimity status` names the lines that still want filling in, and refuses what makes no sense.\n`unanimity peers add` fills {}.\n",
            paths.join("\n         "),
            node.display(),
            peers.display()
        );
        Ok(Said::done(said, json!({ "config": path_json(&node), "peers": path_json(&peers) })))
    }
}

/// Refuses to write to what is another user's: they could not use it any more.
pub(super) fn is_ours(place: &Path) -> Result<(), Ended> {
    let (Ok(found), us) = (std::fs::metadata(place), rustix::process::geteuid()) else {
        return Ok(());
    };
    if found.uid() == us.as_raw() {
        return Ok(());
    }
    let (place, uid) = (place.display(), found.uid());
    let why = format!(
        "{place} belongs to the user with id {uid}: run this as them, such as with `sudo -u '#{uid}'`"
    );
    Err(Ended::new(Exit::Disk, why))
}

/// Refuses to install by what others than the installing user may write, or to where they may: the
/// configuration, the programs that it names, the install root and what is in it.
pub(super) fn is_our_word(told: &config::Node) -> Result<(), Ended> {
    let root = &told.install_root;
    let programs = told.procedure.programs().map(Path::new);
    for path in told.files.iter().map(PathBuf::as_path).chain(programs).chain([&**root]) {
        let found = only_ours(path).and_then(|()| match path == root {
            true => only_ours_below(path),
            false => Ok(()),
        });
        match found {
            // Nothing was installed yet; a program that is not there is said to be missing later.
            Err(NotOurs::Disk(DiskError::Io { source, .. }))
                if !told.files.iter().any(|file| file == path)
                    && source.kind() == io::ErrorKind::NotFound => {}
            Err(NotOurs::Disk(error)) => return Err(error.into()),
            Err(error @ NotOurs::Others { .. }) => {
                let path = path.display();
                let why = format!(
                    "{error}: whoever installs goes by {path}, and nobody else may write to it or lead it elsewhere"
                );
                return Err(Ended::new(Exit::Configuration, why));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// The same where root fetches as well. For anybody else, what they may read is theirs to judge.
pub(super) fn is_roots_word(told: &config::Node) -> Result<(), Ended> {
    let installs = told.spool.is_none() && rustix::process::geteuid().is_root();
    if installs { is_our_word(told) } else { Ok(()) }
}

/// What is installed and remembered, without asking anybody; `serving` is what the daemon at work
/// on it adds.
pub(super) fn status(told: &config::Node, serving: Option<(String, Value)>) -> Result<Said, Ended> {
    let memories = memories(&told.install_root, &told.state, told.spool.as_ref());
    let mut latched = None;
    for Memory { state, option, .. } in &memories {
        let store = EvidenceStore::new(state, &told.policy.log, Disk::default());
        latched = latched.or(store.latched()?.map(|id| (id, *option)));
    }
    let known = known(&memories, &told.policy)?;
    // Whoever installs does not see what the other one remembers, and is told so.
    let hidden = memories.iter().all(|memory| !memory.option.is_empty());
    let root = super::versions::root_of(told);
    let installed = root.installed()?.map(|installed| installed.release);
    let journal = root.journal()?;
    let mut text = format!(
        "product     {}, channel {}\nsettle      {}\ninstalled   {}\n",
        told.policy.product,
        told.policy.channel,
        humantime::format_duration(told.limits.settle),
        installed.as_deref().unwrap_or("none yet"),
    );
    if told.limits.settle.is_zero() {
        text += "            nothing is waited for: a fork that is shown to all peers for a moment goes unnoticed\n";
    }
    text += &tried(&journal, installed.as_deref(), super::versions::who(told));
    let is_unhealthy = installed.as_ref().is_some_and(|it| journal.failed.contains_key(it));
    let mut exit = if is_unhealthy { Exit::Unhealthy } else { Exit::Done };
    let (remembered, mut json) = match told.client(SystemClock.now()) {
        Ok(config) => {
            let place = config.state.join("client");
            let state = match hidden {
                true => ClientState::default(),
                false => {
                    ClientStore::read(&place, &config.policy, &config.peers, &Disk::default())?
                }
            };
            let (mut text, mut json) = remembered(&config, &state);
            let limit = told.alarm.incomplete_after;
            json["no_progress_since"] = Value::Null;
            if let Some(since) = state.no_progress_since(SystemClock.now(), limit) {
                if exit == Exit::Done {
                    exit = Exit::NoProgress;
                }
                json["no_progress_since"] = json!(since);
                text += &format!(
                    "NO PROGRESS since {since}: no roll was unanimous for longer than [alarm] incomplete_after ({}); `unanimity check` says why\n",
                    humantime::format_duration(limit)
                );
            }
            (text, json)
        }
        // A node whose circle is still too small has peers to find, and nothing to remember.
        Err(error) => {
            exit = Exit::Configuration;
            let joining = told.circle.joining().count();
            let text = format!("circle      {error}\n");
            (text, json!({ "circle": error.to_string(), "joining": joining }))
        }
    };
    if hidden {
        let state = told.state.display();
        text += &format!(
            "memory      {state} is for the user who fetches alone: run this as them to see what is remembered\n"
        );
    } else {
        text += &remembered;
    }
    json["hidden"] = hidden.into();
    let standing = installed.as_ref().map(|it| known.check_standing(it, true));
    let withdrawn = standing.and_then(Result::err).map(|refusal| refusal.to_string());
    json["withdrawn"] = withdrawn.clone().into();
    if let Some(why) = withdrawn {
        exit = Exit::Withdrawn;
        text += &format!("WITHDRAWN   {why}\n");
    }
    let why = match cfg!(feature = "tor") {
        true => "`unanimity serve` is not running",
        false => "this program was built without Tor",
    };
    let nobody = || (format!("serving     no: {why}\n"), Value::Null);
    let (words, fields) = serving.unwrap_or_else(nobody);
    text += &words;
    json["serving"] = fields;
    if let Some((id, option)) = &latched {
        text += &format!(
            "FORK        evidence {id} is not acknowledged: nothing installs (`unanimity evidence show {id}{option}`)\n"
        );
    }
    json["installed"] = installed.into();
    json["journal"] = json!(journal);
    json["latched"] = latched.as_ref().map(|(id, _)| id.as_str()).into();
    if latched.is_some() {
        exit = Exit::Fork;
    }
    Ok(Said { exit, text, json, failed: false, data: false })
}

/// What else is there, and what did not work.
fn tried(journal: &Journal, installed: Option<&str>, who: &str) -> String {
    let mut text = String::new();
    let sequence = installed.and_then(Manifest::sequence_of);
    let mut word = "before";
    for release in journal.good.iter().rev().filter(|good| Some(good.as_str()) != installed) {
        if Manifest::sequence_of(release) > sequence {
            text += &format!(
                "left        {release}: not installed again by itself, something newer is\n"
            );
        } else {
            text += &format!("{word:12}{release}\n");
            word = "";
        }
    }
    if let Some(trial) = &journal.trial {
        let release = &trial.release;
        text += &format!(
            "trial       {release} is on trial; if nothing is at work, the next {who} ends that\n"
        );
    }
    if let Some(release) = &journal.vouched {
        text += &format!("vouched     {release}: the next {who} tries it without the check\n");
    }
    for (release, failed) in &journal.failed {
        let times =
            if failed.times == 1 { "once".to_owned() } else { format!("{} times", failed.times) };
        let what_now = match Some(release.as_str()) == installed {
            true => {
                "It is what is installed; `unanimity mark-good` says that it is good".to_owned()
            }
            false => format!(
                "It is tried again after {}; `unanimity mark-good` has that done at once, without the check",
                failed.until()
            ),
        };
        text += &format!("failed      {release}, {times}: {}. {what_now}\n", failed.why);
    }
    text
}

/// The trusted head, and what each peer has shown.
fn remembered(config: &Config, state: &ClientState) -> (String, Value) {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none yet".to_owned());
    let mut text = format!(
        "trusted     {}\nunanimous   {}\n",
        or_none(state.head.as_ref().map(ToString::to_string)),
        or_none(state.unanimous_at.map(|at| at.to_string())),
    );
    let mut peers = Vec::new();
    for peer in &config.peers {
        let key = peer.key.raw();
        let size = state.largest.get(&key).map(|view| view.head().size());
        let since = state.silent_since.get(&key);
        let shown = size
            .map_or("has shown nothing yet".to_owned(), |size| format!("has shown size {size}"));
        let silent = since.map_or(String::new(), |since| format!(", silent since {since}"));
        text += &format!("peer        {} {shown}{silent}\n", peer.name);
        peers.push(json!({ "name": peer.name.as_str(), "size": size, "silent_since": since }));
    }
    let mut penance = Vec::new();
    for mirror in &config.mirrors {
        let name = mirror.to_string();
        let Some(failures) = state.health.penance(&name, SystemClock.now()) else { continue };
        let (in_a_row, since, until) = (failures.in_a_row, failures.last, failures.until());
        text += &format!(
            "penance     {name} since {since}, after {in_a_row} in a row failed: asked last until {until}\n"
        );
        penance
            .push(json!({ "mirror": name, "failures": in_a_row, "since": since, "until": until }));
    }
    let json = json!({
        "head": state.head.as_ref().map(super::log::head_json),
        "unanimous_at": state.unanimous_at,
        "peers": peers,
        "penance": penance,
    });
    (text, json)
}
