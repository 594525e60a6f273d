//! `peers`: pairing, and the peer list.

use std::io::{IsTerminal as _, Write as _};
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

/// Pair with peers, list them, test them.
#[derive(Debug, Subcommand, Serialize, Deserialize)]
pub(super) enum PeersCommand {
    /// Print this node's invite, for the operator of a future peer
    Invite {
        /// Draw the invite as a QR code as well
        #[arg(long)]
        qr: bool,
    },
    /// Add a peer by its invite, and print this node's invite for the other operator
    ///
    /// Compare the fingerprints by voice before you rely on the peer. The peer counts once `serve`
    /// or `peers test` has found that its head and this node's head are from one log.
    Add {
        /// The invite, or a file that holds it
        invite: String,
        /// The peer's name on this node [default: the name in the invite]
        #[arg(long)]
        name: Option<String>,
        /// The peer's operator; peers of one operator count once toward min_peers [default: the
        /// name]
        #[arg(long)]
        operator: Option<String>,
    },
    /// List all peers, with a fingerprint to read aloud
    List,
    /// Ask every peer now: which ones answer, how fast, with which head
    Test,
    /// Remove a peer, after [limits] removal_delay
    ///
    /// An attacker who can silence a peer may want you to remove it in a hurry. Until the delay is
    /// over the peer still has to confirm every update.
    Remove {
        /// The peer's name
        name: String,
        /// Remove the peer at once, without [limits] removal_delay; asks for its name
        #[arg(long)]
        immediately: bool,
        /// The peer's name again; needed if there is no terminal to type it
        #[arg(long, value_name = "NAME", requires = "immediately")]
        confirm: Option<String>,
    },
    /// Cancel a pending removal
    CancelRemoval {
        /// The peer's name
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
            PeersCommand::CancelRemoval { .. } => "peers cancel-removal",
        }
    }
}

/// Reads an invite from an argument: its line, or the path of a file that holds it.
///
/// The command itself reads the file, because the daemon may see other files, and has another
/// working directory.
pub(super) fn read_invite(argument: &str) -> Result<Invite, CommandError> {
    let bad = |error: &dyn std::fmt::Display| CommandError::new(Exit::BadInput, error.to_string());
    // A path may begin with these words too. An invite of another form has commas.
    let text = argument.trim_start();
    if text.starts_with("unanimity-invite/") || text.starts_with("unanimity-") && text.contains(',')
    {
        return argument.parse().map_err(|error| bad(&advice::describe::<InviteError>(&error)));
    }
    let bytes = unanimity_storage::read_at_most(Path::new(argument), MAX_INVITE_FILE_BYTES)
        .map_err(|error| bad(&format!("neither an invite nor a file that holds one: {error}")))?;
    let invite = String::from_utf8_lossy(&bytes).parse();
    invite.map_err(|error: InviteError| bad(&format!("{argument}: {}", advice::describe(&error))))
}

/// The most bytes of a file that holds an invite, with any white space around it.
const MAX_INVITE_FILE_BYTES: usize = 4096;

fn parse_name(text: &str) -> Result<Name, CommandError> {
    text.parse().map_err(|error| CommandError::usage(format!("{error}")))
}

/// Runs `peers invite`.
pub(super) fn invite<C: Clock + Clone + 'static>(
    node: &NodeRuntime<C>,
    qr: bool,
) -> Result<CommandOutput, CommandError> {
    let invite = node.create_invite()?;
    let mut text = format!("{invite}\n");
    if qr {
        let code = QrCode::new(invite.to_string());
        let code = code.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
        text += &code.render::<Dense1x2>().build();
        text.push('\n');
    }
    let json =
        json!({ "invite": invite.to_string(), "fingerprint": invite.fingerprint().to_string() });
    Ok(CommandOutput::data(text, json))
}

/// Runs `peers add`.
pub(super) fn add<C: Clock + Clone + 'static>(
    node: &NodeRuntime<C>,
    invite: &str,
    name: Option<&str>,
    operator: Option<&str>,
) -> Result<CommandOutput, CommandError> {
    let bad = |error: InviteError| CommandError::new(Exit::BadInput, advice::describe(&error));
    let invite: Invite = invite.parse().map_err(bad)?;
    let name = name.map(parse_name).transpose()?;
    let operator = operator.map(parse_name).transpose()?;
    let entry = node.add_peer(&invite, name, operator)?;
    let own_invite = node.create_invite()?;
    let text = format!(
        "{name} is listed. Its fingerprint, to compare by voice:\n  {theirs}\n\
         The other operator now adds this node (fingerprint {fingerprint}):\n\n{own_invite}\n\n\
         {name} counts once its head and this node's head are found to be from one log. `serve` compares them; `peers test` does so now.\n",
        name = entry.peer.name,
        theirs = invite.fingerprint(),
        fingerprint = own_invite.fingerprint(),
    );
    let json = json!({
        "name": entry.peer.name.as_str(),
        "fingerprint": invite.fingerprint().to_string(),
        "invite": own_invite.to_string(),
        "our_fingerprint": own_invite.fingerprint().to_string(),
    });
    Ok(CommandOutput::ok(text, json))
}

/// Runs `peers list`.
pub(super) fn list(
    config: &unanimity_config::NodeConfig,
    now: Timestamp,
) -> Result<CommandOutput, CommandError> {
    let peers = PeerList::load(&config.peers_path)?;
    let mut text = String::new();
    let mut json = Vec::new();
    for entry in peers.entries() {
        let (word, membership) = describe_membership(entry, now);
        let fingerprint = entry.fingerprint(config.cycle.policy.log.id()).map(|f| f.to_string());
        let spoken =
            fingerprint.as_deref().unwrap_or("no client_auth key: it cannot find this node");
        text += &format!("{}  {membership}\n  {spoken}\n", entry.peer.name);
        json.push(json!({
            "name": entry.peer.name.as_str(),
            "operator": entry.peer.operator.as_str(),
            "membership": word,
            "fingerprint": fingerprint,
        }));
    }
    let counted = peers.counted_peers(now).map_err(|error| crate::advice::describe(&error));
    text += &match &counted {
        Ok(peers) => {
            format!("Peers that have to confirm every update: {}.\n", peers.iter().count())
        }
        Err(error) => match peers.joining_entries().count() {
            0 => format!("No update can be confirmed yet: {error}.\n"),
            joining => format!(
                "Peers that do not count yet: {joining}. No update is confirmed until enough distinct operators count: min_peers is {}.\n",
                peers.min_peers()
            ),
        },
    };
    let message = counted.err();
    Ok(CommandOutput::ok(text, json!({ "peers": json, "incomplete": message })))
}

fn describe_membership(entry: &PeerEntry, now: Timestamp) -> (&'static str, String) {
    match entry.membership {
        Membership::Counted => ("counted", "has to confirm every update".to_owned()),
        Membership::Joining { .. } => (
            "joining",
            "is listed, and does not count until its head and this node's are compared".to_owned(),
        ),
        Membership::Leaving { at } if at <= now => ("removed", format!("removed on {at}")),
        Membership::Leaving { at } => {
            ("leaving", format!("leaves on {at}, and has to confirm every update until then"))
        }
    }
}

/// Renders the results of `peers test`. The exit code is that of the worst result: a fork is worse
/// than a failed peer.
pub(super) fn render_peer_tests(tested: &[PeerTest]) -> CommandOutput {
    let mut text = String::new();
    let mut json = Vec::new();
    let mut exit = Exit::Done;
    for PeerTest { entry, answer, elapsed, relation, joined, waiting_for } in tested {
        let millis = elapsed.as_millis();
        let result = match (answer, relation) {
            (Err(failure), _) => format!("{failure} ({millis} ms)"),
            (Ok(cosigned), Some(HeadRelation::Fork(_))) => format!(
                "{}, which contradicts this node's head: FORK, the evidence is stored ({millis} ms)",
                cosigned.head()
            ),
            (Ok(cosigned), _) => format!("{} ({millis} ms)", cosigned.head()),
        };
        let note = match (joined, waiting_for) {
            (true, _) => "; counts from now on".to_owned(),
            (false, Some(why)) => format!("; does not count yet: {why}"),
            (false, None) => String::new(),
        };
        text += &format!("{}  {result}{note}\n", entry.peer.name);
        match (answer, relation) {
            (_, Some(HeadRelation::Fork(_))) => exit = Exit::Fork,
            (Err(_), _) if exit == Exit::Done => exit = Exit::Incomplete,
            _ => {}
        }
        json.push(json!({
            "name": entry.peer.name.as_str(),
            "duration_ms": u64::try_from(millis).unwrap_or(u64::MAX),
            "head": answer.as_ref().ok().map(|cosigned| super::log::head_json(cosigned.head())),
            "failure": answer.as_ref().err().map(ToString::to_string),
            "joined": joined,
            "waiting_for": waiting_for,
        }));
    }
    if tested.is_empty() {
        text = "No peer is listed yet: `unanimity peers invite` makes an invite for another operator.\n"
            .to_owned();
    }
    CommandOutput { exit, text, json: json!({ "peers": json }), failed: false, data: false }
}

/// Confirms an immediate removal by the peer's name, from `--confirm` or from the terminal.
pub(super) fn confirm_removal(name: &str, given: Option<String>) -> Result<(), CommandError> {
    parse_name(name)?;
    let answer = match given {
        Some(answer) => answer,
        None if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() => {
            let failed = |error: std::io::Error| CommandError::new(Exit::Failed, error.to_string());
            write!(
                std::io::stderr(),
                "An attacker who silences a peer wants you to remove it in a hurry.\n\
                 Type the peer's name to remove it at once: "
            )
            .map_err(failed)?;
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer).map_err(failed)?;
            answer.trim().to_owned()
        }
        None => {
            return Err(CommandError::usage(format!(
                "--immediately has to be confirmed, and there is no terminal to ask. Give --confirm {name}"
            )));
        }
    };
    if answer == name {
        return Ok(());
    }
    Err(CommandError::usage(format!("the name does not match: {name} was not removed")))
}

/// Runs `peers remove`. The operator has already confirmed an immediate removal.
pub(super) fn remove<C: Clock + Clone + 'static>(
    node: &NodeRuntime<C>,
    name: &str,
    immediately: bool,
) -> Result<CommandOutput, CommandError> {
    let name = parse_name(name)?;
    let leaves_at = node.remove_peer(&name, immediately)?;
    let text = match leaves_at {
        None => format!("{name} is no longer listed.\n"),
        Some(at) => format!(
            "{name} leaves on {at}. Until then it still has to confirm every update. \
             `unanimity peers cancel-removal {name}` cancels the removal.\n"
        ),
    };
    Ok(CommandOutput::ok(text, json!({ "name": name.as_str(), "leaves_at": leaves_at })))
}

/// Runs `peers cancel-removal`.
pub(super) fn cancel_removal(
    config: &unanimity_config::NodeConfig,
    name: &str,
    disk: &Storage,
) -> Result<CommandOutput, CommandError> {
    let name = parse_name(name)?;
    edit::cancel_removal(&config.peers_path, &name, disk)?;
    let json: Value = json!({ "name": name.as_str() });
    Ok(CommandOutput::ok(format!("{name} stays.\n"), json))
}

/// Runs the verbs of `peers` that need no connection. The caller must handle `peers test` itself.
pub(super) fn run_offline(
    node: &NodeRuntime<SystemClock>,
    config: &unanimity_config::NodeConfig,
    verb: PeersCommand,
) -> Result<CommandOutput, CommandError> {
    let (now, disk) = (SystemClock.now(), Storage::default());
    match verb {
        PeersCommand::Invite { qr } => invite(node, qr),
        PeersCommand::Add { invite, name, operator } => {
            add(node, &invite, name.as_deref(), operator.as_deref())
        }
        PeersCommand::Remove { name, immediately, confirm: _ } => remove(node, &name, immediately),
        PeersCommand::CancelRemoval { name } => cancel_removal(config, &name, &disk),
        PeersCommand::List | PeersCommand::Test => list(config, now),
    }
}
