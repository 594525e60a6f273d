//! The attacks of the threat model, each on a copy of a circle in which release 1 is installed.

use std::fs;
use std::time::Duration;

use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::{Evidence, Hash};
use unanimity_report::Exit;

use crate::{Broken, Cast, Draft, PEER_NAMES, PEERS, copy_tree, overwrite};

/// One attack, and how it ended.
#[derive(Debug)]
pub struct Attacked {
    /// What the attacker does.
    pub title: &'static str,
    /// What the client said.
    pub said: String,
    /// Refused, for the expected reason, with release 1 still installed; or it made no difference.
    pub held: bool,
    /// The honest release was installed in spite of it.
    pub updated: bool,
    /// The evidence it left.
    pub evidence: Option<Evidence>,
}

/// Every attack, in the order in which the demo shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A mirror serves other bytes than were signed.
    TamperedArtifact,
    /// One of the publisher's keys is stolen, two are needed.
    OneKeyStolen,
    /// Enough keys are stolen, and the mirror; the log is not.
    ThresholdStolenUnlogged,
    /// Enough keys are stolen, and the log logs what they sign; the publisher sees it there.
    ThresholdStolenLogged,
    /// Keys and log key: the log is forked for this victim.
    ForkedLog,
    /// The fork is shown to every peer too, for a moment.
    FlashFork,
    /// The victim hands its fork on to its circle.
    Laundering,
    /// One peer does not answer.
    OneSilent,
    /// One peer has not seen the release.
    OneBehind,
    /// One peer shows less than it did before.
    OneRegressed,
    /// The client's mirror stands still.
    FrozenMirror,
    /// The client's mirror goes back.
    RolledBackMirror,
    /// The release is past its time.
    Expired,
    /// Two releases with one sequence.
    Conflict,
    /// A peer passes on what another one says.
    EchoPeer,
}

/// Times are whole seconds: this much later is later.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// What the publisher wants installed.
const HONEST: &[u8] = b"#!/bin/sh\necho hello again\n";
/// What attackers want installed.
const TROJAN: &[u8] = b"#!/bin/sh\necho trojan\n";

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 15] = [
        Attack::TamperedArtifact,
        Attack::OneKeyStolen,
        Attack::ThresholdStolenUnlogged,
        Attack::ThresholdStolenLogged,
        Attack::ForkedLog,
        Attack::FlashFork,
        Attack::Laundering,
        Attack::OneSilent,
        Attack::OneBehind,
        Attack::OneRegressed,
        Attack::FrozenMirror,
        Attack::RolledBackMirror,
        Attack::Expired,
        Attack::Conflict,
        Attack::EchoPeer,
    ];

    /// What the attacker does, in a line.
    pub fn title(self) -> &'static str {
        match self {
            Attack::TamperedArtifact => "a mirror serves a tampered artifact",
            Attack::OneKeyStolen => "one publisher key is stolen (two are needed)",
            Attack::ThresholdStolenUnlogged => "two publisher keys are stolen, the log is not",
            Attack::ThresholdStolenLogged => {
                "two publisher keys are stolen, and their publisher takes back what they signed"
            }
            Attack::ForkedLog => "publisher keys and log key stolen: a forked log for this victim",
            Attack::FlashFork => "the same, and every peer is shown the fork too, within settle",
            Attack::Laundering => "the same, and the victim hands the fork on to its circle",
            Attack::OneSilent => "one peer is silent",
            Attack::OneBehind => "one peer has not seen the release yet",
            Attack::OneRegressed => "one peer shows less than it did before",
            Attack::FrozenMirror => "the mirror is frozen",
            Attack::RolledBackMirror => "the mirror is rolled back",
            Attack::Expired => "the release has expired",
            Attack::Conflict => "two different releases bear one sequence",
            Attack::EchoPeer => "a peer echoes another peer's view",
        }
    }

    /// Runs the attack on a circle in which release 1 is installed and everybody agrees, and
    /// lets the client update.
    pub async fn run(self, mut cast: impl Cast) -> Result<Attacked, Broken> {
        self.prepare(&mut cast).await?;
        // Twice, `settle` apart: what is refused only for want of time would install now.
        let mut cycle = cast.client_updates().await?;
        if cycle.exit == Exit::Settling {
            cast.time_passes(cast.settle() + SECOND).await;
            self.meanwhile(&mut cast).await?;
            cycle = cast.client_updates().await?;
        }
        let (exit, peer) = self.expects();
        let expected =
            cycle.exit == exit && peer.is_none_or(|peer| cycle.unconfirmed() == [PEER_NAMES[peer]]);
        let stage = cast.stage();
        let first = stage.installed()?.is_some_and(|installed| installed.sequence == 1);
        // Where peers serve the log, what one mirror serves instead is nobody's only source.
        let updated = self == Attack::ThresholdStolenUnlogged
            && cycle.exit == Exit::Done
            && fs::read(stage.install_root().join("current/hello"))? == HONEST;
        Ok(Attacked {
            title: self.title(),
            said: cycle.said,
            held: first && expected || updated,
            updated,
            evidence: cast.stage().evidence()?,
        })
    }

    /// How the client has to end, and the one peer who may not confirm.
    fn expects(self) -> (Exit, Option<usize>) {
        match self {
            Attack::TamperedArtifact => (Exit::BadArtifact, None),
            Attack::OneKeyStolen => (Exit::BadSignature, None),
            Attack::ThresholdStolenUnlogged => (Exit::NotLogged, None),
            Attack::ThresholdStolenLogged => (Exit::Withdrawn, None),
            Attack::ForkedLog | Attack::FlashFork | Attack::Laundering => (Exit::Fork, None),
            Attack::OneSilent => (Exit::Incomplete, Some(1)),
            Attack::OneBehind => (Exit::Incomplete, Some(2)),
            Attack::OneRegressed => (Exit::Incomplete, Some(3)),
            Attack::EchoPeer => (Exit::Incomplete, Some(4)),
            Attack::FrozenMirror => (Exit::Stale, None),
            Attack::RolledBackMirror => (Exit::Rollback, None),
            Attack::Expired => (Exit::Expired, None),
            Attack::Conflict => (Exit::Conflict, None),
        }
    }

    async fn prepare(self, cast: &mut impl Cast) -> Result<(), Broken> {
        let (stage, now) = (cast.stage().clone(), cast.now());
        let honest = Draft::new(2, "1.1.0", HONEST);
        let trojan = Draft::new(2, "1.1.0", TROJAN);
        match self {
            Attack::TamperedArtifact => {
                stage.release("log", &honest, now)?;
                stage.copy_log("tampered")?;
                let digest = Hash::digest(&honest.artifact);
                overwrite(&stage.directory.join(format!("tampered/artifact/{digest}")), TROJAN)?;
                stage.show("client", "tampered")?;
            }
            Attack::OneKeyStolen => {
                stage.release("log", &Draft { signers: vec![2], ..trojan }, now)?;
            }
            Attack::ThresholdStolenUnlogged => {
                stage.release("log", &honest, now)?;
                stage.copy_log("unlogged")?;
                let path = stage.directory.join("unlogged").join(entries_path(0, 2));
                let mut bundle = fs::read(&path)?;
                bundle.truncate(2 + usize::from(u16::from_be_bytes([bundle[0], bundle[1]])));
                let note = stage.sign_at(&trojan, now)?.1.to_string();
                bundle.extend((note.len() as u16).to_be_bytes());
                bundle.extend(note.as_bytes());
                overwrite(&path, &bundle)?;
                stage.show("client", "unlogged")?;
            }
            Attack::ThresholdStolenLogged => {
                stage.release("log", &trojan, now)?;
            }
            Attack::ForkedLog | Attack::FlashFork | Attack::Laundering => {
                stage.copy_log("fork")?;
                stage.release("log", &honest, now)?;
                stage.release("fork", &trojan, now)?;
                stage.show("client", "fork")?;
            }
            Attack::OneBehind => {
                stage.copy_log("old")?;
                stage.show(PEER_NAMES[2], "old")?;
                stage.release("log", &honest, now)?;
            }
            Attack::OneRegressed => {
                stage.copy_log("old")?;
                let backup = stage.directory.join("backup");
                copy_tree(&stage.peer_state(3).join("peer"), &backup.join("peer"))?;
                stage.release("log", &honest, now)?;
                cast.everybody_polls().await?;
                cast.client_checks().await?;
                stage.show(PEER_NAMES[3], "old")?;
                cast.peer_restarts_from(3, &backup).await?;
            }
            Attack::FrozenMirror => {
                stage.copy_log("old")?;
                stage.show("client", "old")?;
                stage.release("log", &honest, now)?;
            }
            Attack::RolledBackMirror => {
                stage.copy_log("old")?;
                stage.release("log", &honest, now)?;
                cast.everybody_polls().await?;
                cast.client_checks().await?;
                stage.show("client", "old")?;
            }
            Attack::Expired => {
                let good_for = cast.settle() / 2;
                stage.release("log", &Draft { good_for, ..honest }, now)?;
                cast.time_passes(good_for + SECOND).await;
            }
            Attack::Conflict => {
                stage.release("log", &honest, now)?;
                stage.release("log", &trojan, now)?;
            }
            Attack::OneSilent | Attack::EchoPeer => {
                stage.release("log", &honest, now)?;
            }
        }
        match self {
            Attack::FlashFork => stage.show_peers("fork")?,
            // The victim is a peer itself, and its mirrors are the attacker's in both roles.
            Attack::Laundering => stage.show(PEER_NAMES[VICTIM], "fork")?,
            _ => {}
        }
        cast.everybody_polls().await?;
        match self {
            Attack::Laundering => launder(cast).await,
            Attack::OneSilent => cast.peer_stops(1).await,
            Attack::EchoPeer => cast.peer_echoes(4, 0).await,
            _ => Ok(()),
        }
    }

    /// What happens while the client waits for `settle`.
    async fn meanwhile(self, cast: &mut impl Cast) -> Result<(), Broken> {
        match self {
            Attack::FlashFork => cast.stage().show_peers("log")?,
            Attack::ThresholdStolenLogged => {
                cast.stage().withdraw("log", 2, "Not ours: two keys were stolen.", cast.now())?;
            }
            _ => {}
        }
        cast.everybody_polls().await
    }
}

/// Where the victim sits in the circle, when it is a peer itself.
const VICTIM: usize = PEERS - 1;

/// The victim shows its fork to the circle. Nobody cosigns it; the first one who compares has the
/// evidence and passes it on.
async fn launder(cast: &mut impl Cast) -> Result<(), Broken> {
    if cast.peer_checks(0).await?.exit != Exit::Fork {
        return Err("a peer compared the victim's head with its own and saw no fork".into());
    }
    cast.everybody_polls().await?;
    let honest = Some(cast.stage().head_of("log")?);
    for peer in 0..VICTIM {
        if cast.stage().head_of_peer(peer)? != honest {
            return Err("an honest peer left the honest log".into());
        }
    }
    Ok(())
}
