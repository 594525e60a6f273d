//! What happened in a world, counted and timed.

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::results::{Histogram, Results};
use crate::scenario::{Attack, Scenario};
use crate::seed::Seed;
use crate::trace::{Cycle, Event, What, Witness};
use crate::{Millis, population};

/// Plays a world with a population, and tells what was measured.
pub fn play(scenario: &Scenario, seed: Seed) -> Results {
    let environment = Environment::new(scenario.clone(), seed);
    let mut measure = Measure::new(&environment);
    population::run(&environment, &mut measure);
    measure.results()
}

/// What is measured in a world that was played already, in order of time.
pub fn results(scenario: &Scenario, seed: Seed, events: &[Event]) -> Results {
    let environment = Environment::new(scenario.clone(), seed);
    let mut measure = Measure::new(&environment);
    events.iter().for_each(|event| measure.see(event));
    measure.results()
}

/// Counts and times the events of one world.
///
/// Counts:
/// - `worlds`, `polls`, `polls.blind` (after which a peer vouches for nothing), `rolls` (cycles, whatever they came to) and, of these, `rolls.unanimous` (nothing
///   new, settling, installed, or what is installed was taken back), `rolls.incomplete`, `rolls.stale`, `rolls.fork`, `rolls.latched`,
///   `rolls.undecided`; `installs`;
/// - `releases.due`: pairs of a node and a release whose time to be installed is over before the
///   world is; `releases.late`: those of them that were not installed by then, nor a newer one;
/// - `attacks`, `attacks.noticed` (by a victim), `attacks.evident` (an honest node, victim or not, holds
///   evidence), `attacks.installed`: 1 or 0 for the world; `victims`, `victims.noticed`,
///   `victims.installed`: each of them;
/// - `evidence.nodes`: who held evidence in the end.
///
/// Times: `patch` (from release to installation, for each node and each release that is due and
/// that it installed), `roll` (how long each roll took), `notice` (from the attack's start to each victim's
/// first notice), `trojan` (to its installation by each victim), `public` (to the first poll of an honest peer that covers a
/// trojan in the log), `evidence.half` and `evidence.all` (from the first evidence that anybody held
/// until half or all of the nodes held some; missing if they never did).
///
/// The adversary's own nodes poll and roll, and count in nothing else. To notice is to find a fork or
/// be told of it, to be told that what is installed was taken back, to call the mirrors stale in a freeze,
/// and to call a roll incomplete when the peers are blocked or change their story.
#[derive(Debug)]
pub struct Measure<'a> {
    environment: &'a Environment,
    /// For each node, how many releases were installed or passed over for a newer one.
    done: Vec<u32>,
    counts: Counts,
    patch: Histogram,
    roll: Histogram,
    victims: BTreeMap<u32, Victim>,
    /// When an honest peer first covered a trojan that was logged for everybody.
    public: Option<Millis>,
    evidence: Evidence,
}

#[derive(Debug, Default)]
struct Counts {
    polls: u64,
    blind: u64,
    rolls: u64,
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
struct Victim {
    noticed: Option<Millis>,
    installed: Option<Millis>,
}

/// Who holds evidence, and since when: the first of all, and each that is not the adversary's.
#[derive(Debug, Default)]
struct Evidence {
    first: Option<Millis>,
    held: Vec<bool>,
    since: Vec<Millis>,
}

impl<'a> Measure<'a> {
    /// Of a world that has not begun.
    pub fn new(environment: &'a Environment) -> Measure<'a> {
        let nodes = environment.scenario.nodes as usize;
        let victims = environment.victims().iter();
        Measure {
            environment,
            done: vec![0; nodes],
            counts: Counts::default(),
            patch: Histogram::default(),
            roll: Histogram::default(),
            victims: victims.map(|victim| (*victim, Victim::default())).collect(),
            public: None,
            evidence: Evidence { held: vec![false; nodes], ..Evidence::default() },
        }
    }

    /// What came of it, once the world is over.
    pub fn results(mut self) -> Results {
        let (nodes, ends) = (self.environment.scenario.nodes, self.ends());
        let releases = (0..self.environment.releases_until(ends)).map(|n| n as u32);
        let due = releases.filter(|n| self.deadline(*n) <= ends).count() as u32;
        let honest: Vec<u32> = (0..nodes).filter(|n| !self.environment.colludes(*n)).collect();
        for node in &honest {
            // Deadlines come in the order of releases.
            self.counts.late += u64::from(due.saturating_sub(self.done[*node as usize]));
        }
        let mut results = Results::default();
        results.count("worlds", 1);
        results.count("releases.due", u64::from(due) * honest.len() as u64);
        self.counts.tell(&mut results);
        self.tell_attack(&mut results);
        results.count("evidence.nodes", self.evidence.since.len() as u64);
        if let Some(first) = self.evidence.first {
            for (name, share) in
                [("evidence.half", honest.len().div_ceil(2)), ("evidence.all", honest.len())]
            {
                if let Some(at) =
                    share.checked_sub(1).and_then(|last| self.evidence.since.get(last))
                {
                    results.time(name, at - first);
                }
            }
        }
        for (name, times) in [("patch", self.patch), ("roll", self.roll)] {
            if times.count() > 0 {
                results.times.insert(name.to_owned(), times);
            }
        }
        results
    }

    fn tell_attack(&self, results: &mut Results) {
        let Some(adversary) = &self.environment.scenario.adversary else { return };
        let noticed = self.victims.values().filter_map(|victim| victim.noticed);
        let times = self.victims.values().filter_map(|victim| victim.installed);
        let installed = times.clone().count() as u64;
        results.count("attacks", 1);
        results.count("attacks.noticed", noticed.clone().count().min(1) as u64);
        results.count("attacks.evident", self.evidence.since.len().min(1) as u64);
        results.count("attacks.installed", installed.min(1));
        results.count("victims", self.victims.len() as u64);
        results.count("victims.noticed", noticed.clone().count() as u64);
        results.count("victims.installed", installed);
        noticed.for_each(|at| results.time("notice", at - adversary.start));
        times.for_each(|at| results.time("trojan", at - adversary.start));
        self.public.iter().for_each(|at| results.time("public", at - adversary.start));
    }

    /// Until when releases are counted: the world's end, or the beginning of an attack. What an attack
    /// holds back is the attack's doing.
    fn ends(&self) -> Millis {
        let Scenario { horizon, adversary, .. } = &self.environment.scenario;
        adversary.as_ref().map_or(*horizon, |adversary| adversary.start.min(*horizon))
    }

    fn deadline(&self, release: u32) -> Millis {
        self.environment.release_at(release.into()) + self.environment.scenario.late
    }

    fn installed(&mut self, at: Millis, node: u32, index: u32) {
        let environment = self.environment;
        self.counts.installs += 1;
        let done = &mut self.done[node as usize];
        let before = *done;
        while environment.release_index(u64::from(*done)) < index {
            *done += 1;
        }
        let release = *done;
        *done += 1;
        let ends = self.ends();
        if self.deadline(release) <= ends {
            self.patch.add(at - environment.release_at(release.into()));
        }
        let missed = (before..=release).map(|n| self.deadline(n)).filter(|deadline| *deadline < at);
        self.counts.late += missed.filter(|deadline| *deadline <= ends).count() as u64;
    }

    fn cycled(&mut self, at: Millis, node: u32, took: Millis, cycle: Cycle) {
        let counts = &mut self.counts;
        counts.rolls += 1;
        match cycle {
            Cycle::UpToDate | Cycle::Settling | Cycle::Withdrawn | Cycle::Installed { .. } => {
                counts.unanimous += 1;
            }
            Cycle::Incomplete => counts.incomplete += 1,
            Cycle::Stale => counts.stale += 1,
            Cycle::Fork => counts.fork += 1,
            Cycle::Latched => counts.latched += 1,
            Cycle::Undecided => counts.undecided += 1,
        }
        // Who has latched asks nobody.
        if cycle != Cycle::Latched || took > 0 {
            self.roll.add(took);
        }
        if let Cycle::Installed { index, chain } = cycle {
            let is_trojan = self.environment.is_trojan(index, chain);
            match self.victims.get_mut(&node) {
                Some(victim) if is_trojan => victim.installed = victim.installed.or(Some(at)),
                _ if !is_trojan && !self.environment.colludes(node) => {
                    self.installed(at, node, index);
                }
                _ => {}
            }
        }
        self.notice(at, node, What::Cycled(took, cycle));
    }

    fn notice(&mut self, at: Millis, node: u32, what: What) {
        let Some(adversary) = &self.environment.scenario.adversary else { return };
        let is_notice = match adversary.attack {
            Attack::Fork | Attack::Flash(..) => {
                matches!(what, What::Evidence | What::Cycled(_, Cycle::Fork))
            }
            // Until it is taken back, it is for whoever reads the log to notice.
            Attack::Logged => matches!(what, What::Cycled(_, Cycle::Withdrawn)),
            Attack::Freeze => matches!(what, What::Cycled(_, Cycle::Stale)),
            Attack::Block | Attack::Story => matches!(what, What::Cycled(_, Cycle::Incomplete)),
        };
        if at < adversary.start || !is_notice {
            return;
        }
        if let Some(victim) = self.victims.get_mut(&node) {
            victim.noticed.get_or_insert(at);
        }
    }

    fn found(&mut self, at: Millis, node: u32) {
        self.evidence.first.get_or_insert(at);
        let is_new = !std::mem::replace(&mut self.evidence.held[node as usize], true);
        if is_new && !self.environment.colludes(node) {
            self.evidence.since.push(at);
        }
        self.notice(at, node, What::Evidence);
    }
}

impl Counts {
    fn tell(&self, results: &mut Results) {
        for (name, count) in [
            ("polls", self.polls),
            ("polls.blind", self.blind),
            ("rolls", self.rolls),
            ("rolls.unanimous", self.unanimous),
            ("rolls.incomplete", self.incomplete),
            ("rolls.stale", self.stale),
            ("rolls.fork", self.fork),
            ("rolls.latched", self.latched),
            ("rolls.undecided", self.undecided),
            ("installs", self.installs),
            ("releases.late", self.late),
        ] {
            results.count(name, count);
        }
    }
}

impl Witness for Measure<'_> {
    fn see(&mut self, event: &Event) {
        let Event { at, node, what } = *event;
        match what {
            What::Polled(held) => {
                self.counts.polls += 1;
                self.counts.blind += u64::from(held.is_none());
                let trojan = self.environment.trojan().filter(|(_, chain)| *chain == 0);
                let covers = |(index, _)| held.is_some_and(|view| view.size > index);
                if self.public.is_none()
                    && trojan.is_some_and(covers)
                    && !self.environment.colludes(node)
                {
                    self.public = Some(at);
                }
            }
            What::Cycled(took, cycle) => self.cycled(at, node, took, cycle),
            What::Evidence => self.found(at, node),
        }
    }
}
