//! Rules that must hold in every world, and the checker that compares events with them.
//!
//! The checker knows events, peer lists, faults and the adversary's nodes. It knows nothing of the
//! code that caused the events.

use std::fmt;

use crate::Millis;
use crate::environment::Environment;
use crate::scenario::fault::FaultKind;
use crate::scenario::{AttackScenario, Scenario, Shape};
use crate::trace::{CycleResult, Event, EventKind, EventObserver, TraceHead};

/// A broken rule, and the event that broke it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The broken rule.
    pub rule: Rule,
    /// The event that broke it.
    pub event: Event,
}

/// A rule that must hold in every world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A peer cosigns only heads that its own mirror has shown.
    OwnMirror,
    /// An installed entry is a release of the log or of the fork, whichever the event names.
    Logged,
    /// Each honest peer of a node covered a release `settle` before the node installs it, and still
    /// covers it then.
    Confirmed,
    /// No cycle is unanimous if a peer could not have given a valid answer during the cycle.
    Everyone,
    /// No client reports that nothing is new while every peer covers a release that the client
    /// lacks.
    Complete,
    /// No release installs that was withdrawn in an honest peer's head when the cycle began. No
    /// client reports a withdrawal of its installed release before the log has it.
    Withdrawn,
    /// A node that installed an entry of the log after the split never installs from the fork, and
    /// the reverse.
    OneChain,
    /// A node that is off does nothing, and ends nothing that it began before.
    Away,
    /// Installed sequences only grow.
    Forwards,
    /// No honest log is ever called a fork.
    NoFalseAlarm,
    /// A node with evidence of a fork installs nothing more.
    Latched,
    /// Once all faults are over, every node installs the newest release that had enough time.
    Live,
    /// Once all faults are over, a victim of a fork has evidence, if it asks an honest peer whose
    /// head is larger than the common part of both chains.
    Noticed,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at, node, kind } = self.event;
        write!(f, "{:?} does not hold: node {node} at {at} ms: {kind:?}", self.rule)
    }
}

/// Checks every event against the rules.
pub struct RuleChecker<'a> {
    environment: &'a Environment,
    nodes: Vec<NodeHistory>,
    /// The violations so far.
    pub violations: Vec<Violation>,
}

/// The past events of one node.
#[derive(Clone, Default)]
struct NodeHistory {
    /// The time of each poll, and the head that the node cosigned after the poll.
    polled: Vec<(Millis, Option<TraceHead>)>,
    installed: Option<(u32, u8)>,
    latched: bool,
}

impl<'a> RuleChecker<'a> {
    /// A checker for a world that has not begun.
    pub fn new(environment: &'a Environment) -> RuleChecker<'a> {
        let nodes = vec![NodeHistory::default(); environment.scenario.nodes as usize];
        RuleChecker { environment, nodes, violations: Vec::new() }
    }

    /// Checks the rules `Live` and `Noticed`, which apply at the end of the world, and returns all
    /// violations.
    pub fn finish(mut self) -> Vec<Violation> {
        if let Some((release, deadline)) = self.install_deadline() {
            for node in 0..self.environment.scenario.nodes {
                let history = &self.nodes[node as usize];
                if history.installed.is_none_or(|(index, _)| index < release) {
                    let kind = EventKind::Cycled(0, CycleResult::Incomplete);
                    self.violations.push(Violation {
                        rule: Rule::Live,
                        event: Event { at: deadline, node, kind },
                    });
                }
            }
        }
        if let Some(deadline) = self.notice_deadline() {
            for &victim in self.environment.victims() {
                let honest = |&peer: &u32| {
                    !self.environment.colludes(peer) && !self.environment.is_victim(peer)
                };
                let has_honest_peer = self.environment.peers_of(victim).iter().any(honest);
                if has_honest_peer && !self.nodes[victim as usize].latched {
                    let event = Event {
                        at: deadline,
                        node: victim,
                        kind: EventKind::Cycled(0, CycleResult::UpToDate),
                    };
                    self.record_violation(Rule::Noticed, &event);
                }
            }
        }
        self.violations
    }

    /// The time by which every victim of a lasting fork must have noticed it. `None` for other
    /// attacks, in a world that is not calm, or if honest peers may not have seen enough of the log
    /// before the world ends.
    fn notice_deadline(&self) -> Option<Millis> {
        let scenario = &self.environment.scenario;
        let adversary = scenario.adversary.as_ref()?;
        let starved = match adversary.shape {
            Shape::Starved(lasts) => lasts,
            _ => 0,
        };
        let wait = scenario.poll.1 + 4 * scenario.round_interval.1 + HOUR;
        let latest = scenario.horizon.checked_sub(wait)?;
        let grown = |at: Millis| self.environment.log_size(at) > self.environment.split_size();
        if adversary.attack != AttackScenario::Fork || !self.is_calm() || !grown(latest) {
            return None;
        }
        let (mut before, mut after) = (0, latest);
        while before < after {
            let middle = before.midpoint(after);
            if grown(middle) { after = middle } else { before = middle + 1 }
        }
        let since = after.max(self.faults_end()).max(adversary.start.saturating_add(starved));
        (since <= latest).then_some(since + wait)
    }

    /// Whether every peer can be expected to answer soon: services are always up, no connection is
    /// stuck, few are slow, and no peer fault affects all nodes.
    fn is_calm(&self) -> bool {
        let Scenario { tor, faults, ask_timeout, .. } = &self.environment.scenario;
        let shift = tor.vantage.iter().max().copied().unwrap_or(0);
        self.environment.scenario.availability >= 1.0
            && tor.stuck == 0.0
            && tor.slow.0 < 0.2
            && tor.hiccup.0 < 0.2
            && !tor.days.can_fail()
            && tor.churn < 1.0
            && *ask_timeout >= 4 * (tor.connect.0 + tor.round_trip.0 + shift)
            && faults.iter().all(|fault| !fault.kind.is_peer_fault() || fault.share < 1.0)
    }

    /// The end of the last fault and of the mirrors' outages.
    fn faults_end(&self) -> Millis {
        let scenario = &self.environment.scenario;
        let mirrors = if scenario.mirrors.can_fail() { scenario.mirrors.within.1 } else { 0 };
        scenario.faults.iter().map(|fault| fault.until).fold(mirrors, Millis::max)
    }

    /// The newest release that every node must install, and its deadline. `None` in a world with an
    /// adversary, in a world that is not calm, or if too little time is left after the faults.
    fn install_deadline(&self) -> Option<(u32, Millis)> {
        let scenario = &self.environment.scenario;
        let calm = scenario.adversary.is_none() && self.is_calm();
        // Time to poll, to confirm and to settle, with spare rounds for the after-effects of
        // faults.
        let wait = scenario.poll.1 + scenario.settle + 4 * scenario.round_interval.1 + HOUR;
        let until = scenario.horizon.checked_sub(wait)?;
        let count = self.environment.releases_until(until);
        let release = count.checked_sub(1)?;
        let since = self.environment.release_at(release).max(self.faults_end());
        (calm && since.saturating_add(wait) <= scenario.horizon)
            .then(|| (self.environment.release_index(release), since + wait))
    }

    fn record_violation(&mut self, rule: Rule, event: &Event) {
        self.violations.push(Violation { rule, event: *event });
    }

    fn is_fork_attack(&self) -> bool {
        let adversary = self.environment.scenario.adversary.as_ref();
        adversary.is_some_and(|adversary| adversary.attack.is_fork())
    }

    fn check_install(&mut self, event: &Event, took: Millis, (index, chain): (u32, u8)) {
        let environment = self.environment;
        // A trojan that was logged with the publisher's stolen keys is a release like any other.
        let attacked = environment.scenario.adversary.as_ref().map(|adversary| adversary.start);
        let trojan = attacked <= Some(event.at) && environment.is_trojan(index, chain);
        let count = environment.releases_until(event.at);
        let mut released = (0..count).map(|release| environment.release_index(release));
        let logged = trojan || chain == 0 && released.any(|release| release == index);
        if !logged {
            self.record_violation(Rule::Logged, event);
        }
        if self.nodes[event.node as usize].latched {
            self.record_violation(Rule::Latched, event);
        }
        if let Some((before, other)) = self.nodes[event.node as usize].installed {
            let shared = before < environment.split_size() || index < environment.split_size();
            if other != chain && !shared {
                self.record_violation(Rule::OneChain, event);
            } else if index <= before {
                self.record_violation(Rule::Forwards, event);
            }
        }
        self.nodes[event.node as usize].installed = Some((index, chain));
        for &peer in environment.peers_of(event.node) {
            if environment.lies_to(peer, event.node) || environment.is_ever_faulty_peer(peer) {
                continue;
            }
            if !self.has_confirmed(peer, event.at, index, chain) {
                self.record_violation(Rule::Confirmed, event);
            }
            let held = self.held_head(peer, event.at - took);
            if environment.is_trojan(index, chain)
                && held.is_some_and(|head| environment.is_withdrawn(head.size))
            {
                self.record_violation(Rule::Withdrawn, event);
            }
        }
    }

    /// The head that a node cosigns since its last poll before a time.
    fn held_head(&self, node: u32, before: Millis) -> Option<TraceHead> {
        let polled = &self.nodes[node as usize].polled;
        polled.iter().rfind(|(at, _)| *at < before)?.1
    }

    /// Whether a node runs the trojan, and the log has its withdrawal at `at`.
    fn runs_withdrawn_release(&self, node: u32, at: Millis) -> bool {
        let environment = self.environment;
        let installed = self.nodes[node as usize].installed;
        installed.is_some_and(|(index, chain)| environment.is_trojan(index, chain))
            && environment.is_withdrawn(environment.log_size(at))
    }

    /// Whether a node's mirror has shown a head of this chain and of at least this size until `at`.
    fn has_been_shown(&self, node: u32, at: Millis, head: TraceHead) -> bool {
        let polled = self.nodes[node as usize].polled.iter().map(|(at, _)| *at).chain([at]);
        let mut shown = polled.map(|at| self.environment.mirror_head(node, at));
        shown.any(|shown| shown.chain == head.chain && head.size <= shown.size)
    }

    /// Whether a node has installed every release that all its peers covered when its cycle began.
    /// `true` if one of the peers is not honest, has no head, or holds a head of the fork.
    fn has_every_covered_release(&self, node: u32, began: Millis, at: Millis) -> bool {
        let environment = self.environment;
        let peers = environment.peers_of(node).iter();
        let sizes = peers.map(|&peer| {
            let honest = !environment.colludes(peer) && !environment.is_ever_faulty_peer(peer);
            let head = self.held_head(peer, began)?;
            (honest && head.chain == 0).then_some(head.size)
        });
        let Some(covered) = sizes.min().flatten() else { return true };
        let installed = self.nodes[node as usize].installed.map_or(0, |(index, _)| index);
        let released = environment.releases_until(began).checked_sub(1);
        let newest = (0..=released.unwrap_or(0)).rev().map(|n| environment.release_index(n));
        let newest = newest.filter(|_| released.is_some());
        let trojan = environment.trojan().filter(|(_, chain)| *chain == 0);
        // From the withdrawal on, a client's mirror may show it before any peer does.
        let trojan = trojan.filter(|_| !environment.is_withdrawn(environment.log_size(at)));
        let all = newest.chain(trojan.map(|(index, _)| index));
        let due = all.filter(|index| *index < covered).max();
        due.is_none_or(|index| index <= installed)
    }

    /// Whether every peer of a node could have given a valid answer between `from` and `until`. A
    /// peer could not if, for that whole period, it was faulty, had no fresh head, or was out of
    /// reach.
    fn all_peers_could_answer(&self, node: u32, from: Millis, until: Millis) -> bool {
        let environment = self.environment;
        environment.peers_of(node).iter().all(|&peer| {
            let lies = environment.lies_to(peer, node);
            let mute = |at: Millis| {
                environment
                    .faults_at(peer, at)
                    .find(|kind| kind.is_peer_fault())
                    .is_some_and(FaultKind::prevents_valid_answer)
            };
            let is_mute = !lies && mute(from) && mute(until);
            let has_no_head = !lies
                && !environment.is_ever_faulty_peer(peer)
                && self.lacks_fresh_head(peer, from, until);
            !(is_mute || has_no_head || environment.is_partitioned(node, peer, from, until))
        })
    }

    /// Whether an honest peer had no fresh head from `from` to `until`. Then it never polled, or
    /// its last poll was not after `from`, and found no fresh head or was followed by an absence.
    fn lacks_fresh_head(&self, peer: u32, from: Millis, until: Millis) -> bool {
        let polled = &self.nodes[peer as usize].polled;
        let last = polled.iter().rfind(|(at, _)| *at <= until);
        last.is_none_or(|&(at, head)| {
            at <= from
                && (head.is_none() || self.environment.first_offline_at(peer, at, from).is_some())
        })
    }

    /// Whether an honest peer covered an entry `settle` before `at`, and its latest head at `at`
    /// still covers that entry.
    fn has_confirmed(&self, peer: u32, at: Millis, index: u32, chain: u8) -> bool {
        let polled = &self.nodes[peer as usize].polled;
        let shared = index < self.environment.split_size();
        let covers = |head: TraceHead| head.size > index && (shared || head.chain == chain);
        // Times of cosignatures are whole seconds, so one second is tolerated.
        let before = (at + 1000).saturating_sub(self.environment.scenario.settle);
        let since = |(when, head): &(Millis, Option<TraceHead>)| {
            *when <= before && head.is_some_and(covers)
        };
        let last = polled.iter().rfind(|(when, head)| *when <= at && head.is_some());
        polled.iter().any(since) && last.is_some_and(|(_, head)| head.is_some_and(covers))
    }
}

const HOUR: Millis = 3_600_000;

impl EventObserver for RuleChecker<'_> {
    fn observe(&mut self, event: &Event) {
        let took = if let EventKind::Cycled(took, _) = event.kind { took } else { 0 };
        if self.environment.first_offline_at(event.node, event.at - took, event.at).is_some() {
            self.record_violation(Rule::Away, event);
        }
        match event.kind {
            EventKind::Polled(head) => {
                if head.is_some_and(|head| !self.has_been_shown(event.node, event.at, head)) {
                    self.record_violation(Rule::OwnMirror, event);
                }
                self.nodes[event.node as usize].polled.push((event.at, head));
            }
            EventKind::Evidence => {
                self.nodes[event.node as usize].latched = true;
                if !self.is_fork_attack() {
                    self.record_violation(Rule::NoFalseAlarm, event);
                }
            }
            EventKind::Cycled(took, CycleResult::Installed { index, chain }) => {
                self.check_install(event, took, (index, chain));
            }
            EventKind::Cycled(_, CycleResult::Withdrawn)
                if !self.runs_withdrawn_release(event.node, event.at) =>
            {
                self.record_violation(Rule::Withdrawn, event);
            }
            EventKind::Cycled(_, CycleResult::Fork | CycleResult::Latched)
                if !self.is_fork_attack() =>
            {
                self.record_violation(Rule::NoFalseAlarm, event);
            }
            EventKind::Cycled(..) => {}
        }
        if let EventKind::Cycled(took, result) = event.kind
            && result.is_unanimous()
            && !self.all_peers_could_answer(event.node, event.at - took, event.at)
        {
            self.record_violation(Rule::Everyone, event);
        }
        if let EventKind::Cycled(took, CycleResult::UpToDate) = event.kind
            && !self.has_every_covered_release(event.node, event.at - took, event.at)
        {
            self.record_violation(Rule::Complete, event);
        }
    }
}
