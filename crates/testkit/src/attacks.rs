//! The attacks of the threat model. Each runs on a copy of a fixture with release 1 installed.

use std::fs;
use std::time::Duration;

use unanimity_protocol::log_path::entries_path;
use unanimity_protocol::{Evidence, Hash};
use unanimity_report::Exit;

use crate::{DemoBackend, PEER_NAMES, PEERS, ReleaseSpec, TestError, copy_tree, overwrite};

/// The result of one attack.
#[derive(Debug)]
pub struct AttackResult {
    /// What the attacker does, in a line.
    pub title: &'static str,
    /// The client's message at the end.
    pub message: String,
    /// Whether the attack failed: the client refused for the expected reason and release 1 is still
    /// installed, or `updated` is set.
    pub resisted: bool,
    /// Whether the client installed the honest release in spite of the attack.
    pub updated: bool,
    /// The evidence that the client stored.
    pub evidence: Option<Evidence>,
}

/// Every attack, in the order in which the demo shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A mirror serves other bytes than the publishers signed.
    TamperedArtifact,
    /// One of the publisher's keys is stolen, and two must sign.
    OneKeyStolen,
    /// The attacker has enough publisher keys, and the client's mirror, but not the log's key.
    ThresholdStolenUnlogged,
    /// The attacker has enough publisher keys, and the log contains the attacker's release. The
    /// publisher finds the entry and withdraws the release.
    ThresholdStolenLogged,
    /// The attacker has the publisher's keys and the log's key, and forks the log for this victim.
    ForkedLog,
    /// As [`Attack::ForkedLog`], and every peer reads the fork, too, for less than `settle`.
    FlashFork,
    /// As [`Attack::ForkedLog`], and the victim passes its fork on to every peer.
    EquivocatingPeer,
    /// One peer does not answer.
    OneSilent,
    /// One peer has not seen the release.
    OneBehind,
    /// One peer cosigns a smaller head than before.
    OneRegressed,
    /// The client's mirror serves an old log.
    FrozenMirror,
    /// The client's mirror returns to an older log than it served before.
    RolledBackMirror,
    /// The release has expired.
    Expired,
    /// The log contains two releases with one sequence.
    DuplicateSequence,
    /// A peer relays the answers of another peer.
    RelayingPeer,
}

/// One second, the resolution of timestamps.
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// The artifact of the publisher's release.
const HONEST: &[u8] = b"#!/bin/sh\necho hello again\n";
/// The artifact of the attacker's release.
const TROJAN: &[u8] = b"#!/bin/sh\necho trojan\n";

impl Attack {
    /// Every attack, in the order of the demo.
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

    /// Returns what the attacker does, in a line.
    pub fn title(self) -> &'static str {
        match self {
            Attack::TamperedArtifact => "a mirror serves a tampered artifact",
            Attack::OneKeyStolen => "one publisher key is stolen (two are needed)",
            Attack::ThresholdStolenUnlogged => "two publisher keys are stolen, the log is not",
            Attack::ThresholdStolenLogged => {
                "two publisher keys are stolen, and the publisher withdraws what they signed"
            }
            Attack::ForkedLog => {
                "publisher keys and log key are stolen: a forked log for this victim"
            }
            Attack::FlashFork => "a forked log, which every peer reads too, for less than settle",
            Attack::EquivocatingPeer => {
                "a forked log, and the victim passes the fork on to every peer"
            }
            Attack::OneSilent => "one peer is silent",
            Attack::OneBehind => "one peer has not seen the release yet",
            Attack::OneRegressed => "one peer cosigns a smaller head than before",
            Attack::FrozenMirror => "the mirror is frozen",
            Attack::RolledBackMirror => "the mirror is rolled back",
            Attack::Expired => "the release has expired",
            Attack::DuplicateSequence => "two different releases have one sequence",
            Attack::RelayingPeer => "a peer relays another peer's answers",
        }
    }

    /// Runs the attack on a fixture in which release 1 is installed and every peer confirms it, and
    /// lets the client update.
    pub async fn run(self, mut backend: impl DemoBackend) -> Result<AttackResult, TestError> {
        self.prepare(&mut backend).await?;
        // Two updates, `settle` apart. The second one would install a release that the first one
        // refused only as settling.
        let mut cycle = backend.run_client_update().await?;
        if cycle.exit == Exit::Settling {
            backend.advance_time(backend.settle() + SECOND).await;
            self.act_during_settle(&mut backend).await?;
            cycle = backend.run_client_update().await?;
        }
        let (exit, peer) = self.expected_result();
        let expected =
            cycle.exit == exit && peer.is_none_or(|peer| cycle.unconfirmed() == [PEER_NAMES[peer]]);
        let fixture = backend.fixture();
        let first = fixture.installed_version()?.is_some_and(|installed| installed.sequence == 1);
        // The client also reads the log from its peers, if the backend's peers serve it.
        let updated = self == Attack::ThresholdStolenUnlogged
            && cycle.exit == Exit::Done
            && fs::read(fixture.install_root().join("current/hello"))? == HONEST;
        Ok(AttackResult {
            title: self.title(),
            message: cycle.message,
            resisted: first && expected || updated,
            updated,
            evidence: backend.fixture().latched_evidence()?,
        })
    }

    /// Returns the expected exit code and, for an attack in which exactly one peer must not
    /// confirm, the number of that peer.
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

    async fn prepare(self, backend: &mut impl DemoBackend) -> Result<(), TestError> {
        let (fixture, now) = (backend.fixture().clone(), backend.now());
        let honest = ReleaseSpec::new(2, "1.1.0", HONEST);
        let trojan = ReleaseSpec::new(2, "1.1.0", TROJAN);
        match self {
            Attack::TamperedArtifact => {
                fixture.publish_release("log", &honest, now)?;
                fixture.copy_log("tampered")?;
                let digest = Hash::digest(&honest.artifact);
                overwrite(&fixture.directory.join(format!("tampered/artifact/{digest}")), TROJAN)?;
                fixture.set_mirror("client", "tampered")?;
            }
            Attack::OneKeyStolen => {
                fixture.publish_release("log", &ReleaseSpec { signers: vec![2], ..trojan }, now)?;
            }
            Attack::ThresholdStolenUnlogged => {
                fixture.publish_release("log", &honest, now)?;
                fixture.copy_log("unlogged")?;
                let path = fixture.directory.join("unlogged").join(entries_path(0, 2));
                let mut bundle = fs::read(&path)?;
                bundle.truncate(2 + usize::from(u16::from_be_bytes([bundle[0], bundle[1]])));
                let note = fixture.sign_release_at(&trojan, now)?.1.to_string();
                bundle.extend((note.len() as u16).to_be_bytes());
                bundle.extend(note.as_bytes());
                overwrite(&path, &bundle)?;
                fixture.set_mirror("client", "unlogged")?;
            }
            Attack::ThresholdStolenLogged => {
                fixture.publish_release("log", &trojan, now)?;
            }
            Attack::ForkedLog | Attack::FlashFork | Attack::EquivocatingPeer => {
                fixture.copy_log("fork")?;
                fixture.publish_release("log", &honest, now)?;
                fixture.publish_release("fork", &trojan, now)?;
                fixture.set_mirror("client", "fork")?;
            }
            Attack::OneBehind => {
                fixture.copy_log("old")?;
                fixture.set_mirror(PEER_NAMES[2], "old")?;
                fixture.publish_release("log", &honest, now)?;
            }
            Attack::OneRegressed => {
                fixture.copy_log("old")?;
                let backup = fixture.directory.join("backup");
                copy_tree(&fixture.peer_state(3).join("peer"), &backup.join("peer"))?;
                fixture.publish_release("log", &honest, now)?;
                backend.poll_all_peers().await?;
                backend.run_client_check().await?;
                fixture.set_mirror(PEER_NAMES[3], "old")?;
                backend.restart_peer_from(3, &backup).await?;
            }
            Attack::FrozenMirror => {
                fixture.copy_log("old")?;
                fixture.set_mirror("client", "old")?;
                fixture.publish_release("log", &honest, now)?;
            }
            Attack::RolledBackMirror => {
                fixture.copy_log("old")?;
                fixture.publish_release("log", &honest, now)?;
                backend.poll_all_peers().await?;
                backend.run_client_check().await?;
                fixture.set_mirror("client", "old")?;
            }
            Attack::Expired => {
                let valid_for = backend.settle() / 2;
                fixture.publish_release("log", &ReleaseSpec { valid_for, ..honest }, now)?;
                backend.advance_time(valid_for + SECOND).await;
            }
            Attack::DuplicateSequence => {
                fixture.publish_release("log", &honest, now)?;
                fixture.publish_release("log", &trojan, now)?;
            }
            Attack::OneSilent | Attack::RelayingPeer => {
                fixture.publish_release("log", &honest, now)?;
            }
        }
        match self {
            Attack::FlashFork => fixture.set_peer_mirrors("fork")?,
            // The victim is a peer, too. The attacker controls its mirrors in both roles.
            Attack::EquivocatingPeer => fixture.set_mirror(PEER_NAMES[VICTIM], "fork")?,
            _ => {}
        }
        backend.poll_all_peers().await?;
        match self {
            Attack::EquivocatingPeer => equivocate_to_all(backend).await,
            Attack::OneSilent => backend.stop_peer(1).await,
            Attack::RelayingPeer => backend.relay_peer(4, 0).await,
            _ => Ok(()),
        }
    }

    /// Continues the attack while the client waits for `settle`.
    async fn act_during_settle(self, backend: &mut impl DemoBackend) -> Result<(), TestError> {
        match self {
            Attack::FlashFork => backend.fixture().set_peer_mirrors("log")?,
            Attack::ThresholdStolenLogged => {
                backend.fixture().publish_withdrawal(
                    "log",
                    2,
                    "Not ours: two keys were stolen.",
                    backend.now(),
                )?;
            }
            _ => {}
        }
        backend.poll_all_peers().await
    }
}

/// The number of the peer that is the victim of [`Attack::EquivocatingPeer`].
const VICTIM: usize = PEERS - 1;

/// Lets peer 0 ask every peer, so that the victim shows its fork. Fails unless peer 0 finds the
/// fork, and every honest peer keeps the head of the honest log.
async fn equivocate_to_all(backend: &mut impl DemoBackend) -> Result<(), TestError> {
    if backend.run_peer_check(0).await?.exit != Exit::Fork {
        return Err("a peer compared the victim's head with its own head and found no fork".into());
    }
    backend.poll_all_peers().await?;
    let honest = Some(backend.fixture().head_of("log")?);
    for peer in 0..VICTIM {
        if backend.fixture().peer_head(peer)? != honest {
            return Err("an honest peer does not have the head of the honest log any more".into());
        }
    }
    Ok(())
}
