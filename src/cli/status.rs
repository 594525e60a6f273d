//! `status`: what is installed, what the node remembers, and what its daemon adds.

use serde_json::{Value, json};
use unanimity_config::ClientConfig;
use unanimity_install::journal::Journal;
use unanimity_install::root_from_config;
use unanimity_install::state_dirs::{StateDirs, load_known_releases, readable_state_dirs};
use unanimity_install::verbs::{install_command, mark_good_command};
use unanimity_protocol::Manifest;
use unanimity_report::{Classify as _, CommandError, CommandOutput, Exit};
use unanimity_state::{ClientState, ClientStore, EvidenceStore, StoreError};
use unanimity_storage::{Clock as _, Storage, SystemClock};

/// Renders the status of a node from its files, without a connection. `daemon_status` is the part
/// from a running daemon: a line for people, and the JSON value of the field `serving`.
pub(super) fn render_status(
    node_config: &unanimity_config::NodeConfig,
    daemon_status: Option<(String, Value)>,
) -> Result<CommandOutput, CommandError> {
    let state_dirs = readable_state_dirs(
        &node_config.cycle.install_root,
        &node_config.cycle.state,
        node_config.cycle.spool.as_ref(),
    );
    let mut latched = None;
    for StateDirs { state_dir: state, evidence_option: option, .. } in &state_dirs {
        let store = EvidenceStore::new(state, &node_config.cycle.policy.log, Storage::default());
        latched = latched.or(store.find_unacknowledged()?.map(|id| (id, *option)));
    }
    let catalog = load_known_releases(&state_dirs, &node_config.cycle.policy)?;
    // In a split installation the installer's user cannot read the downloader's state.
    let is_unreadable = state_dirs.iter().all(|dirs| !dirs.evidence_option.is_empty());
    let root = root_from_config(node_config);
    let installed = root.installed()?.map(|installed| installed.release);
    let journal = root.journal()?;
    let mut text = format!(
        "product     {}, channel {}\nsettle      {}\ninstalled   {}\n",
        node_config.cycle.policy.product,
        node_config.cycle.policy.channel,
        humantime::format_duration(node_config.cycle.limits.settle),
        installed.as_deref().unwrap_or("none yet"),
    );
    if node_config.cycle.limits.settle.is_zero() {
        text += "            0 s: a fork that an attacker shows to all peers for a moment goes unnoticed\n";
    }
    text += &render_journal(&journal, installed.as_deref(), node_config);
    let on_trial = journal.trial.as_ref().map(|trial| &trial.release);
    let failed =
        |release: &String| on_trial != Some(release) && journal.failed.contains_key(release);
    let is_unhealthy = installed.as_ref().is_some_and(failed);
    let mut exit = if is_unhealthy { Exit::Unhealthy } else { Exit::Done };
    let (state_text, mut json) = match node_config.client_config(SystemClock.now()) {
        Ok(config) => {
            let client_dir = config.cycle.state.join("client");
            let state = match is_unreadable {
                true => ClientState::default(),
                false => ClientStore::read(
                    &client_dir,
                    &config.cycle.policy,
                    &config.peers,
                    &Storage::default(),
                )?,
            };
            let (mut text, mut json) = render_client_state(node_config, &config, &state);
            let limit = node_config.alert.incomplete_after;
            json["no_progress_since"] = Value::Null;
            if let Some(since) = state.no_progress_since(SystemClock.now(), limit) {
                if exit == Exit::Done {
                    exit = Exit::NoProgress;
                }
                json["no_progress_since"] = json!(since);
                text += &format!(
                    "NO PROGRESS since {since}: no round was unanimous for longer than [alert] incomplete_after ({}); `unanimity check` says why\n",
                    humantime::format_duration(limit)
                );
            }
            (text, json)
        }
        // A node with too few peers remembers nothing yet.
        Err(error) => {
            if exit == Exit::Done {
                exit = error.exit();
            }
            let joining = node_config.peers.joining_entries().count();
            let error = crate::advice::describe(&error);
            text += &format!("peers       {error}\n");
            (String::new(), json!({ "peers": [], "incomplete": error, "joining": joining }))
        }
    };
    if is_unreadable {
        let state = node_config.cycle.state.display();
        text += &format!(
            "state       only the downloading user can read {state}. Run this as that user to see it\n"
        );
    } else {
        text += &state_text;
    }
    json["state_unreadable"] = is_unreadable.into();
    let installer = state_dirs.iter().find(|dirs| !dirs.evidence_option.is_empty());
    if let (Some(dirs), Ok(config)) = (installer, node_config.client_config(SystemClock.now())) {
        let disk = Storage::default();
        let state =
            match ClientStore::read(&dirs.client_dir, &config.cycle.policy, &config.peers, &disk) {
                Err(StoreError::OtherLog(_)) => ClientState::default(),
                state => state?,
            };
        text += &format!(
            "installer   trusted {}, unanimous {}\n",
            or_none(state.head.as_ref().map(ToString::to_string)),
            or_none(state.unanimous_at.map(|at| at.to_string())),
        );
        json["installer"] = json!({
            "head": state.head.as_ref().map(super::log::head_json),
            "unanimous_at": state.unanimous_at,
        });
    }
    let check = installed.as_ref().map(|release| catalog.check_not_withdrawn(release, true));
    let withdrawn = check.and_then(Result::err);
    json["withdrawn"] = withdrawn.as_ref().map(ToString::to_string).into();
    if let Some(refusal) = withdrawn {
        exit = refusal.exit();
        let why = refusal.to_string();
        let why = why.strip_prefix("withdrawn: ").unwrap_or(&why);
        text += &format!("WITHDRAWN   {why}\n");
    }
    let why = match cfg!(feature = "tor") {
        true => "`unanimity serve` is not running",
        false => "this program was built without Tor",
    };
    let not_serving = || (format!("serving     no: {why}\n"), Value::Null);
    let (line, fields) = daemon_status.unwrap_or_else(not_serving);
    text += &line;
    json["serving"] = fields;
    if let Some((id, option)) = &latched {
        text += &format!(
            "FORK        evidence {id} is not acknowledged, so nothing installs (`unanimity evidence show {id}{option}`)\n"
        );
    }
    json["installed"] = installed.into();
    json["journal"] = json!(journal);
    json["latched"] = latched.as_ref().map(|(id, _)| id.as_str()).into();
    if latched.is_some() {
        exit = Exit::Fork;
    }
    Ok(CommandOutput { exit, text, json, failed: false, data: false })
}

/// Renders the journal: other good versions, the trial, and failed releases.
fn render_journal(
    journal: &Journal,
    installed: Option<&str>,
    node_config: &unanimity_config::NodeConfig,
) -> String {
    let (install, mark_good) = (install_command(node_config), mark_good_command(node_config));
    let mut text = String::new();
    let sequence = installed.and_then(Manifest::sequence_from_label);
    let mut word = "before";
    for release in journal.good.iter().rev().filter(|good| Some(good.as_str()) != installed) {
        if Manifest::sequence_from_label(release) > sequence {
            text += &format!(
                "left        {release}: rolled back from; only a newer release installs by itself\n"
            );
        } else {
            text += &format!("{word:12}{release}\n");
            word = "";
        }
    }
    if let Some(trial) = &journal.trial {
        let release = &trial.release;
        text += &format!(
            "trial       {release} is on trial. If no command is running, the next {install} ends the trial\n"
        );
    }
    if let Some(release) = &journal.approved {
        text += &format!("approved    {release}: the next {install} tries it without the check\n");
    }
    for (release, failed) in &journal.failed {
        let times =
            if failed.times == 1 { "once".to_owned() } else { format!("{} times", failed.times) };
        let what_now = match Some(release.as_str()) == installed {
            true => {
                format!("It is installed. If it works, mark it as good: {mark_good}")
            }
            false => format!(
                "The next attempt with {release} is after {}. After {mark_good}, the next {install} tries {release} without the check",
                failed.backoff_until()
            ),
        };
        text += &format!("failed      {release}, {times}: {}. {what_now}\n", failed.why);
    }
    text
}

fn or_none(text: Option<String>) -> String {
    text.unwrap_or_else(|| "none yet".to_owned())
}

/// Renders the state of the client: the trusted head, the peers, and mirrors with a backoff.
fn render_client_state(
    node_config: &unanimity_config::NodeConfig,
    config: &ClientConfig,
    state: &ClientState,
) -> (String, Value) {
    let mut text = format!(
        "trusted     {}\nunanimous   {}\n",
        or_none(state.head.as_ref().map(ToString::to_string)),
        or_none(state.unanimous_at.map(|at| at.to_string())),
    );
    let mut peers = Vec::new();
    for peer in &config.peers {
        let key = peer.key.raw();
        let size = state.largest_heads.get(&key).map(|cosigned| cosigned.head().size());
        let since = state.silent_since.get(&key);
        let shown = size
            .map_or("has shown no head yet".to_owned(), |size| format!("has shown size {size}"));
        let silent = since.map_or(String::new(), |since| format!(", silent since {since}"));
        text += &format!("peer        {} {shown}{silent}\n", peer.name);
        peers.push(json!({ "name": peer.name.as_str(), "size": size, "silent_since": since }));
    }
    let mut backoff = Vec::new();
    for mirror in &node_config.mirrors {
        let name = mirror.to_string();
        let Some(failures) = state.mirror_backoff.backoff(&name, SystemClock.now()) else {
            continue;
        };
        let (in_a_row, since, until) = (failures.consecutive, failures.last, failures.until());
        text += &format!(
            "backoff     {name}: asked last until {until}; failures in a row: {in_a_row}, the latest at {since}\n"
        );
        backoff
            .push(json!({ "mirror": name, "failures": in_a_row, "since": since, "until": until }));
    }
    let json = json!({
        "head": state.head.as_ref().map(super::log::head_json),
        "unanimous_at": state.unanimous_at,
        "peers": peers,
        "deprioritized": backoff,
    });
    (text, json)
}
