//! `peers`: pairing, and who is in the circle.

use std::path::Path;

use clap::Subcommand;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use unanimity_config::peers::edit;
use unanimity_config::{Invite, InviteError, Membership, PeerEntry, PeerList};
use unanimity_protocol::{Name, Timestamp};
use unanimity_report::{CommandError, CommandOutput, Exit};
use unanimity_storage::{Clock, Storage, SystemClock};
use unanimity_witness::HeadRelation;

use crate::advice;
use crate::node::{NodeRuntime, PeerTest};

/// Who has to confirm every update, and who may ask us.
#[derive(Debug, Subcommand, Serialize, Deserialize)]
pub(super) enum PeersCommand {
    /// Print this node's ticket, for somebody who shall become a peer
    Invite {
        /// Draw it as a QR code as well
        #[arg(long)]
        qr: bool,
    },
    /// List a peer by its ticket, and print ours for the other side
    ///
    /// Compare the fingerprints by voice before you rely on it. The peer counts once its head and ours have been found to be of one
    /// log, which `serve` and `peers test` see to.
    Add {
        /// The ticket, or a file that holds it
        invite: String,
        /// What to call them here [default: as the ticket does]
        #[arg(long)]
        name: Option<String>,
        /// Who runs it; peers of one operator count once toward min_peers [default: the name]
        #[arg(long)]
        operator: Option<String>,
    },
    /// Show everybody who is listed, with a fingerprint to read aloud
    List,
    /// Ask every peer now: who answers, how fast, at which head
    Test,
    /// Take a peer out of the circle, after [limits] removal_delay
    ///
    /// Whoever can silence a peer may want you to drop it in a hurry: until the delay is over it still has to confirm every update.
    Remove {
        /// Who
        name: String,
        /// Do not wait; WORDS are "remove NAME without waiting"
        #[arg(long, value_name = "WORDS")]
        now: Option<String>,
    },
    /// Take back a removal that has not come to pass
    CancelRemoval {
        /// Who
        name: String,
    },
}

impl PeersCommand {
    pub(super) fn name(&self) -> &'static str {
        match self {
            PeersCommand::Invite { .. } => "peers invite",
            PeersCommand::Add { .. } => "peers add",
            PeersCommand::List => "peers list",
            PeersCommand::Test => "peers test",
            PeersCommand::Remove { .. } => "peers remove",
            PeersCommand::CancelRemoval { .. } => "peers keep",
        }
    }
}

/// The ticket that the command line gave or named, read where it was typed: the daemon has other
/// files and another directory.
pub(super) fn read_invite(argument: &str) -> Result<Invite, CommandError> {
    let bad = |error: &dyn std::fmt::Display| CommandError::new(Exit::BadInput, error.to_string());
    if argument.trim_start().starts_with(INVITE_PREFIX) {
        return argument.parse().map_err(|error| bad(&advice::describe::<InviteError>(&error)));
    }
    let bytes = unanimity_storage::read_at_most(Path::new(argument), MAX_INVITE_FILE_BYTES)
        .map_err(|error| bad(&format!("neither a ticket nor a file that holds one: {error}")))?;
    let ticket = String::from_utf8_lossy(&bytes).parse();
    ticket.map_err(|error: InviteError| bad(&format!("{argument}: {}", advice::describe(&error))))
}

/// The most bytes of a file that holds a ticket: there may be white space around it.
const MAX_INVITE_FILE_BYTES: usize = 4096;

/// What every ticket begins with.
const INVITE_PREFIX: &str = "unanimity-ticket/";

fn parse_name(text: &str) -> Result<Name, CommandError> {
    text.parse().map_err(|error| CommandError::usage(format!("{error}")))
}

/// `peers invite`.
pub(super) fn invite<C: Clock + Clone + 'static>(
    node: &NodeRuntime<C>,
    qr: bool,
) -> Result<CommandOutput, CommandError> {
    let ticket = node.create_invite()?;
    let mut text = format!("{ticket}\n");
    if qr {
        let code = QrCode::new(ticket.to_string());
        let code = code.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
        text += &code.render::<Dense1x2>().build();
        text.push('\n');
    }
    let json =
        json!({ "ticket": ticket.to_string(), "fingerprint": ticket.fingerprint().to_string() });
    Ok(CommandOutput::data(text, json))
}

/// `peers add`.
pub(super) fn add<C: Clock + Clone + 'static>(
    node: &NodeRuntime<C>,
    ticket: &str,
    called: Option<&str>,
    operator: Option<&str>,
) -> Result<CommandOutput, CommandError> {
    let bad = |error: InviteError| CommandError::new(Exit::BadInput, advice::describe(&error));
    let ticket: Invite = ticket.parse().map_err(bad)?;
    let called = called.map(parse_name).transpose()?;
    let operator = operator.map(parse_name).transpose()?;
    let member = node.add_peer(&ticket, called, operator)?;
    let ours = node.create_invite()?;
    let text = format!(
        "{name} is listed. Its fingerprint, to compare by voice:\n  {theirs}\n\
         Now the other side adds this node (fingerprint {fingerprint}):\n\n{ours}\n\n\
         {name} counts once its head and ours have been found to be of one log: `serve` sees to that, and `peers test` tries now.\n",
        name = member.peer.name,
        theirs = ticket.fingerprint(),
        fingerprint = ours.fingerprint(),
    );
    let json = json!({
        "name": member.peer.name.as_str(),
        "fingerprint": ticket.fingerprint().to_string(),
        "ticket": ours.to_string(),
        "our_fingerprint": ours.fingerprint().to_string(),
    });
    Ok(CommandOutput::ok(text, json))
}

/// `peers list`.
pub(super) fn list(
    told: &unanimity_config::NodeConfig,
    now: Timestamp,
) -> Result<CommandOutput, CommandError> {
    let circle = PeerList::load(&told.peers_path)?;
    let mut text = String::new();
    let mut json = Vec::new();
    for member in circle.entries() {
        let (word, standing) = describe_membership(member, now);
        let fingerprint = member.fingerprint(told.cycle.policy.log.id()).map(|f| f.to_string());
        let spoken = fingerprint.as_deref().unwrap_or("no discovery key: it cannot find this node");
        text += &format!("{}  {standing}\n  {spoken}\n", member.peer.name);
        json.push(json!({
            "name": member.peer.name.as_str(),
            "operator": member.peer.operator.as_str(),
            "standing": word,
            "fingerprint": fingerprint,
        }));
    }
    let counted = circle.counted_peers(now).map_err(|error| crate::advice::describe(&error));
    text += &match &counted {
        Ok(peers) => {
            format!("Peers that have to confirm every update: {}.\n", peers.iter().count())
        }
        Err(error) => match circle.joining_entries().count() {
            0 => format!("Nothing can be confirmed yet: {error}.\n"),
            joining => format!(
                "Nothing can be confirmed yet: {joining} of these do not count yet, and min_peers is {}.\n",
                circle.min_peers()
            ),
        },
    };
    let message = counted.err();
    Ok(CommandOutput::ok(text, json!({ "peers": json, "incomplete": message })))
}

fn describe_membership(member: &PeerEntry, now: Timestamp) -> (&'static str, String) {
    match member.membership {
        Membership::Counted => ("counted", "has to confirm every update".to_owned()),
        Membership::Joining { .. } => (
            "joining",
            "listed, and does not count until its head and ours have been compared".to_owned(),
        ),
        Membership::Leaving { at } if at <= now => ("left", format!("left on {at}")),
        Membership::Leaving { at } => {
            ("leaving", format!("leaves on {at}, and has to confirm every update until then"))
        }
    }
}

/// `peers test`.
pub(super) fn render_peer_tests(tested: &[PeerTest]) -> CommandOutput {
    let mut text = String::new();
    let mut json = Vec::new();
    let mut exit = Exit::Done;
    for PeerTest {
        entry: member,
        answer,
        elapsed: took,
        relation: place,
        joined,
        waiting_for: waits,
    } in tested
    {
        let millis = took.as_millis();
        let said = match (answer, place) {
            (Err(silence), _) => format!("{silence} ({millis} ms)"),
            (Ok(view), Some(HeadRelation::Fork(_))) => format!(
                "{}, which contradicts ours: FORK, the evidence is stored ({millis} ms)",
                view.head()
            ),
            (Ok(view), _) => format!("{} ({millis} ms)", view.head()),
        };
        let note = match (joined, waits) {
            (true, _) => "; counts from now on".to_owned(),
            (false, Some(why)) => format!("; does not count yet: {why}"),
            (false, None) => String::new(),
        };
        text += &format!("{}  {said}{note}\n", member.peer.name);
        match (answer, place) {
            (_, Some(HeadRelation::Fork(_))) => exit = Exit::Fork,
            (Err(_), _) if exit == Exit::Done => exit = Exit::Incomplete,
            _ => {}
        }
        json.push(json!({
            "name": member.peer.name.as_str(),
            "milliseconds": u64::try_from(millis).unwrap_or(u64::MAX),
            "head": answer.as_ref().ok().map(|view| super::log::head_json(view.head())),
            "silent": answer.as_ref().err().map(ToString::to_string),
            "joined": joined,
            "waits": waits,
        }));
    }
    if tested.is_empty() {
        text = "Nobody is listed yet: `unanimity peers invite` makes a ticket for somebody else.\n"
            .to_owned();
    }
    CommandOutput { exit, text, json: json!({ "peers": json }), failed: false, data: false }
}

/// `peers remove`.
pub(super) fn remove<C: Clock + Clone + 'static>(
    node: &NodeRuntime<C>,
    who: &str,
    words: Option<&str>,
) -> Result<CommandOutput, CommandError> {
    let name = parse_name(who)?;
    if words.is_some_and(|words| words != format!("remove {name} without waiting")) {
        return Err(CommandError::usage(format!(
            "--now takes the words \"remove {name} without waiting\": whoever silences a peer wants you to drop it in a hurry"
        )));
    }
    let leaves = node.remove_peer(&name, words.is_some())?;
    let text = match leaves {
        None => format!("{name} is no longer listed.\n"),
        Some(at) => format!(
            "{name} leaves on {at}; until then it still has to confirm every update. `unanimity peers keep {name}` takes that back.\n"
        ),
    };
    Ok(CommandOutput::ok(text, json!({ "name": name.as_str(), "leaves": leaves })))
}

/// `peers keep`.
pub(super) fn cancel_removal(
    config: &unanimity_config::NodeConfig,
    who: &str,
    disk: &Storage,
) -> Result<CommandOutput, CommandError> {
    let name = parse_name(who)?;
    edit::cancel_removal(&config.peers_path, &name, disk)?;
    let said: Value = json!({ "name": name.as_str() });
    Ok(CommandOutput::ok(format!("{name} stays.\n"), said))
}

/// What needs no connection.
pub(super) fn run_offline(
    node: &NodeRuntime<SystemClock>,
    config: &unanimity_config::NodeConfig,
    verb: PeersCommand,
) -> Result<CommandOutput, CommandError> {
    let (now, disk) = (SystemClock.now(), Storage::default());
    match verb {
        PeersCommand::Invite { qr } => invite(node, qr),
        PeersCommand::Add { invite: ticket, name, operator } => {
            add(node, &ticket, name.as_deref(), operator.as_deref())
        }
        PeersCommand::Remove { name, now: words } => remove(node, &name, words.as_deref()),
        PeersCommand::CancelRemoval { name } => cancel_removal(config, &name, &disk),
        PeersCommand::List | PeersCommand::Test => list(config, now),
    }
}
