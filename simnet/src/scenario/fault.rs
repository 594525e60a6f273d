//! What goes wrong besides the adversary: who misbehaves how, from when until when.
//!
//! Whom a fault befalls is drawn for each kind and each node. Faults add up: a node may be cut, have a
//! dead mirror and replay at one time. Of two that are about one thing (what it answers as a peer,
//! what its mirror sends), the first in the scenario is played.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Millis;

/// A fault, and whom it befalls: every node by itself with a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The probability for each node.
    pub share: f64,
    /// From when.
    pub from: Millis,
    /// Until when.
    pub until: Millis,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// As a peer it accepts connections and says nothing.
    Silent,
    /// It stops in the middle of its answer.
    Stall,
    /// It answers with rubbish.
    Malformed,
    /// It answers with much more than an answer.
    Flood,
    /// It gives the first answer it ever gave, again and again.
    Replay,
    /// Its clock is an hour slow when it cosigns.
    Slow,
    /// Its clock is an hour fast when it cosigns.
    Fast,
    /// It cosigns a head that its mirrors showed an hour before.
    StaleHead,
    /// Every other answer is that of an hour before: it changes its story.
    Equivocate,
    /// It passes questions on to another peer and gives that one's answers.
    Relay,
    /// It cosigns a head that the log never signed.
    Forge,
    /// It sends evidence that proves nothing.
    FalseEvidence,
    /// Its answers about tiles are wrong.
    BadTiles,
    /// Its mirror has one bit wrong in every file but the checkpoint.
    MirrorCorrupt,
    /// Its mirror sends more than was asked for.
    MirrorEndless,
    /// Its mirror has nothing.
    MirrorDead,
    /// Its mirror shows the checkpoint of an hour before.
    MirrorStale,
    /// Its mirror takes longer than anybody waits.
    MirrorSlow,
    /// Its mirror has a release in place of the last entry, signed with stolen keys and never logged.
    MirrorTrojan,
    /// As a client it is killed at a random step on its disk, in most cycles, and started again.
    Crash,
    /// As a client it reaches nobody; it can be reached.
    Cut,
    /// As a peer it is killed at a random step on its disk, in most polls that have something to
    /// write, and started again.
    PeerCrash,
    /// The whole node is away: it neither polls, nor answers, nor calls the roll. What it was doing
    /// when it went is lost; when it comes back, its disk is as it was.
    Off,
    /// Nobody reaches it; it reaches others.
    Unreachable,
    /// Those befallen reach one another and nobody else, and nobody else reaches them.
    Partition,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 25] = [
        FaultKind::Silent,
        FaultKind::Stall,
        FaultKind::Malformed,
        FaultKind::Flood,
        FaultKind::Replay,
        FaultKind::Slow,
        FaultKind::Fast,
        FaultKind::StaleHead,
        FaultKind::Equivocate,
        FaultKind::Relay,
        FaultKind::Forge,
        FaultKind::FalseEvidence,
        FaultKind::BadTiles,
        FaultKind::MirrorCorrupt,
        FaultKind::MirrorEndless,
        FaultKind::MirrorDead,
        FaultKind::MirrorStale,
        FaultKind::MirrorSlow,
        FaultKind::MirrorTrojan,
        FaultKind::Crash,
        FaultKind::Cut,
        FaultKind::PeerCrash,
        FaultKind::Off,
        FaultKind::Unreachable,
        FaultKind::Partition,
    ];

    /// Whether it is about what a node answers as a peer.
    pub fn is_peer_fault(self) -> bool {
        self <= FaultKind::BadTiles
    }

    /// Whether a peer has no good answer about its view as long as this lasts.
    pub fn prevents_valid_answer(self) -> bool {
        use FaultKind::{FalseEvidence, Fast, Flood, Forge, Malformed, Relay, Silent, Slow, Stall};
        matches!(
            self,
            Silent | Stall | Malformed | Flood | Slow | Fast | Relay | Forge | FalseEvidence
        )
    }

    /// Whether a population of numbers plays it. All others are made of bytes, of steps on a disk or of
    /// time that reading takes, and only the code that ships has those.
    pub fn is_played_by_population(self) -> bool {
        use FaultKind::{Cut, Equivocate, Fast, Replay, Silent, Slow, StaleHead};
        use FaultKind::{MirrorDead, MirrorStale, Off, Partition, Unreachable};
        matches!(
            self,
            Silent | StaleHead | Equivocate | Replay | Slow | Fast | MirrorDead | MirrorStale
        ) || matches!(self, Cut | Off | Unreachable | Partition)
    }

    /// Whether it is about what a node's mirrors send.
    pub fn is_mirror_fault(self) -> bool {
        (FaultKind::MirrorCorrupt..=FaultKind::MirrorTrojan).contains(&self)
    }
}

/// As it is written in files.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
