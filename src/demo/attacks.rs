//! The attacks of the threat model, each on a copy of a world in which release 1 is installed.

use std::fs;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::Broken;
use super::world::{Draft, PEERS, World, copy_tree, overwrite};
use crate::net::{Listener as _, Mirror, Transport as _, wire};
use crate::peer::Polled;
use crate::update::{Failure, Outcome};
use crate::verify::tile::entries_path;
use crate::verify::{Evidence, Hash, Refusal};

/// One attack, and how it ended.
#[derive(Debug)]
pub struct Attacked {
    /// What the attacker does.
    pub title: &'static str,
    /// What the client said.
    pub said: String,
    /// Refused, for the expected reason, with release 1 still installed.
    pub held: bool,
    /// The evidence it left.
    pub evidence: Option<Box<Evidence>>,
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

const MINUTE: Duration = Duration::from_secs(60);
/// What attackers want installed.
const TROJAN: &[u8] = b"#!/bin/sh\necho trojan\n";

impl Attack {
    /// All of them.
    pub const ALL: [Attack; 14] = [
        Attack::TamperedArtifact,
        Attack::OneKeyStolen,
        Attack::ThresholdStolenUnlogged,
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

    /// Runs the attack on a world in which release 1 is installed and everybody agrees, and
    /// lets the client update.
    pub async fn run(self, mut world: World) -> Result<Attacked, Broken> {
        world.write_config()?;
        self.prepare(&mut world).await?;
        // Twice, `settle` apart: what is refused only for want of time would install now.
        let mut ended = world.update().await.1;
        if matches!(ended, Err(Failure::Refused(Refusal::Settling { .. }))) {
            world.advance(61 * MINUTE);
            self.meanwhile(&mut world).await?;
            ended = world.update().await.1;
        }
        let first = world.installed()?.is_some_and(|installed| installed.sequence == 1);
        let (said, expected, evidence) = match ended {
            Ok(Outcome::Installed(installed)) => {
                (format!("INSTALLED {}", installed.release), false, None)
            }
            Ok(_) => ("nothing to install".to_owned(), false, None),
            Err(Failure::Error(error)) => (error.to_string(), false, None),
            Err(Failure::Refused(refusal)) => {
                let expected = self.expects(&refusal);
                let said = refusal.to_string();
                let evidence = if let Refusal::Fork(found) = refusal { Some(found) } else { None };
                (said, expected, evidence)
            }
        };
        Ok(Attacked { title: self.title(), said, held: first && expected, evidence })
    }

    fn expects(self, refusal: &Refusal) -> bool {
        match self {
            Attack::TamperedArtifact => matches!(refusal, Refusal::Artifact(_)),
            Attack::OneKeyStolen => {
                matches!(refusal, Refusal::Threshold { signed: 1, threshold: 2 })
            }
            Attack::ThresholdStolenUnlogged => matches!(refusal, Refusal::NotLogged(_)),
            Attack::ForkedLog | Attack::FlashFork | Attack::Laundering => {
                matches!(refusal, Refusal::Fork(_))
            }
            Attack::OneSilent | Attack::OneBehind | Attack::OneRegressed | Attack::EchoPeer => {
                matches!(refusal, Refusal::Incomplete(missing) if missing.len() == 1)
            }
            Attack::FrozenMirror => matches!(refusal, Refusal::Stale { .. }),
            Attack::RolledBackMirror => matches!(refusal, Refusal::MirrorRollback { .. }),
            Attack::Expired => matches!(refusal, Refusal::Expired { .. }),
            Attack::Conflict => matches!(refusal, Refusal::Conflict { .. }),
        }
    }

    async fn prepare(self, world: &mut World) -> Result<(), Broken> {
        let honest = Draft::new(2, "1.1.0", b"#!/bin/sh\necho hello again\n");
        let trojan = Draft::new(2, "1.1.0", TROJAN);
        match self {
            Attack::TamperedArtifact => {
                world.publish(&honest)?;
                world.copy_log("tampered")?;
                let digest = Hash::of(&honest.artifact);
                overwrite(&world.directory.join(format!("tampered/artifact/{digest}")), TROJAN)?;
                world.show("client", "tampered")?;
            }
            Attack::OneKeyStolen => {
                world.publish(&Draft { signers: vec![2], ..trojan })?;
            }
            Attack::ThresholdStolenUnlogged => {
                world.publish(&honest)?;
                world.copy_log("unlogged")?;
                let path = world.directory.join("unlogged").join(entries_path(0, 2));
                let mut bundle = fs::read(&path)?;
                bundle.truncate(2 + usize::from(u16::from_be_bytes([bundle[0], bundle[1]])));
                let note = world.sign(&trojan)?.1.to_string();
                bundle.extend((note.len() as u16).to_be_bytes());
                bundle.extend(note.as_bytes());
                overwrite(&path, &bundle)?;
                world.show("client", "unlogged")?;
            }
            Attack::ForkedLog => {
                world.copy_log("fork")?;
                world.publish(&honest)?;
                world.publish_to("fork", &trojan)?;
                world.show("client", "fork")?;
            }
            Attack::FlashFork => {
                world.copy_log("fork")?;
                world.publish(&honest)?;
                world.publish_to("fork", &trojan)?;
                world.show("client", "fork")?;
                world.show_peers("fork")?;
            }
            Attack::Laundering => return launder(world, &honest, &trojan).await,
            Attack::OneBehind => {
                world.copy_log("old")?;
                world.show(World::peer_name(2), "old")?;
                world.publish(&honest)?;
            }
            Attack::OneRegressed => {
                world.copy_log("old")?;
                let backup = world.directory.join("backup");
                copy_tree(&world.peer_state(3), &backup)?;
                world.publish(&honest)?;
                world.poll_all().await?;
                world.check().await.1.err();
                world.restart_from(3, &backup)?;
                world.show(World::peer_name(3), "old")?;
            }
            Attack::FrozenMirror => {
                world.copy_log("old")?;
                world.show("client", "old")?;
                world.publish(&honest)?;
            }
            Attack::RolledBackMirror => {
                world.copy_log("old")?;
                world.publish(&honest)?;
                world.poll_all().await?;
                world.check().await.1.err();
                world.show("client", "old")?;
            }
            Attack::Expired => {
                world.publish(&Draft { good_for: 30 * MINUTE, ..honest })?;
                world.advance(31 * MINUTE);
            }
            Attack::Conflict => {
                world.publish(&honest)?;
                world.publish(&trojan)?;
            }
            Attack::OneSilent | Attack::EchoPeer => {
                world.publish(&honest)?;
            }
        }
        world.poll_all().await?;
        match self {
            Attack::OneSilent => world.stop(1),
            Attack::EchoPeer => {
                let (network, other) = (world.network.clone(), world.address(0));
                world.replace(4, |mut listener| async move {
                    while let Ok(mut stream) = listener.accept().await {
                        let Ok(Some(question)) = wire::receive(&mut stream).await else { continue };
                        let Ok(mut honest) = network.dial(&other).await else { continue };
                        if wire::send(&mut honest, &question[..]).await.is_ok()
                            && let Ok(Some(answer)) = wire::receive(&mut honest).await
                        {
                            stream.write_all(&answer[..]).await.ok();
                        }
                    }
                });
            }
            _ => {}
        }
        Ok(())
    }

    /// What happens while the client waits for `settle`.
    async fn meanwhile(self, world: &mut World) -> Result<(), Broken> {
        if self == Attack::FlashFork {
            world.show_peers("log")?;
        }
        world.poll_all().await?;
        Ok(())
    }
}

/// The victim, a peer itself, shows its fork to the circle. Nobody cosigns it; the first one who
/// compares has the evidence and passes it on.
async fn launder(world: &mut World, honest: &Draft, trojan: &Draft) -> Result<(), Broken> {
    world.copy_log("fork")?;
    world.publish(honest)?;
    world.publish_to("fork", trojan)?;
    world.show("client", "fork")?;
    // The circle's seat 4 is the victim's own peer role: its mirrors are the attacker's as well.
    let victim = PEERS - 1;
    world.show(World::peer_name(victim), "fork")?;
    world.poll_all().await?;
    let mut config = world.config.clone();
    config.state = world.peer_state(0);
    config.install_root = world.directory.join("peers/installed");
    config.mirrors = vec![Mirror::directory(world.directory.join("log"))];
    let (_, ended) = world.check_as(&config).await;
    if !matches!(ended, Err(Failure::Refused(Refusal::Fork(_)))) {
        return Err("a peer compared the victim's head with its own and saw no fork".into());
    }
    for peer in 0..victim {
        if !matches!(world.poll(peer).await?, Polled::Fresh(head) if head == world.head_of("log")?)
        {
            return Err("an honest peer left the honest log".into());
        }
    }
    Ok(())
}
