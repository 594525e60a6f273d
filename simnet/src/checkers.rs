//! What must be true in every world, whoever acts in it. Checkers know events, circles and who is
//! the adversary's; they know nothing of how anything came about.

use std::fmt;

use crate::Millis;
use crate::environment::Environment;
use crate::scenario::fault::FaultKind;
use crate::scenario::{AttackScenario, Scenario, Shape};
use crate::trace::{CycleResult, Event, EventKind, EventObserver, TraceHead};

/// What was violated, by whom, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub rule: Rule,
    /// The event that broke it.
    pub event: Event,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A peer vouches for nothing but what its own mirrors have shown.
    OwnMirror,
    /// What installs is a release of the chain that it is said to be of.
    Logged,
    /// What installs was covered by every honest peer's view `settle` before, and is still.
    Confirmed,
    /// Nobody is unanimous with a peer that could not have given a good answer at the time.
    Everyone,
    /// Nobody is told that nothing is new while every peer covers a release that is not installed.
    Complete,
    /// Nothing installs that was taken back in the sight of an honest peer when the cycle began, and nobody is
    /// told that what they run was taken back when it was not.
    Withdrawn,
    /// A node that installed from one chain never installs from the other.
    OneChain,
    /// A node that is off does nothing, and ends nothing that it began before.
    Away,
    /// Sequences only grow.
    Forwards,
    /// Nothing honest is ever called a fork.
    NoFalseAlarm,
    /// Whoever has evidence installs nothing more.
    Latched,
    /// Once all faults are over, every node installs.
    Live,
    /// Once all faults are over, whoever is shown a fork and asks an honest peer that has seen more than
    /// both chains share has evidence.
    Noticed,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { at, node, kind: what } = self.event;
        write!(f, "{:?} does not hold: node {node} at {at} ms: {what:?}", self.rule)
    }
}

/// Holds every event against the rules.
pub struct RuleChecker<'a> {
    environment: &'a Environment,
    nodes: Vec<NodeHistory>,
    /// What was violated so far.
    pub violations: Vec<Violation>,
}

/// What is known of one node.
#[derive(Clone, Default)]
struct NodeHistory {
    /// What it vouched for, from when on.
    polled: Vec<(Millis, Option<TraceHead>)>,
    installed: Option<(u32, u8)>,
    latched: bool,
}

impl<'a> RuleChecker<'a> {
    /// Watches a world from its beginning.
    pub fn new(environment: &'a Environment) -> RuleChecker<'a> {
        let nodes = vec![NodeHistory::default(); environment.scenario.nodes as usize];
        RuleChecker { environment, nodes, violations: Vec::new() }
    }

    /// All rules, the last one too, at the end of the world.
    pub fn finish(mut self) -> Vec<Violation> {
        if let Some((release, by)) = self.install_deadline() {
            for node in 0..self.environment.scenario.nodes {
                let known = &self.nodes[node as usize];
                if known.installed.is_none_or(|(index, _)| index < release) {
                    let what = EventKind::Cycled(0, CycleResult::Incomplete);
                    self.violations.push(Violation {
                        rule: Rule::Live,
                        event: Event { at: by, node, kind: what },
                    });
                }
            }
        }
        if let Some(by) = self.notice_deadline() {
            for &victim in self.environment.victims() {
                let honest = |&peer: &u32| {
                    !self.environment.colludes(peer) && !self.environment.is_victim(peer)
                };
                let is_told = self.environment.peers_of(victim).iter().any(honest);
                if is_told && !self.nodes[victim as usize].latched {
                    let event = Event {
                        at: by,
                        node: victim,
                        kind: EventKind::Cycled(0, CycleResult::UpToDate),
                    };
                    self.record_violation(Rule::Noticed, &event);
                }
            }
        }
        self.violations
    }

    /// By when every victim of a fork that goes on must have noticed it, if honest peers have seen
    /// enough of the log by then.
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

    /// Whether everybody is up, and Tor lets nobody wait for ever.
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

    /// When the last fault is over.
    fn faults_end(&self) -> Millis {
        let scenario = &self.environment.scenario;
        let mirrors = if scenario.mirrors.can_fail() { scenario.mirrors.within.1 } else { 0 };
        scenario.faults.iter().map(|fault| fault.until).fold(mirrors, Millis::max)
    }

    /// The newest release that every node must have by the end, and by when: in a world without an
    /// adversary, where everybody is up and Tor lets nobody wait for ever, once faults are over.
    fn install_deadline(&self) -> Option<(u32, Millis)> {
        let scenario = &self.environment.scenario;
        let calm = scenario.adversary.is_none() && self.is_calm();
        // To see it, to have it confirmed, to settle, and once more for what a fault left behind.
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
        // A trojan that the publisher's stolen keys logged for everybody is a release like any other.
        let attacked = environment.scenario.adversary.as_ref().map(|adversary| adversary.start);
        let trojan = attacked <= Some(event.at) && environment.is_trojan(index, chain);
        let count = environment.releases_until(event.at);
        let mut released = (0..count).map(|release| environment.release_index(release));
        let logged = trojan || chain == 0 && released.any(|release| release == index);
        if !logged {
            self.record_violation(Rule::Logged, event);
        }
        let known = &self.nodes[event.node as usize];
        if known.latched {
            self.record_violation(Rule::Latched, event);
        }
        let known = &self.nodes[event.node as usize];
        if let Some((before, other)) = known.installed {
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
                && held.is_some_and(|view| environment.is_withdrawn(view.size))
            {
                self.record_violation(Rule::Withdrawn, event);
            }
        }
    }

    /// What a node vouched for at last before a time.
    fn held_head(&self, node: u32, before: Millis) -> Option<TraceHead> {
        let polled = &self.nodes[node as usize].polled;
        polled.iter().rfind(|(at, _)| *at < before)?.1
    }

    /// Whether a node runs what is taken back in the log by then.
    fn runs_withdrawn_release(&self, node: u32, at: Millis) -> bool {
        let environment = self.environment;
        let installed = self.nodes[node as usize].installed;
        installed.is_some_and(|(index, chain)| environment.is_trojan(index, chain))
            && environment.is_withdrawn(environment.log_size(at))
    }

    /// Whether a node's mirrors have shown a head of this chain and at least this size until now.
    fn has_been_shown(&self, node: u32, at: Millis, view: TraceHead) -> bool {
        let polled = self.nodes[node as usize].polled.iter().map(|(at, _)| *at).chain([at]);
        let mut shown = polled.map(|at| self.environment.mirror_head(node, at));
        shown.any(|shown| shown.chain == view.chain && view.size <= shown.size)
    }

    /// Whether no release that every peer of a node's vouched for when its cycle began is missing there.
    /// Says nothing of circles in which somebody is not honest.
    fn has_every_covered_release(&self, node: u32, began: Millis, at: Millis) -> bool {
        let environment = self.environment;
        let circle = environment.peers_of(node).iter();
        let sizes = circle.map(|&peer| {
            let honest = !environment.colludes(peer) && !environment.is_ever_faulty_peer(peer);
            let view = self.held_head(peer, began)?;
            (honest && view.chain == 0).then_some(view.size)
        });
        let Some(covered) = sizes.min().flatten() else { return true };
        let installed = self.nodes[node as usize].installed.map_or(0, |(index, _)| index);
        let released = environment.releases_until(began).checked_sub(1);
        let newest = (0..=released.unwrap_or(0)).rev().map(|n| environment.release_index(n));
        let newest = newest.filter(|_| released.is_some());
        let trojan = environment.trojan().filter(|(_, chain)| *chain == 0);
        // From the moment that it is taken back, a mirror may say so before any peer does.
        let trojan = trojan.filter(|_| !environment.is_withdrawn(environment.log_size(at)));
        let all = newest.chain(trojan.map(|(index, _)| index));
        let due = all.filter(|index| *index < covered).max();
        due.is_none_or(|index| index <= installed)
    }

    /// Whether no peer of a node's was faulty, blind or out of reach from one time to another in a way
    /// that leaves it without a good answer.
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
            let is_blind = !lies
                && !environment.is_ever_faulty_peer(peer)
                && self.lacks_fresh_head(peer, from, until);
            !(is_mute || is_blind || environment.is_partitioned(node, peer, from, until))
        })
    }

    /// Whether an honest peer vouched for nothing from one time to another: it has not polled in
    /// between, nor since it was found wanting or went off.
    fn lacks_fresh_head(&self, peer: u32, from: Millis, until: Millis) -> bool {
        let polled = &self.nodes[peer as usize].polled;
        let last = polled.iter().rfind(|(at, _)| *at <= until);
        last.is_none_or(|&(at, view)| {
            at <= from
                && (view.is_none() || self.environment.first_offline_at(peer, at, from).is_some())
        })
    }

    /// Whether an honest peer vouched for an entry `settle` before, and for the last time too.
    fn has_confirmed(&self, peer: u32, at: Millis, index: u32, chain: u8) -> bool {
        let polled = &self.nodes[peer as usize].polled;
        let shared = index < self.environment.split_size();
        let covers = |view: TraceHead| view.size > index && (shared || view.chain == chain);
        // Cosignatures bear whole seconds.
        let before = (at + 1000).saturating_sub(self.environment.scenario.settle);
        let since = |(when, view): &(Millis, Option<TraceHead>)| {
            *when <= before && view.is_some_and(covers)
        };
        let last = polled.iter().rfind(|(when, view)| *when <= at && view.is_some());
        polled.iter().any(since) && last.is_some_and(|(_, view)| view.is_some_and(covers))
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
            EventKind::Polled(view) => {
                if view.is_some_and(|view| !self.has_been_shown(event.node, event.at, view)) {
                    self.record_violation(Rule::OwnMirror, event);
                }
                self.nodes[event.node as usize].polled.push((event.at, view));
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
        if let EventKind::Cycled(took, came_to) = event.kind
            && came_to.is_unanimous()
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
