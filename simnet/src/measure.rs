//! Measurement of a world: its events, counted and timed.

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::results::{Histogram, Results};
use crate::scenario::{AttackScenario, Scenario};
use crate::seed::Seed;
use crate::trace::{CycleResult, Event, EventKind, EventObserver};
use crate::{Millis, population};

/// Plays a world with a population, and returns its counts and times.
///
/// # Panics
/// If [`population::check_playable`] refuses the world.
pub fn play(scenario: &Scenario, seed: Seed) -> Results {
    let environment = Environment::new(scenario.clone(), seed);
    let mut measure = Measure::new(&environment);
    population::run(&environment, &mut measure);
    measure.into_results()
}

/// Counts and times the events of a world that has been played. `events` must be in order of time.
pub fn measure_events(scenario: &Scenario, seed: Seed, events: &[Event]) -> Results {
    let environment = Environment::new(scenario.clone(), seed);
    let mut measure = Measure::new(&environment);
    events.iter().for_each(|event| measure.observe(event));
    measure.into_results()
}

/// Counts and times the events of one world.
///
/// Counts ([`COUNTS`](crate::results::COUNTS)):
///
/// - `worlds`: 1.
/// - `polls`.
/// - `polls.no_fresh_head`: polls after which the peer has no fresh head.
/// - `rounds`: cycles. Each has one result:
///   - `rounds.unanimous`: nothing new, settling, installed, or the installed release is withdrawn.
///   - `rounds.incomplete`, `rounds.stale`, `rounds.fork`, `rounds.latched`, `rounds.undecided`.
/// - `installs`: installations of releases other than the trojan.
/// - `releases.due`: pairs of a node and a release whose `late` is over before counting ends.
/// - `releases.late`: due pairs whose node had installed neither this nor a newer release when
///   `late` was over.
/// - `attacks`, `attacks.noticed` (by a victim), `attacks.installed` (by a victim),
///   `attacks.evident` (an honest node, victim or not, holds evidence): 1 or 0.
/// - `victims`, `victims.noticed` and `victims.installed`: all victims, those that noticed the
///   attack, and those that installed the trojan.
/// - `evidence.nodes`: honest nodes that hold evidence in the end.
///
/// Times in milliseconds ([`TIMES`](crate::results::TIMES)):
///
/// - `patch`: from a release to its installation, for each node and each due release that it
///   installed.
/// - `round`: from the beginning of a cycle to its end, except for latched cycles that asked no
///   peer.
/// - `notice`: from the attack's start until a victim first notices it, for each victim that does.
/// - `trojan`: from the attack's start until a victim installs the trojan, for each victim that
///   does.
/// - `public`: from the attack's start to the first poll of an honest peer that covers a logged
///   trojan.
/// - `evidence.half`, `evidence.all`: from the first evidence until half of the honest nodes, or
///   all of them, hold evidence. Missing if that never happens.
///
/// The adversary's own nodes count in `polls` and `rounds`, and in nothing else. A victim notices a
/// fork by evidence, a logged trojan by its withdrawal, a freeze by stale mirrors, and the other
/// attacks by an incomplete round.
#[derive(Debug)]
pub struct Measure<'a> {
    environment: &'a Environment,
    /// For each node, the number of releases that were installed or skipped for a newer one.
    releases_done: Vec<u32>,
    counts: EventCounts,
    patch_times: Histogram,
    round_times: Histogram,
    victims: BTreeMap<u32, VictimTimes>,
    /// When an honest peer first covered a logged trojan.
    public_at: Option<Millis>,
    evidence: EvidenceHolders,
}

#[derive(Debug, Default)]
struct EventCounts {
    polls: u64,
    no_fresh_head: u64,
    rounds: u64,
    unanimous: u64,
    incomplete: u64,
    stale: u64,
    fork: u64,
    latched: u64,
    undecided: u64,
    installs: u64,
    late: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct VictimTimes {
    noticed: Option<Millis>,
    installed: Option<Millis>,
}

/// When any node first held evidence, whether each node holds it, and the times at which honest
/// nodes first held it, in order.
#[derive(Debug, Default)]
struct EvidenceHolders {
    first: Option<Millis>,
    held: Vec<bool>,
    since: Vec<Millis>,
}

impl<'a> Measure<'a> {
    /// An empty measurement of a world that has not begun.
    pub fn new(environment: &'a Environment) -> Measure<'a> {
        let nodes = environment.scenario.nodes as usize;
        let victims = environment.victims().iter();
        Measure {
            environment,
            releases_done: vec![0; nodes],
            counts: EventCounts::default(),
            patch_times: Histogram::default(),
            round_times: Histogram::default(),
            victims: victims.map(|victim| (*victim, VictimTimes::default())).collect(),
            public_at: None,
            evidence: EvidenceHolders { held: vec![false; nodes], ..EvidenceHolders::default() },
        }
    }

    /// The counts and times of the world, once it is over.
    pub fn into_results(mut self) -> Results {
        let (nodes, ends) = (self.environment.scenario.nodes, self.counting_end());
        let releases = (0..self.environment.releases_until(ends)).map(|n| n as u32);
        let due = releases.filter(|n| self.deadline(*n) <= ends).count() as u32;
        let honest: Vec<u32> = (0..nodes).filter(|n| !self.environment.colludes(*n)).collect();
        for node in &honest {
            // An earlier release has an earlier deadline, so the first `due` releases are the due
            // ones.
            self.counts.late += u64::from(due.saturating_sub(self.releases_done[*node as usize]));
        }
        let mut results = Results::default();
        results.add_count("worlds", 1);
        results.add_count("releases.due", u64::from(due) * honest.len() as u64);
        self.counts.add_to(&mut results);
        self.add_attack_results(&mut results);
        results.add_count("evidence.nodes", self.evidence.since.len() as u64);
        if let Some(first) = self.evidence.first {
            for (name, share) in
                [("evidence.half", honest.len().div_ceil(2)), ("evidence.all", honest.len())]
            {
                if let Some(at) =
                    share.checked_sub(1).and_then(|last| self.evidence.since.get(last))
                {
                    results.add_time(name, at - first);
                }
            }
        }
        for (name, times) in [("patch", self.patch_times), ("round", self.round_times)] {
            if times.count() > 0 {
                results.times.insert(name.to_owned(), times);
            }
        }
        results
    }

    fn add_attack_results(&self, results: &mut Results) {
        let Some(adversary) = &self.environment.scenario.adversary else { return };
        let noticed = self.victims.values().filter_map(|victim| victim.noticed);
        let times = self.victims.values().filter_map(|victim| victim.installed);
        let installed = times.clone().count() as u64;
        results.add_count("attacks", 1);
        results.add_count("attacks.noticed", noticed.clone().count().min(1) as u64);
        results.add_count("attacks.evident", self.evidence.since.len().min(1) as u64);
        results.add_count("attacks.installed", installed.min(1));
        results.add_count("victims", self.victims.len() as u64);
        results.add_count("victims.noticed", noticed.clone().count() as u64);
        results.add_count("victims.installed", installed);
        noticed.for_each(|at| results.add_time("notice", at - adversary.start));
        times.for_each(|at| results.add_time("trojan", at - adversary.start));
        self.public_at.iter().for_each(|at| results.add_time("public", at - adversary.start));
    }

    /// The end of the period in which releases count: the world's end, or the start of an attack.
    /// Releases that an attack holds back are not late.
    fn counting_end(&self) -> Millis {
        let Scenario { horizon, adversary, .. } = &self.environment.scenario;
        adversary.as_ref().map_or(*horizon, |adversary| adversary.start.min(*horizon))
    }

    fn deadline(&self, release: u32) -> Millis {
        self.environment.release_at(release.into()) + self.environment.scenario.late
    }

    fn record_install(&mut self, at: Millis, node: u32, index: u32) {
        let environment = self.environment;
        self.counts.installs += 1;
        let done = &mut self.releases_done[node as usize];
        let before = *done;
        while environment.release_index(u64::from(*done)) < index {
            *done += 1;
        }
        let release = *done;
        *done += 1;
        let ends = self.counting_end();
        if self.deadline(release) <= ends {
            self.patch_times.add(at - environment.release_at(release.into()));
        }
        let missed = (before..=release).map(|n| self.deadline(n)).filter(|deadline| *deadline < at);
        self.counts.late += missed.filter(|deadline| *deadline <= ends).count() as u64;
    }

    fn record_cycle(&mut self, at: Millis, node: u32, took: Millis, cycle: CycleResult) {
        let counts = &mut self.counts;
        counts.rounds += 1;
        match cycle {
            CycleResult::UpToDate
            | CycleResult::Settling
            | CycleResult::Withdrawn
            | CycleResult::Installed { .. } => {
                counts.unanimous += 1;
            }
            CycleResult::Incomplete => counts.incomplete += 1,
            CycleResult::Stale => counts.stale += 1,
            CycleResult::Fork => counts.fork += 1,
            CycleResult::Latched => counts.latched += 1,
            CycleResult::Undecided => counts.undecided += 1,
        }
        // A client that was latched when its cycle began asks no peer, so the cycle has no round.
        if cycle != CycleResult::Latched || took > 0 {
            self.round_times.add(took);
        }
        if let CycleResult::Installed { index, chain } = cycle {
            let is_trojan = self.environment.is_trojan(index, chain);
            match self.victims.get_mut(&node) {
                Some(victim) if is_trojan => victim.installed = victim.installed.or(Some(at)),
                _ if !is_trojan && !self.environment.colludes(node) => {
                    self.record_install(at, node, index);
                }
                _ => {}
            }
        }
        self.record_notice(at, node, EventKind::Cycled(took, cycle));
    }

    fn record_notice(&mut self, at: Millis, node: u32, kind: EventKind) {
        let Some(adversary) = &self.environment.scenario.adversary else { return };
        let is_notice = match adversary.attack {
            AttackScenario::Fork | AttackScenario::Flash(..) => {
                matches!(kind, EventKind::Evidence | EventKind::Cycled(_, CycleResult::Fork))
            }
            // Before its withdrawal, only readers of the log can notice a logged trojan.
            AttackScenario::Logged => matches!(kind, EventKind::Cycled(_, CycleResult::Withdrawn)),
            AttackScenario::Freeze => matches!(kind, EventKind::Cycled(_, CycleResult::Stale)),
            AttackScenario::Block | AttackScenario::Equivocate => {
                matches!(kind, EventKind::Cycled(_, CycleResult::Incomplete))
            }
        };
        if at < adversary.start || !is_notice {
            return;
        }
        if let Some(victim) = self.victims.get_mut(&node) {
            victim.noticed.get_or_insert(at);
        }
    }

    fn record_evidence(&mut self, at: Millis, node: u32) {
        self.evidence.first.get_or_insert(at);
        let is_new = !std::mem::replace(&mut self.evidence.held[node as usize], true);
        if is_new && !self.environment.colludes(node) {
            self.evidence.since.push(at);
        }
        self.record_notice(at, node, EventKind::Evidence);
    }
}

impl EventCounts {
    fn add_to(&self, results: &mut Results) {
        for (name, count) in [
            ("polls", self.polls),
            ("polls.no_fresh_head", self.no_fresh_head),
            ("rounds", self.rounds),
            ("rounds.unanimous", self.unanimous),
            ("rounds.incomplete", self.incomplete),
            ("rounds.stale", self.stale),
            ("rounds.fork", self.fork),
            ("rounds.latched", self.latched),
            ("rounds.undecided", self.undecided),
            ("installs", self.installs),
            ("releases.late", self.late),
        ] {
            results.add_count(name, count);
        }
    }
}

impl EventObserver for Measure<'_> {
    fn observe(&mut self, event: &Event) {
        let Event { at, node, kind } = *event;
        match kind {
            EventKind::Polled(held) => {
                self.counts.polls += 1;
                self.counts.no_fresh_head += u64::from(held.is_none());
                let trojan = self.environment.trojan().filter(|(_, chain)| *chain == 0);
                let covers = |(index, _)| held.is_some_and(|head| head.size > index);
                if self.public_at.is_none()
                    && trojan.is_some_and(covers)
                    && !self.environment.colludes(node)
                {
                    self.public_at = Some(at);
                }
            }
            EventKind::Cycled(took, cycle) => self.record_cycle(at, node, took, cycle),
            EventKind::Evidence => self.record_evidence(at, node),
        }
    }
}
