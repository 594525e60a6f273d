//! Faults: what goes wrong besides the adversary and outages, on which nodes, and when.
//!
//! The affected nodes are drawn for each kind and each node. Faults add up: a node may be cut, have
//! a dead mirror and replay at the same time. Of two faults about one thing (a peer's answers, or a
//! mirror's files), the first in the scenario is played.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Millis;

/// A fault. It affects each node independently, with a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The probability that the fault affects a node, drawn independently for each node.
    pub share: f64,
    /// When the fault begins.
    pub from: Millis,
    /// When the fault ends. At this moment itself, the fault is over.
    pub until: Millis,
}

/// A kind of fault: what goes wrong on an affected node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// As a peer, the node accepts connections and never answers.
    Silent,
    /// The peer stops in the middle of its answer.
    Stall,
    /// The peer answers with bytes that are no message.
    Malformed,
    /// The peer answers with many more bytes than an answer may have.
    Flood,
    /// The peer repeats the first answer that it gave during the fault.
    Replay,
    /// The peer's clock is an hour slow when it cosigns.
    Slow,
    /// The peer's clock is an hour fast when it cosigns.
    Fast,
    /// The peer cosigns the head of an hour before.
    StaleHead,
    /// The peer cosigns the head of an hour before in every other minute, and the current head in
    /// the rest.
    Equivocate,
    /// The peer passes each question on to another peer, and returns that peer's answer.
    Relay,
    /// The peer sends a head that the log never signed.
    Forge,
    /// The peer sends evidence that proves nothing.
    FalseEvidence,
    /// The peer's answers about tiles are wrong.
    BadTiles,
    /// The node's mirror has one wrong bit in every file but the checkpoint.
    MirrorCorrupt,
    /// The node's mirror sends more bytes than a file may have.
    MirrorEndless,
    /// The node's mirror has no file.
    MirrorDead,
    /// The node's mirror shows the log of an hour before.
    MirrorStale,
    /// The node's mirror takes longer than any client or witness waits.
    MirrorSlow,
    /// The node's mirror replaces the last entry of each entry bundle by a release that was signed
    /// with stolen keys and never logged.
    MirrorTrojan,
    /// The client is killed at a random disk step in most cycles, and started again.
    Crash,
    /// The client reaches no peer; other nodes reach the node.
    Cut,
    /// The witness is killed at a random disk step in most polls that write, and started again.
    PeerCrash,
    /// The node is away: it neither polls, nor answers, nor begins rounds. Unfinished work is lost.
    /// When the node returns, its disk is as it was.
    Off,
    /// No other node reaches the node; the node reaches other nodes.
    Unreachable,
    /// Affected nodes reach only affected nodes, and only affected nodes reach them. All nodes
    /// still reach their mirrors.
    Partition,
}

impl FaultKind {
    /// All kinds, in order of declaration.
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

    /// Whether the fault is about a node's answers as a peer.
    pub fn is_peer_fault(self) -> bool {
        self <= FaultKind::BadTiles
    }

    /// Whether the fault leaves a peer without a valid answer about its head while it lasts.
    pub fn prevents_valid_answer(self) -> bool {
        use FaultKind::{FalseEvidence, Fast, Flood, Forge, Malformed, Relay, Silent, Slow, Stall};
        matches!(
            self,
            Silent | Stall | Malformed | Flood | Slow | Fast | Relay | Forge | FalseEvidence
        )
    }

    /// Whether the population tier plays the fault. Other faults need bytes, disk steps or reading
    /// times, which only the full tier has.
    pub fn is_played_by_population(self) -> bool {
        use FaultKind::{Cut, Equivocate, Fast, Replay, Silent, Slow, StaleHead};
        use FaultKind::{MirrorDead, MirrorStale, Off, Partition, Unreachable};
        matches!(
            self,
            Silent | StaleHead | Equivocate | Replay | Slow | Fast | MirrorDead | MirrorStale
        ) || matches!(self, Cut | Off | Unreachable | Partition)
    }

    /// Whether the fault is about the files that a node's mirror sends.
    pub fn is_mirror_fault(self) -> bool {
        (FaultKind::MirrorCorrupt..=FaultKind::MirrorTrojan).contains(&self)
    }
}

/// Formats the fault's name in scenario files.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
