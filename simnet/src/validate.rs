//! What the simulator must reproduce: results that are known without it.
//!
//! Nothing in the simulator is fitted to them. Each row sets a closed form beside what the
//! simulator's own parts came to, with an interval of 99.9%: of a table of twenty rows from
//! a right simulator, one in fifty has a row outside; with a fixed seed it is always the same one.

use std::fmt;

use crate::closed_form::{binomial, mean_of_slowest, mean_wait_until_all_up};
use crate::engine::Queue;
use crate::environment::{ConnectOutcome, Environment, ServiceSchedule};
use crate::measure::play;
use crate::scenario::{
    Adversary, AttackScenario, Colluding, Days, Mirrors, Scenario, Topology, TorScenario,
};
use crate::seed::Seed;
use crate::{Millis, Results};

/// The two-sided 99.9% point of the normal distribution.
const WIDE: f64 = 3.2905;
const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// One known result beside the simulated one.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationRow {
    /// What is measured, and in which unit.
    pub name: String,
    /// By the closed form.
    pub expected: f64,
    /// By the simulator.
    pub simulated: f64,
    /// Half the width of the simulated value's 99.9% interval.
    pub half_width: f64,
}

impl ValidationRow {
    /// Whether the expected value is in the interval.
    pub fn is_reproduced(&self) -> bool {
        (self.simulated - self.expected).abs() <= self.half_width
    }
}

impl fmt::Display for ValidationRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ValidationRow { name, expected, simulated, half_width: within } = self;
        let (low, high) = (simulated - within, simulated + within);
        let verdict = if self.is_reproduced() { "" } else { "  OUTSIDE" };
        write!(f, "{name:<58} {expected:>9.4} {simulated:>9.4}  {low:.4} to {high:.4}{verdict}")
    }
}

/// All rows. Takes about a second in a release build.
pub fn validate_all(master: Seed) -> Vec<ValidationRow> {
    let mut rows = Vec::new();
    rows.extend([(5, 0.99), (5, 0.95), (3, 0.9)].map(|(n, p)| all_up(master, n, p)));
    rows.extend([(5, 0.99), (3, 0.9)].map(|(n, p)| wait_until_all_up(master, n, p)));
    rows.extend([1, 3, 5, 9].map(|n| slowest(master, n)));
    rows.extend([(1, 0.3), (3, 0.3), (5, 0.2)].map(|(n, q)| independent(master, n, q)));
    rows.extend([(12, 8, 3), (10, 8, 4)].map(|(nodes, f, n)| colluding(master, nodes, f, n)));
    rows.push(bad_days(master));
    rows.push(relay_leaves(master));
    rows.extend([64, 256].map(|n| rumour(master, n, true)));
    rows.push(rumour(master, 64, false));
    rows
}

/// A world in which nothing takes time, nobody is down, nothing is released and nobody attacks:
/// what differs from it is what a measurement is about.
pub fn quiet_scenario(nodes: u32, circle: u32) -> Scenario {
    Scenario {
        name: "quiet".to_owned(),
        question: "Does the simulator reproduce what is known?".to_owned(),
        horizon: 2 * HOUR,
        nodes,
        peers: circle,
        topology: Topology::Random,
        availability: 1.0,
        mean_outage: 8 * HOUR,
        mirrors: Mirrors::default(),
        poll: (5 * MINUTE, 15 * MINUTE),
        max_poll_age: 30 * MINUTE,
        round_interval: (50 * MINUTE, 70 * MINUTE),
        settle: HOUR,
        ask_timeout: 30_000,
        round_timeout: 120_000,
        tor: TorScenario::none(),
        release: (Millis::MAX / 4, 0),
        background: 0,
        late: 48 * HOUR,
        adversary: None,
        faults: Vec::new(),
    }
}

/// A seed of its own for one world of one row.
fn row_seed(master: Seed, row: &str, world: u64) -> Seed {
    Seed(master.draws(row).bits(world, 0))
}

/// The mean of values from independent worlds.
fn mean_row(name: String, expected: f64, values: &[f64]) -> ValidationRow {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    ValidationRow { name, expected, simulated: mean, half_width: WIDE * (variance / count).sqrt() }
}

/// The probability of something that happened in so many of so many worlds, by Wilson's interval,
/// widened to be symmetric.
fn share_row(name: String, expected: f64, happened: u64, worlds: u64) -> ValidationRow {
    let (share, count) = (happened as f64 / worlds as f64, worlds as f64);
    let z2 = WIDE * WIDE;
    let centre = (share + z2 / (2.0 * count)) / (1.0 + z2 / count);
    let spread = WIDE * (share * (1.0 - share) / count + z2 / (4.0 * count * count)).sqrt();
    let within = spread / (1.0 + z2 / count) + (centre - share).abs();
    ValidationRow { name, expected, simulated: share, half_width: within }
}

/// How likely are all n peers up when they are asked? p^n.
fn all_up(master: Seed, n: u32, p: f64) -> ValidationRow {
    let scenario = Scenario { availability: p, ..quiet_scenario(500, n) };
    let share = |world| {
        let results = play(&scenario, row_seed(master, "all up", world));
        let count = |name| results.counts[name] as f64;
        count("rolls.unanimous") / count("rolls")
    };
    let values: Vec<f64> = (0..60).map(share).collect();
    mean_row(format!("all {n} peers up, each {p}: probability"), p.powi(n as i32), &values)
}

/// If not, how long until they are? A birth and death process of those that are down.
fn wait_until_all_up(master: Seed, n: u32, p: f64) -> ValidationRow {
    let scenario = Scenario { availability: p, ..quiet_scenario(40_000, n) };
    let environment = Environment::new(scenario, row_seed(master, "wait", 0));
    let step = MINUTE;
    let mut values = Vec::new();
    for circle in 0..environment.scenario.nodes / n {
        let peers = circle * n..(circle + 1) * n;
        let mut services: Vec<(u32, ServiceSchedule)> =
            peers.map(|peer| (peer, environment.service(peer))).collect();
        let mut all_up = |at: Millis| {
            // All are asked, so that all go on.
            let up = |(peer, service): &mut (u32, ServiceSchedule)| {
                service.is_up(&environment, *peer, at)
            };
            services.iter_mut().filter_map(|service| up(service).then_some(())).count()
                == n as usize
        };
        let steps = (0..).position(|steps| all_up(steps * step)).unwrap_or(0);
        if steps > 0 {
            // On average it happened half a step ago.
            values.push((steps as f64 - 0.5) * step as f64 / HOUR as f64);
        }
    }
    let name = format!("wait until all {n} are up, each {p}: mean hours");
    mean_row(name, mean_wait_until_all_up(n, p, 8.0), &values)
}

/// How long does the slowest of n lognormal connections take?
fn slowest(master: Seed, n: u32) -> ValidationRow {
    let (median, sigma) = (2500, 0.55);
    let patient = Scenario { ask_timeout: HOUR, round_timeout: HOUR, ..quiet_scenario(600, n) };
    let roll = (10 * MINUTE, 10 * MINUTE);
    let tor = TorScenario { connect: (median, sigma), ..patient.tor.clone() };
    let results = play(
        &Scenario { round_interval: roll, tor, ..patient },
        row_seed(master, "slowest", n.into()),
    );
    let roll = &results.times["roll"];
    let (mean, error) = (roll.mean().unwrap_or(0.0), roll.standard_error().unwrap_or(0.0));
    ValidationRow {
        name: format!("slowest of {n} lognormal(2.5 s, 0.55): mean seconds"),
        expected: mean_of_slowest(n, median as f64 / 1000.0, sigma),
        // Rounded up to whole milliseconds.
        simulated: (mean - 0.5) / 1000.0,
        half_width: WIDE * error / 1000.0,
    }
}

/// A world with one victim, and with a log that grows fast enough for every honest peer to see
/// more of it than the fork has.
fn attacked(nodes: u32, circle: u32, attack: AttackScenario, colluding: Colluding) -> Scenario {
    let start = 30 * MINUTE;
    Scenario {
        horizon: 2 * HOUR,
        poll: (5 * MINUTE, 10 * MINUTE),
        round_interval: (10 * MINUTE, 20 * MINUTE),
        background: 10_000,
        adversary: Some(Adversary { colluding, ..Adversary::new(attack, start) }),
        ..quiet_scenario(nodes, circle)
    }
}

fn noticed(master: Seed, row: &str, scenario: &Scenario) -> (u64, u64) {
    let mut sum = Results::default();
    for world in 0..600 {
        sum.merge(&play(scenario, row_seed(master, row, world)));
    }
    (sum.counts["attacks.noticed"], sum.counts["attacks"])
}

/// Every peer sees the log with probability q, and else the victim's fork: 1-(1-q)^n. The circle
/// is everybody, so that no news comes from elsewhere.
fn independent(master: Seed, n: u32, q: f64) -> ValidationRow {
    let fooled = ((1.0 - q) * 100.0).round() as u32;
    let attack = AttackScenario::Flash(fooled, 24 * HOUR);
    let scenario = attacked(n + 1, n, attack, Colluding::OfAll(0));
    let row = format!("detection by {n} peers, each with q = {q}: probability");
    let (happened, worlds) = noticed(master, &row, &scenario);
    share_row(row, 1.0 - (1.0 - q).powi(n as i32), happened, worlds)
}

/// Of N nodes beside the victim f collude, and n are its peers: 1 - C(f,n)/C(N,n).
fn colluding(master: Seed, others: u32, f: u32, n: u32) -> ValidationRow {
    let scenario = attacked(others + 1, n, AttackScenario::Fork, Colluding::OfAll(f));
    let row = format!("detection by {n} of {others} nodes, {f} colluding: probability");
    let (happened, worlds) = noticed(master, &row, &scenario);
    share_row(row, 1.0 - binomial(f, n) / binomial(others, n), happened, worlds)
}

/// How often is a connection stuck, over good days and bad days? Their mean, by how long they last.
fn bad_days(master: Seed) -> ValidationRow {
    let (tor, day) = (TorScenario { churn: 0.0, ..TorScenario::days() }, 24 * HOUR);
    let Days { good, bad } = tor.days;
    let scenario = Scenario { horizon: 64 * day, tor, ..quiet_scenario(9, 1) };
    let share = |world| {
        let environment = Environment::new(scenario.clone(), row_seed(master, "bad days", world));
        let tries = (0..8).flat_map(|peer| (0..128).map(move |cycle| (peer, cycle)));
        let stuck = |(peer, cycle): &(u32, u64)| {
            let at = cycle * day / 2;
            environment.connect_outcome((8, *peer), (*cycle, 0), at, true) == ConnectOutcome::Stuck
        };
        tries.filter(stuck).count() as f64 / 1024.0
    };
    let values: Vec<f64> = (0..300).map(share).collect();
    let lasts = (good.1 as f64, bad.1 as f64);
    let expected = (good.0 * lasts.0 + bad.0 * lasts.1) / (lasts.0 + lasts.1);
    mean_row(
        "a connection fails, over good and bad days: probability".to_owned(),
        expected,
        &values,
    )
}

/// How often does one of six relays leave that a connection of 2 min goes over?
fn relay_leaves(master: Seed) -> ValidationRow {
    let (churn, lasts) = (0.5, 2 * MINUTE);
    let tor = TorScenario { connect: (lasts, 0.0), churn, ..TorScenario::none() };
    let environment =
        Environment::new(Scenario { tor, ..quiet_scenario(2, 1) }, row_seed(master, "broken", 0));
    let tries = 40_000;
    let is_broken = |cycle: &u64| {
        matches!(
            environment.connect_outcome((0, 1), (*cycle, 0), 0, true),
            ConnectOutcome::Refused(_)
        )
    };
    let happened = (0..tries).filter(is_broken).count() as u64;
    let hazard = 6.0 * churn * lasts as f64 / HOUR as f64;
    let name = "one of six relays leaves within 2 min: probability".to_owned();
    share_row(name, 1.0 - (-hazard).exp(), happened, tries)
}

/// How long until everybody has heard, on a complete graph in which everyone starts one contact per
/// unit of time? (n-1) H(n-1) / n if news crosses in both directions, twice that if in one.
fn rumour(master: Seed, n: u32, both: bool) -> ValidationRow {
    let values: Vec<f64> = (0..300)
        .map(|world| {
            let row = format!("rumour {n} {both}");
            spread(row_seed(master, &row, world), n, both) as f64 / UNIT as f64
        })
        .collect();
    let harmonic: f64 = (1..n).map(|i| 1.0 / f64::from(i)).sum();
    let pull = f64::from(n - 1) * harmonic / f64::from(n) * if both { 1.0 } else { 2.0 };
    let how = if both { "both directions" } else { "one direction" };
    mean_row(format!("rumour among {n}, {how}: mean time"), pull, &values)
}

/// A unit of time, fine enough that contacts at one time do not matter.
const UNIT: Millis = 1 << 32;

fn spread(seed: Seed, n: u32, both: bool) -> Millis {
    let (waits, others) = (seed.draws("contact"), seed.draws("other"));
    let wait = |node: u32, contact: u64| {
        (-(1.0 - waits.unit(node.into(), contact)).ln() * UNIT as f64) as Millis
    };
    let mut queue = Queue::with_capacity(n as usize);
    for node in 0..n {
        queue.push(wait(node, 0), node, 1u64);
    }
    let mut knows = vec![false; n as usize];
    knows[0] = true;
    let mut missing = n - 1;
    while let Some((now, node, contacts)) = queue.pop() {
        queue.push(now + wait(node, contacts), node, contacts + 1);
        let other = (others.bits(node.into(), contacts) % u64::from(n - 1)) as u32;
        let other = (node + 1 + other) % n;
        let (mine, theirs) = (knows[node as usize], knows[other as usize]);
        let told = if theirs && !mine {
            node
        } else if both && mine && !theirs {
            other
        } else {
            continue;
        };
        knows[told as usize] = true;
        missing -= 1;
        if missing == 0 {
            return now;
        }
    }
    unreachable!("contacts never end")
}
