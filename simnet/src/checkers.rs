//! What must be true in every world, whoever acts in it. Checkers know events, circles and who is
//! the adversary's; they know nothing of how anything came about.

use std::fmt;

use crate::Millis;
use crate::environment::Environment;
use crate::scenario::fault::Kind;
use crate::scenario::{Attack, Scenario, Shape};
use crate::trace::{Cycle, Event, View, What, Witness};

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
        let Event { at, node, what } = self.event;
        write!(f, "{:?} does not hold: node {node} at {at} ms: {what:?}", self.rule)
    }
}

/// Holds every event against the rules.
pub struct Safety<'a> {
    environment: &'a Environment,
    nodes: Vec<Known>,
    /// What was violated so far.
    pub violations: Vec<Violation>,
}

/// What is known of one node.
#[derive(Clone, Default)]
struct Known {
    /// What it vouched for, from when on.
    polled: Vec<(Millis, Option<View>)>,
    installed: Option<(u32, u8)>,
    latched: bool,
}

impl<'a> Safety<'a> {
    /// Watches a world from its beginning.
    pub fn new(environment: &'a Environment) -> Safety<'a> {
        let nodes = vec![Known::default(); environment.scenario.nodes as usize];
        Safety { environment, nodes, violations: Vec::new() }
    }

    /// All rules, the last one too, at the end of the world.
    pub fn finish(mut self) -> Vec<Violation> {
        if let Some((release, by)) = self.due() {
            for node in 0..self.environment.scenario.nodes {
                let known = &self.nodes[node as usize];
                if known.installed.is_none_or(|(index, _)| index < release) {
                    let what = What::Cycled(0, Cycle::Incomplete);
                    self.violations
                        .push(Violation { rule: Rule::Live, event: Event { at: by, node, what } });
                }
            }
        }
        if let Some(by) = self.noticed_by() {
            for &victim in self.environment.victims() {
                let honest = |&peer: &u32| {
                    !self.environment.colludes(peer) && !self.environment.is_victim(peer)
                };
                let is_told = self.environment.circle(victim).iter().any(honest);
                if is_told && !self.nodes[victim as usize].latched {
                    let event =
                        Event { at: by, node: victim, what: What::Cycled(0, Cycle::UpToDate) };
                    self.violated(Rule::Noticed, &event);
                }
            }
        }
        self.violations
    }

    /// By when every victim of a fork that goes on must have noticed it, if honest peers have seen
    /// enough of the log by then.
    fn noticed_by(&self) -> Option<Millis> {
        let scenario = &self.environment.scenario;
        let adversary = scenario.adversary.as_ref()?;
        let starved = match adversary.shape {
            Shape::Starved(lasts) => lasts,
            _ => 0,
        };
        let wait = scenario.poll.1 + 4 * scenario.roll.1 + HOUR;
        let latest = scenario.horizon.checked_sub(wait)?;
        let grown = |at: Millis| self.environment.log_size(at) > self.environment.split();
        if adversary.attack != Attack::Fork || !self.is_calm() || !grown(latest) {
            return None;
        }
        let (mut before, mut after) = (0, latest);
        while before < after {
            let middle = before.midpoint(after);
            if grown(middle) { after = middle } else { before = middle + 1 }
        }
        let since = after.max(self.quiet()).max(adversary.start.saturating_add(starved));
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
            && !tor.days.fail()
            && tor.churn < 1.0
            && *ask_timeout >= 4 * (tor.connect.0 + tor.round_trip.0 + shift)
            && faults.iter().all(|fault| !fault.kind.is_of_peer() || fault.share < 1.0)
    }

    /// When the last fault is over.
    fn quiet(&self) -> Millis {
        let scenario = &self.environment.scenario;
        let mirrors = if scenario.mirrors.fail() { scenario.mirrors.within.1 } else { 0 };
        scenario.faults.iter().map(|fault| fault.until).fold(mirrors, Millis::max)
    }

    /// The newest release that every node must have by the end, and by when: in a world without an
    /// adversary, where everybody is up and Tor lets nobody wait for ever, once faults are over.
    fn due(&self) -> Option<(u32, Millis)> {
        let scenario = &self.environment.scenario;
        let calm = scenario.adversary.is_none() && self.is_calm();
        // To see it, to have it confirmed, to settle, and once more for what a fault left behind.
        let wait = scenario.poll.1 + scenario.settle + 4 * scenario.roll.1 + HOUR;
        let until = scenario.horizon.checked_sub(wait)?;
        let count = self.environment.releases_until(until);
        let release = count.checked_sub(1)?;
        let since = self.environment.release_at(release).max(self.quiet());
        (calm && since.saturating_add(wait) <= scenario.horizon)
            .then(|| (self.environment.release_index(release), since + wait))
    }

    fn violated(&mut self, rule: Rule, event: &Event) {
        self.violations.push(Violation { rule, event: *event });
    }

    fn forks(&self) -> bool {
        let adversary = self.environment.scenario.adversary.as_ref();
        adversary.is_some_and(|adversary| adversary.attack.forks())
    }

    fn installs(&mut self, event: &Event, took: Millis, (index, chain): (u32, u8)) {
        let environment = self.environment;
        // A trojan that the publisher's stolen keys logged for everybody is a release like any other.
        let attacked = environment.scenario.adversary.as_ref().map(|adversary| adversary.start);
        let trojan = attacked <= Some(event.at) && environment.is_trojan(index, chain);
        let count = environment.releases_until(event.at);
        let mut released = (0..count).map(|release| environment.release_index(release));
        let logged = trojan || chain == 0 && released.any(|release| release == index);
        if !logged {
            self.violated(Rule::Logged, event);
        }
        let known = &self.nodes[event.node as usize];
        if known.latched {
            self.violated(Rule::Latched, event);
        }
        let known = &self.nodes[event.node as usize];
        if let Some((before, other)) = known.installed {
            let shared = before < environment.split() || index < environment.split();
            if other != chain && !shared {
                self.violated(Rule::OneChain, event);
            } else if index <= before {
                self.violated(Rule::Forwards, event);
            }
        }
        self.nodes[event.node as usize].installed = Some((index, chain));
        for &peer in environment.circle(event.node) {
            if environment.lies_to(peer, event.node) || environment.misbehaves(peer) {
                continue;
            }
            if !self.confirmed(peer, event.at, index, chain) {
                self.violated(Rule::Confirmed, event);
            }
            let held = self.held(peer, event.at - took);
            if environment.is_trojan(index, chain)
                && held.is_some_and(|view| environment.is_withdrawn(view.size))
            {
                self.violated(Rule::Withdrawn, event);
            }
        }
    }

    /// What a node vouched for at last before a time.
    fn held(&self, node: u32, before: Millis) -> Option<View> {
        let polled = &self.nodes[node as usize].polled;
        polled.iter().rfind(|(at, _)| *at < before)?.1
    }

    /// Whether a node runs what is taken back in the log by then.
    fn runs_what_was_withdrawn(&self, node: u32, at: Millis) -> bool {
        let environment = self.environment;
        let installed = self.nodes[node as usize].installed;
        installed.is_some_and(|(index, chain)| environment.is_trojan(index, chain))
            && environment.is_withdrawn(environment.log_size(at))
    }

    /// Whether a node's mirrors have shown a head of this chain and at least this size until now.
    fn was_shown(&self, node: u32, at: Millis, view: View) -> bool {
        let polled = self.nodes[node as usize].polled.iter().map(|(at, _)| *at).chain([at]);
        let mut shown = polled.map(|at| self.environment.mirror(node, at));
        shown.any(|shown| shown.chain == view.chain && view.size <= shown.size)
    }

    /// Whether no release that every peer of a node's vouched for when its cycle began is missing there.
    /// Says nothing of circles in which somebody is not honest.
    fn is_complete(&self, node: u32, began: Millis, at: Millis) -> bool {
        let environment = self.environment;
        let circle = environment.circle(node).iter();
        let sizes = circle.map(|&peer| {
            let honest = !environment.colludes(peer) && !environment.misbehaves(peer);
            let view = self.held(peer, began)?;
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
    fn everyone_could_answer(&self, node: u32, from: Millis, until: Millis) -> bool {
        let environment = self.environment;
        environment.circle(node).iter().all(|&peer| {
            let lies = environment.lies_to(peer, node);
            let mute = |at: Millis| {
                environment
                    .faults(peer, at)
                    .find(|kind| kind.is_of_peer())
                    .is_some_and(Kind::is_mute)
            };
            let is_mute = !lies && mute(from) && mute(until);
            let is_blind =
                !lies && !environment.misbehaves(peer) && self.is_blind(peer, from, until);
            !(is_mute || is_blind || environment.are_apart(node, peer, from, until))
        })
    }

    /// Whether an honest peer vouched for nothing from one time to another: it has not polled in
    /// between, nor since it was found wanting or went off.
    fn is_blind(&self, peer: u32, from: Millis, until: Millis) -> bool {
        let polled = &self.nodes[peer as usize].polled;
        let last = polled.iter().rfind(|(at, _)| *at <= until);
        last.is_none_or(|&(at, view)| {
            at <= from && (view.is_none() || self.environment.goes_off(peer, at, from).is_some())
        })
    }

    /// Whether an honest peer vouched for an entry `settle` before, and for the last time too.
    fn confirmed(&self, peer: u32, at: Millis, index: u32, chain: u8) -> bool {
        let polled = &self.nodes[peer as usize].polled;
        let shared = index < self.environment.split();
        let covers = |view: View| view.size > index && (shared || view.chain == chain);
        // Cosignatures bear whole seconds.
        let before = (at + 1000).saturating_sub(self.environment.scenario.settle);
        let since =
            |(when, view): &(Millis, Option<View>)| *when <= before && view.is_some_and(covers);
        let last = polled.iter().rfind(|(when, view)| *when <= at && view.is_some());
        polled.iter().any(since) && last.is_some_and(|(_, view)| view.is_some_and(covers))
    }
}

const HOUR: Millis = 3_600_000;

impl Witness for Safety<'_> {
    fn see(&mut self, event: &Event) {
        let took = if let What::Cycled(took, _) = event.what { took } else { 0 };
        if self.environment.goes_off(event.node, event.at - took, event.at).is_some() {
            self.violated(Rule::Away, event);
        }
        match event.what {
            What::Polled(view) => {
                if view.is_some_and(|view| !self.was_shown(event.node, event.at, view)) {
                    self.violated(Rule::OwnMirror, event);
                }
                self.nodes[event.node as usize].polled.push((event.at, view));
            }
            What::Evidence => {
                self.nodes[event.node as usize].latched = true;
                if !self.forks() {
                    self.violated(Rule::NoFalseAlarm, event);
                }
            }
            What::Cycled(took, Cycle::Installed { index, chain }) => {
                self.installs(event, took, (index, chain));
            }
            What::Cycled(_, Cycle::Withdrawn)
                if !self.runs_what_was_withdrawn(event.node, event.at) =>
            {
                self.violated(Rule::Withdrawn, event);
            }
            What::Cycled(_, Cycle::Fork | Cycle::Latched) if !self.forks() => {
                self.violated(Rule::NoFalseAlarm, event);
            }
            What::Cycled(..) => {}
        }
        if let What::Cycled(took, came_to) = event.what
            && came_to.is_unanimous()
            && !self.everyone_could_answer(event.node, event.at - took, event.at)
        {
            self.violated(Rule::Everyone, event);
        }
        if let What::Cycled(took, Cycle::UpToDate) = event.what
            && !self.is_complete(event.node, event.at - took, event.at)
        {
            self.violated(Rule::Complete, event);
        }
    }
}
