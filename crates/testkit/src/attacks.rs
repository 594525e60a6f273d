//! The attacks of the threat model, each on a copy of a circle in which release 1 is installed.

use std::fs;
use std::time::Duration;

use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::{Evidence, Hash};
use unanimity_report::Exit;

use crate::{DemoBackend, PEER_NAMES, PEERS, ReleaseSpec, TestError, copy_tree, overwrite};

/// One attack, and how it ended.
#[derive(Debug)]
pub struct AttackResult {
    /// What the attacker does.
    pub title: &'static str,
    /// What the client said.
    pub message: String,
    /// Refused, for the expected reason, with release 1 still installed; or it made no difference.
    pub resisted: bool,
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
    EquivocatingPeer,
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
    DuplicateSequence,
    /// A peer passes on what another one says.
    RelayingPeer,
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
        Attack::EquivocatingPeer,
        Attack::OneSilent,
        Attack::OneBehind,
        Attack::OneRegressed,
        Attack::FrozenMirror,
        Attack::RolledBackMirror,
        Attack::Expired,
        Attack::DuplicateSequence,
        Attack::RelayingPeer,
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
            Attack::EquivocatingPeer => "the same, and the victim hands the fork on to its circle",
            Attack::OneSilent => "one peer is silent",
            Attack::OneBehind => "one peer has not seen the release yet",
            Attack::OneRegressed => "one peer shows less than it did before",
            Attack::FrozenMirror => "the mirror is frozen",
            Attack::RolledBackMirror => "the mirror is rolled back",
            Attack::Expired => "the release has expired",
            Attack::DuplicateSequence => "two different releases bear one sequence",
            Attack::RelayingPeer => "a peer echoes another peer's view",
        }
    }

    /// Runs the attack on a circle in which release 1 is installed and everybody agrees, and
    /// lets the client update.
    pub async fn run(self, mut cast: impl DemoBackend) -> Result<AttackResult, TestError> {
        self.prepare(&mut cast).await?;
        // Twice, `settle` apart: what is refused only for want of time would install now.
        let mut cycle = cast.run_client_update().await?;
        if cycle.exit == Exit::Settling {
            cast.advance_time(cast.settle() + SECOND).await;
            self.act_during_settle(&mut cast).await?;
            cycle = cast.run_client_update().await?;
        }
        let (exit, peer) = self.expected_result();
        let expected =
            cycle.exit == exit && peer.is_none_or(|peer| cycle.unconfirmed() == [PEER_NAMES[peer]]);
        let stage = cast.fixture();
        let first = stage.installed_version()?.is_some_and(|installed| installed.sequence == 1);
        // Where peers serve the log, what one mirror serves instead is nobody's only source.
        let updated = self == Attack::ThresholdStolenUnlogged
            && cycle.exit == Exit::Done
            && fs::read(stage.install_root().join("current/hello"))? == HONEST;
        Ok(AttackResult {
            title: self.title(),
            message: cycle.message,
            resisted: first && expected || updated,
            updated,
            evidence: cast.fixture().latched_evidence()?,
        })
    }

    /// How the client has to end, and the one peer who may not confirm.
    fn expected_result(self) -> (Exit, Option<usize>) {
        match self {
            Attack::TamperedArtifact => (Exit::BadArtifact, None),
            Attack::OneKeyStolen => (Exit::BadSignature, None),
            Attack::ThresholdStolenUnlogged => (Exit::NotLogged, None),
            Attack::ThresholdStolenLogged => (Exit::Withdrawn, None),
            Attack::ForkedLog | Attack::FlashFork | Attack::EquivocatingPeer => (Exit::Fork, None),
            Attack::OneSilent => (Exit::Incomplete, Some(1)),
            Attack::OneBehind => (Exit::Incomplete, Some(2)),
            Attack::OneRegressed => (Exit::Incomplete, Some(3)),
            Attack::RelayingPeer => (Exit::Incomplete, Some(4)),
            Attack::FrozenMirror => (Exit::Stale, None),
            Attack::RolledBackMirror => (Exit::Rollback, None),
            Attack::Expired => (Exit::Expired, None),
            Attack::DuplicateSequence => (Exit::Conflict, None),
        }
    }

    async fn prepare(self, cast: &mut impl DemoBackend) -> Result<(), TestError> {
        let (stage, now) = (cast.fixture().clone(), cast.now());
        let honest = ReleaseSpec::new(2, "1.1.0", HONEST);
        let trojan = ReleaseSpec::new(2, "1.1.0", TROJAN);
        match self {
            Attack::TamperedArtifact => {
                stage.publish_release("log", &honest, now)?;
                stage.copy_log("tampered")?;
                let digest = Hash::digest(&honest.artifact);
                overwrite(&stage.directory.join(format!("tampered/artifact/{digest}")), TROJAN)?;
                stage.set_mirror("client", "tampered")?;
            }
            Attack::OneKeyStolen => {
                stage.publish_release("log", &ReleaseSpec { signers: vec![2], ..trojan }, now)?;
            }
            Attack::ThresholdStolenUnlogged => {
                stage.publish_release("log", &honest, now)?;
                stage.copy_log("unlogged")?;
                let path = stage.directory.join("unlogged").join(entries_path(0, 2));
                let mut bundle = fs::read(&path)?;
                bundle.truncate(2 + usize::from(u16::from_be_bytes([bundle[0], bundle[1]])));
                let note = stage.sign_release_at(&trojan, now)?.1.to_string();
                bundle.extend((note.len() as u16).to_be_bytes());
                bundle.extend(note.as_bytes());
                overwrite(&path, &bundle)?;
                stage.set_mirror("client", "unlogged")?;
            }
            Attack::ThresholdStolenLogged => {
                stage.publish_release("log", &trojan, now)?;
            }
            Attack::ForkedLog | Attack::FlashFork | Attack::EquivocatingPeer => {
                stage.copy_log("fork")?;
                stage.publish_release("log", &honest, now)?;
                stage.publish_release("fork", &trojan, now)?;
                stage.set_mirror("client", "fork")?;
            }
            Attack::OneBehind => {
                stage.copy_log("old")?;
                stage.set_mirror(PEER_NAMES[2], "old")?;
                stage.publish_release("log", &honest, now)?;
            }
            Attack::OneRegressed => {
                stage.copy_log("old")?;
                let backup = stage.directory.join("backup");
                copy_tree(&stage.peer_state(3).join("peer"), &backup.join("peer"))?;
                stage.publish_release("log", &honest, now)?;
                cast.poll_all_peers().await?;
                cast.run_client_check().await?;
                stage.set_mirror(PEER_NAMES[3], "old")?;
                cast.restart_peer_from(3, &backup).await?;
            }
            Attack::FrozenMirror => {
                stage.copy_log("old")?;
                stage.set_mirror("client", "old")?;
                stage.publish_release("log", &honest, now)?;
            }
            Attack::RolledBackMirror => {
                stage.copy_log("old")?;
                stage.publish_release("log", &honest, now)?;
                cast.poll_all_peers().await?;
                cast.run_client_check().await?;
                stage.set_mirror("client", "old")?;
            }
            Attack::Expired => {
                let good_for = cast.settle() / 2;
                stage.publish_release(
                    "log",
                    &ReleaseSpec { valid_for: good_for, ..honest },
                    now,
                )?;
                cast.advance_time(good_for + SECOND).await;
            }
            Attack::DuplicateSequence => {
                stage.publish_release("log", &honest, now)?;
                stage.publish_release("log", &trojan, now)?;
            }
            Attack::OneSilent | Attack::RelayingPeer => {
                stage.publish_release("log", &honest, now)?;
            }
        }
        match self {
            Attack::FlashFork => stage.set_peer_mirrors("fork")?,
            // The victim is a peer itself, and its mirrors are the attacker's in both roles.
            Attack::EquivocatingPeer => stage.set_mirror(PEER_NAMES[VICTIM], "fork")?,
            _ => {}
        }
        cast.poll_all_peers().await?;
        match self {
            Attack::EquivocatingPeer => equivocate_to_all(cast).await,
            Attack::OneSilent => cast.stop_peer(1).await,
            Attack::RelayingPeer => cast.relay_peer(4, 0).await,
            _ => Ok(()),
        }
    }

    /// What happens while the client waits for `settle`.
    async fn act_during_settle(self, cast: &mut impl DemoBackend) -> Result<(), TestError> {
        match self {
            Attack::FlashFork => cast.fixture().set_peer_mirrors("log")?,
            Attack::ThresholdStolenLogged => {
                cast.fixture().publish_withdrawal(
                    "log",
                    2,
                    "Not ours: two keys were stolen.",
                    cast.now(),
                )?;
            }
            _ => {}
        }
        cast.poll_all_peers().await
    }
}

/// Where the victim sits in the circle, when it is a peer itself.
const VICTIM: usize = PEERS - 1;

/// The victim shows its fork to the circle. Nobody cosigns it; the first one who compares has the
/// evidence and passes it on.
async fn equivocate_to_all(cast: &mut impl DemoBackend) -> Result<(), TestError> {
    if cast.run_peer_check(0).await?.exit != Exit::Fork {
        return Err("a peer compared the victim's head with its own and saw no fork".into());
    }
    cast.poll_all_peers().await?;
    let honest = Some(cast.fixture().head_of("log")?);
    for peer in 0..VICTIM {
        if cast.fixture().peer_head(peer)? != honest {
            return Err("an honest peer left the honest log".into());
        }
    }
    Ok(())
}
