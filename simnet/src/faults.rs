//! What goes wrong besides the adversary: who misbehaves how, from when until when.
//!
//! Whom a fault befalls is drawn for each kind and each node. Faults add up: a node may be cut, have a
//! dead mirror and replay at one time. Of two that are about one thing (what it answers as a peer,
//! what its mirror sends), the first in the scenario is played.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::Millis;
use crate::environment::Environment;
use crate::trace::View;

/// A fault, and whom it befalls: every node by itself with a probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
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
pub enum Kind {
    /// As a peer it accepts connections and says nothing.
    Silent,
    /// It stops in the middle of its answer.
    Stall,
    /// It answers with rubbish.
    Garble,
    /// It answers with much more than an answer.
    Flood,
    /// It gives the first answer it ever gave, again and again.
    Replay,
    /// Its clock is an hour slow when it cosigns.
    Slow,
    /// Its clock is an hour fast when it cosigns.
    Fast,
    /// It cosigns a head that its mirrors showed an hour before.
    Lag,
    /// Every other answer is that of an hour before: it changes its story.
    Story,
    /// It passes questions on to another peer and gives that one's answers.
    Echo,
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

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 25] = [
        Kind::Silent,
        Kind::Stall,
        Kind::Garble,
        Kind::Flood,
        Kind::Replay,
        Kind::Slow,
        Kind::Fast,
        Kind::Lag,
        Kind::Story,
        Kind::Echo,
        Kind::Forge,
        Kind::FalseEvidence,
        Kind::BadTiles,
        Kind::MirrorCorrupt,
        Kind::MirrorEndless,
        Kind::MirrorDead,
        Kind::MirrorStale,
        Kind::MirrorSlow,
        Kind::MirrorTrojan,
        Kind::Crash,
        Kind::Cut,
        Kind::PeerCrash,
        Kind::Off,
        Kind::Unreachable,
        Kind::Partition,
    ];

    /// Whether it is about what a node answers as a peer.
    pub fn is_of_peer(self) -> bool {
        self <= Kind::BadTiles
    }

    /// Whether a peer has no good answer about its view as long as this lasts.
    pub fn is_mute(self) -> bool {
        use Kind::{Echo, FalseEvidence, Fast, Flood, Forge, Garble, Silent, Slow, Stall};
        matches!(self, Silent | Stall | Garble | Flood | Slow | Fast | Echo | Forge | FalseEvidence)
    }

    /// Whether a population of numbers plays it. All others are made of bytes, of steps on a disk or of
    /// time that reading takes, and only the code that ships has those.
    pub fn is_of_numbers(self) -> bool {
        use Kind::{Cut, Fast, Lag, Replay, Silent, Slow, Story};
        use Kind::{MirrorDead, MirrorStale, Off, Partition, Unreachable};
        matches!(self, Silent | Lag | Story | Replay | Slow | Fast | MirrorDead | MirrorStale)
            || matches!(self, Cut | Off | Unreachable | Partition)
    }

    /// Whether it is about what a node's mirrors send.
    pub fn is_of_mirror(self) -> bool {
        (Kind::MirrorCorrupt..=Kind::MirrorTrojan).contains(&self)
    }
}

/// As it is written in files.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

const HOUR: Millis = 3_600_000;

impl Environment {
    /// The faults that befall a node at a time, in the scenario's order.
    pub fn faults(&self, node: u32, at: Millis) -> impl Iterator<Item = Kind> {
        self.lasting(node, at, at).map(|fault| fault.kind)
    }

    /// The faults that befall a node all the time, both ends included.
    fn lasting(&self, node: u32, from: Millis, until: Millis) -> impl Iterator<Item = &Fault> {
        let lasts = move |fault: &&Fault| fault.from <= from && until < fault.until;
        self.scenario.faults.iter().filter(lasts).filter(move |fault| self.befalls(fault, node))
    }

    /// What is wrong with how a peer answers a client that connects at a time. A colluding peer
    /// takes care to lie well.
    pub fn peer_fault(&self, peer: u32, client: u32, at: Millis) -> Option<Kind> {
        let kind = self.faults(peer, at).find(|kind| kind.is_of_peer())?;
        (!self.lies_to(peer, client)).then_some(kind)
    }

    /// What is wrong with what a node's mirror sends.
    pub fn mirror_fault(&self, node: u32, at: Millis) -> Option<Kind> {
        self.faults(node, at).find(|kind| kind.is_of_mirror())
    }

    /// Whether a client does not reach a peer, for one and the same reason, all the time from one
    /// moment to another.
    pub fn are_apart(&self, client: u32, peer: u32, from: Millis, until: Millis) -> bool {
        let all = self.scenario.faults.iter();
        let mut lasting = all.filter(|fault| fault.from <= from && until < fault.until);
        lasting.any(|fault| match fault.kind {
            Kind::Cut => self.befalls(fault, client),
            Kind::Unreachable => self.befalls(fault, peer),
            Kind::Partition => self.befalls(fault, client) != self.befalls(fault, peer),
            _ => false,
        })
    }

    /// Whether a node is off at a time.
    pub fn is_off(&self, node: u32, at: Millis) -> bool {
        self.goes_off(node, at, at).is_some()
    }

    /// The first moment, of those from one to another, at which a node is off.
    pub fn goes_off(&self, node: u32, from: Millis, until: Millis) -> Option<Millis> {
        self.off(node)
            .filter(|off| off.start <= until && from < off.end)
            .map(|off| off.start.max(from))
            .min()
    }

    fn off(&self, node: u32) -> impl Iterator<Item = Range<Millis>> {
        let faults = self.scenario.faults.iter().filter(|fault| fault.kind == Kind::Off);
        faults.filter(move |fault| self.befalls(fault, node)).map(|fault| fault.from..fault.until)
    }

    /// When a node is off, in order of time. Absences that touch are one.
    pub fn absences(&self, node: u32) -> Vec<Range<Millis>> {
        let mut off: Vec<Range<Millis>> = self.off(node).filter(|off| !off.is_empty()).collect();
        off.sort_by_key(|off| off.start);
        let mut absences: Vec<Range<Millis>> = Vec::new();
        for off in off {
            match absences.last_mut() {
                Some(last) if off.start <= last.end => last.end = last.end.max(off.end),
                _ => absences.push(off),
            }
        }
        absences
    }

    /// The view that a lagging peer cosigns, or one with two stories in every other minute: the log of
    /// an hour before.
    pub fn outdated(&self, kind: Kind, at: Millis) -> Option<View> {
        let is_odd = (at / 60_000) % 2 == 1;
        let tells = kind == Kind::Lag || kind == Kind::Story && is_odd;
        tells.then(|| self.an_hour_before(at))
    }

    /// What an honest mirror showed an hour before.
    pub fn an_hour_before(&self, at: Millis) -> View {
        View { chain: 0, size: self.log_size(at.saturating_sub(HOUR)) }
    }

    /// Whether a node, as a peer, is ever faulty.
    pub fn misbehaves(&self, node: u32) -> bool {
        let mut faults = self.scenario.faults.iter();
        faults.any(|fault| fault.kind.is_of_peer() && self.befalls(fault, node))
    }

    /// Drawn for each kind: without one fault, the others befall whom they did.
    fn befalls(&self, fault: &Fault, node: u32) -> bool {
        self.faulty.unit(node.into(), fault.kind as u64) < fault.share
    }
}
