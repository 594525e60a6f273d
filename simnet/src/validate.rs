//! Comparison of the simulator with results that are known in closed form.
//!
//! Nothing in the simulator is fitted to these results. Each row has the value of a formula, and
//! the simulated value with an interval of 99.9%. For a correct simulator, about one in fifty
//! tables of twenty rows has a row outside its interval. With a fixed seed, it is always the same
//! row.

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

/// One known result and the simulated result.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationRow {
    /// The measured quantity and its unit.
    pub name: String,
    /// The value of the closed form.
    pub expected: f64,
    /// The value of the simulator.
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
        let ValidationRow { name, expected, simulated, half_width } = self;
        let (low, high) = (simulated - half_width, simulated + half_width);
        let verdict = if self.is_reproduced() { "" } else { "  OUTSIDE" };
        write!(f, "{name:<58} {expected:>9.4} {simulated:>9.4}  {low:.4} to {high:.4}{verdict}")
    }
}

/// Computes all rows from a master seed. Takes about a second in a release build.
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

/// A world in which no connection takes time, all services are up, and there is neither a release
/// nor an attack. Measurements change single parameters of it.
pub fn quiet_scenario(nodes: u32, peers: u32) -> Scenario {
    Scenario {
        name: "quiet".to_owned(),
        question: "Does the simulator reproduce what is known?".to_owned(),
        horizon: 2 * HOUR,
        nodes,
        peers,
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

/// The seed for one world of one row.
fn row_seed(master: Seed, row: &str, world: u64) -> Seed {
    Seed(master.draws(row).bits(world, 0))
}

/// A row for the mean of values from independent worlds.
fn mean_row(name: String, expected: f64, values: &[f64]) -> ValidationRow {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    ValidationRow { name, expected, simulated: mean, half_width: WIDE * (variance / count).sqrt() }
}

/// A row for the probability of an event that happened in `happened` of `worlds` worlds. It has
/// Wilson's interval, widened to be symmetric.
fn share_row(name: String, expected: f64, happened: u64, worlds: u64) -> ValidationRow {
    let (share, count) = (happened as f64 / worlds as f64, worlds as f64);
    let z2 = WIDE * WIDE;
    let centre = (share + z2 / (2.0 * count)) / (1.0 + z2 / count);
    let spread = WIDE * (share * (1.0 - share) / count + z2 / (4.0 * count * count)).sqrt();
    let half_width = spread / (1.0 + z2 / count) + (centre - share).abs();
    ValidationRow { name, expected, simulated: share, half_width }
}

/// The probability that all n peers are up when they are asked: p^n.
fn all_up(master: Seed, n: u32, p: f64) -> ValidationRow {
    let scenario = Scenario { availability: p, ..quiet_scenario(500, n) };
    let share = |world| {
        let results = play(&scenario, row_seed(master, "all up", world));
        let count = |name| results.counts[name] as f64;
        count("rounds.unanimous") / count("rounds")
    };
    let values: Vec<f64> = (0..60).map(share).collect();
    mean_row(format!("all {n} peers up, each {p}: probability"), p.powi(n as i32), &values)
}

/// The mean wait until all n peers are up, from a time at which not all are up. The number of peers
/// that are down is a birth and death process.
fn wait_until_all_up(master: Seed, n: u32, p: f64) -> ValidationRow {
    let scenario = Scenario { availability: p, ..quiet_scenario(40_000, n) };
    let environment = Environment::new(scenario, row_seed(master, "wait", 0));
    let step = MINUTE;
    let mut values = Vec::new();
    for group in 0..environment.scenario.nodes / n {
        let peers = group * n..(group + 1) * n;
        let mut services: Vec<(u32, ServiceSchedule)> =
            peers.map(|peer| (peer, environment.service(peer))).collect();
        let mut all_up = |at: Millis| {
            // Every schedule is asked at every step, so that all advance.
            let up = |(peer, service): &mut (u32, ServiceSchedule)| {
                service.is_up(&environment, *peer, at)
            };
            services.iter_mut().filter_map(|service| up(service).then_some(())).count()
                == n as usize
        };
        let steps = (0..).position(|steps| all_up(steps * step)).unwrap_or(0);
        if steps > 0 {
            // On average, the last peer came up half a step before.
            values.push((steps as f64 - 0.5) * step as f64 / HOUR as f64);
        }
    }
    let name = format!("wait until all {n} are up, each {p}: mean hours");
    mean_row(name, mean_wait_until_all_up(n, p, 8.0), &values)
}

/// The mean time of the slowest of n lognormal connections.
fn slowest(master: Seed, n: u32) -> ValidationRow {
    let (median, sigma) = (2500, 0.55);
    let patient = Scenario { ask_timeout: HOUR, round_timeout: HOUR, ..quiet_scenario(600, n) };
    let round_interval = (10 * MINUTE, 10 * MINUTE);
    let tor = TorScenario { connect: (median, sigma), ..patient.tor.clone() };
    let results =
        play(&Scenario { round_interval, tor, ..patient }, row_seed(master, "slowest", n.into()));
    let round = &results.times["round"];
    let (mean, error) = (round.mean().unwrap_or(0.0), round.standard_error().unwrap_or(0.0));
    ValidationRow {
        name: format!("slowest of {n} lognormal(2.5 s, 0.55): mean seconds"),
        expected: mean_of_slowest(n, median as f64 / 1000.0, sigma),
        // Simulated times are rounded up to whole milliseconds.
        simulated: (mean - 0.5) / 1000.0,
        half_width: WIDE * error / 1000.0,
    }
}

/// A world with one victim. Its log grows so fast that every honest peer soon has a larger head
/// than the fork.
fn attacked(nodes: u32, peers: u32, attack: AttackScenario, colluding: Colluding) -> Scenario {
    let start = 30 * MINUTE;
    Scenario {
        horizon: 2 * HOUR,
        poll: (5 * MINUTE, 10 * MINUTE),
        round_interval: (10 * MINUTE, 20 * MINUTE),
        background: 10_000,
        adversary: Some(Adversary { colluding, ..Adversary::new(attack, start) }),
        ..quiet_scenario(nodes, peers)
    }
}

fn noticed(master: Seed, row: &str, scenario: &Scenario) -> (u64, u64) {
    let mut sum = Results::default();
    for world in 0..600 {
        sum.merge(&play(scenario, row_seed(master, row, world)));
    }
    (sum.counts["attacks.noticed"], sum.counts["attacks"])
}

/// The probability of detection if each peer sees the log with probability q and otherwise the
/// victim's fork: 1-(1-q)^n. All other nodes are peers of the victim, so evidence reaches it from
/// no other node.
fn independent(master: Seed, n: u32, q: f64) -> ValidationRow {
    let deceived_percent = ((1.0 - q) * 100.0).round() as u32;
    let attack = AttackScenario::Flash(deceived_percent, 24 * HOUR);
    let scenario = attacked(n + 1, n, attack, Colluding::OfAll(0));
    let row = format!("detection by {n} peers, each with q = {q}: probability");
    let (happened, worlds) = noticed(master, &row, &scenario);
    share_row(row, 1.0 - (1.0 - q).powi(n as i32), happened, worlds)
}

/// The probability of detection if, of N nodes beside the victim, f collude and n are its peers:
/// 1 - C(f,n)/C(N,n).
fn colluding(master: Seed, others: u32, f: u32, n: u32) -> ValidationRow {
    let scenario = attacked(others + 1, n, AttackScenario::Fork, Colluding::OfAll(f));
    let row = format!("detection by {n} of {others} nodes, {f} colluding: probability");
    let (happened, worlds) = noticed(master, &row, &scenario);
    share_row(row, 1.0 - binomial(f, n) / binomial(others, n), happened, worlds)
}

/// The probability that a connection is stuck over good and bad days: the mean of both, weighted by
/// their durations.
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

/// The probability that one of the six relays of a connection leaves within the 2 minutes that
/// connecting takes.
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

/// The mean time until a rumour has reached all nodes of a complete graph, if each node starts one
/// contact per unit of time. It is (n-1) H(n-1) / n if news crosses a contact in both directions,
/// and twice as long if news crosses in one direction.
fn rumour(master: Seed, n: u32, both: bool) -> ValidationRow {
    let values: Vec<f64> = (0..300)
        .map(|world| {
            let row = format!("rumour {n} {both}");
            spread(row_seed(master, &row, world), n, both) as f64 / UNIT as f64
        })
        .collect();
    let harmonic: f64 = (1..n).map(|i| 1.0 / f64::from(i)).sum();
    let expected = f64::from(n - 1) * harmonic / f64::from(n) * if both { 1.0 } else { 2.0 };
    let how = if both { "both directions" } else { "one direction" };
    mean_row(format!("rumour among {n}, {how}: mean time"), expected, &values)
}

/// The rumours' unit of time, in milliseconds. It is so long that simultaneous contacts do not
/// matter.
const UNIT: Millis = 1 << 32;

/// The time until a rumour has reached all of n nodes, in one simulated world.
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
        let learner = if theirs && !mine {
            node
        } else if both && mine && !theirs {
            other
        } else {
            continue;
        };
        knows[learner as usize] = true;
        missing -= 1;
        if missing == 0 {
            return now;
        }
    }
    unreachable!("contacts never end")
}
