//! Both tiers tell the same story, to the millisecond, for every node.

use rand::RngExt as _;
use simnet::scenario::fault::{Fault, FaultKind};
use simnet::scenario::{Adversary, AttackScenario, Colluding, Days, Mirrors, Scenario, Shape};
use simnet::trace::Event;
use simnet::{Environment, Millis, Seed, full, population, swarm};

/// A random world in which nothing happens that only the real code knows.
fn world(seed: Seed) -> Scenario {
    Scenario { faults: Vec::new(), ..swarm::random_scenario(seed) }
}

fn both(scenario: Scenario, seed: Seed) -> [Vec<Event>; 2] {
    let environment = Environment::new(scenario, seed);
    let mut numbers = Vec::new();
    population::run(&environment, &mut numbers);
    numbers.sort_by_key(|event: &Event| (event.at, event.node));
    [full::run(environment, seed).unwrap(), numbers]
}

/// A random world in which peers come and go within a roll, are blind half the time, and releases
/// come before those before them have settled.
fn rough(seed: Seed) -> Scenario {
    let mut rng = seed.draws("rough").rng(0, 0);
    let minute = 60_000;
    let mut world = world(seed);
    if let Some(adversary) = &mut world.adversary {
        adversary.start = rng.random_range(minute..90 * minute);
    }
    Scenario {
        horizon: 4 * 60 * minute,
        availability: rng.random_range(0.5..1.0),
        mean_outage: rng.random_range(1000..10 * minute),
        max_poll_age: rng.random_range(4 * minute..20 * minute),
        round_interval: (minute, 10 * minute),
        settle: rng.random_range(0..30 * minute),
        ask_timeout: rng.random_range(3000..70_000),
        round_timeout: rng.random_range(10_000..150_000),
        release: (rng.random_range(0..60 * minute), rng.random_range(minute..20 * minute)),
        background: rng.random_range(0..10 * minute),
        ..world
    }
}

/// A rough world in which peers change their story.
fn told_twice(seed: Seed) -> Scenario {
    let world = rough(seed);
    let mut rng = seed.draws("story").rng(0, 0);
    let start = rng.random_range(0..90 * 60_000);
    let colluding = Colluding::OfPeers(rng.random_range(1..3));
    let adversary =
        Adversary { victims: 2, colluding, ..Adversary::new(AttackScenario::Equivocate, start) };
    Scenario { adversary: Some(adversary), ..world }
}

/// A rough world in which the log is forked, in one shape after another, or has a trojan in it.
fn forked(seed: Seed) -> Scenario {
    let world = rough(seed);
    let mut rng = seed.draws("forked").rng(0, 0);
    let start = rng.random_range(0..90 * 60_000);
    let flash =
        AttackScenario::Flash(rng.random_range(20..=100), rng.random_range(60_000..90 * 60_000));
    let attack = if rng.random() { AttackScenario::Fork } else { flash };
    let starved = Shape::Starved(rng.random_range(60_000..120 * 60_000));
    let longer = Shape::Longer(rng.random_range(1..30));
    let shape = [Shape::Same, longer, starved, Shape::Next][seed.0 as usize % 4];
    let attack = if shape == Shape::Next { AttackScenario::Logged } else { attack };
    let colluding = Colluding::OfPeers(rng.random_range(0..4));
    let launders = attack.is_fork() && rng.random();
    let withdrawn_after = (attack == AttackScenario::Logged && rng.random())
        .then(|| rng.random_range(1..90 * 60_000));
    let usual = Adversary { withdrawn_after, ..Adversary::new(attack, start) };
    let adversary =
        Adversary { victims: 2, colluding, shape, equivocate_to_all: launders, ..usual };
    Scenario { adversary: Some(adversary), ..world }
}

/// A rough world in which good minutes and bad ones alternate and relays leave while they are asked.
fn stormy(seed: Seed) -> Scenario {
    let mut world = rough(seed);
    let mut rng = seed.draws("stormy").rng(0, 0);
    let minute = 60_000;
    let mut day = || (rng.random_range(0.0..0.9), rng.random_range(minute..60 * minute));
    world.tor.days = Days { good: day(), bad: day() };
    world.tor.churn = rng.random_range(0.0..200.0);
    world
}

/// The same with mirrors that come and go.
fn mirrors_down(world: fn(Seed) -> Scenario) -> impl Fn(Seed) -> Scenario {
    move |seed| {
        let world = world(seed);
        let mut rng = seed.draws("mirrors").rng(0, 0);
        let from = rng.random_range(0..world.horizon);
        let mirrors = Mirrors {
            availability: rng.random_range(0.2..1.0),
            mean_outage: rng.random_range(1000..120 * 60_000),
            within: if rng.random() { (0, Millis::MAX) } else { (from, from + 3 * 3_600_000) },
        };
        Scenario { mirrors, ..world }
    }
}

/// The same with a random half of all faults that numbers play.
fn faulty(world: impl Fn(Seed) -> Scenario) -> impl Fn(Seed) -> Scenario {
    move |seed| {
        let world = world(seed);
        let mut rng = seed.draws("faults").rng(0, 0);
        let mut faults = Vec::new();
        for kind in FaultKind::ALL.into_iter().filter(|kind| kind.is_played_by_population()) {
            for _ in 0..rng.random_range(0..3) {
                let from = rng.random_range(0..world.horizon);
                let until = from + rng.random_range(1000..world.horizon / 2);
                let share = rng.random_range(0.0..0.4);
                faults.push(Fault { kind, share, from, until });
            }
        }
        Scenario { faults, ..world }
    }
}

/// A rough world whose nodes go off and come back all the time, within rolls and polls.
fn restless(seed: Seed) -> Scenario {
    let world = rough(seed);
    let mut rng = seed.draws("restless").rng(0, 0);
    let off = |_| {
        let from = rng.random_range(0..world.horizon);
        let until = from + rng.random_range(1000..5 * 60_000);
        Fault { kind: FaultKind::Off, share: 0.7, from, until }
    };
    let mut faults: Vec<Fault> = (0..60).map(off).collect();
    faults.push(Fault { kind: FaultKind::Silent, share: 0.2, from: 0, until: world.horizon });
    faults.push(Fault { kind: FaultKind::Replay, share: 0.2, from: 0, until: world.horizon });
    Scenario { faults, ..world }
}

#[test]
fn the_same_happens_in_both_tiers_where_faults_befall_nodes() {
    agree(faulty(world), 0..8);
    agree(faulty(rough), 0..8);
    agree(faulty(mirrors_down(told_twice)), 0..4);
    agree(faulty(forked), 0..4);
    agree(faulty(stormy), 0..4);
}

#[test]
fn the_same_happens_in_both_tiers_where_nodes_come_and_go() {
    agree(restless, 0..6);
}

#[test]
fn the_same_happens_in_both_tiers_where_mirrors_are_down() {
    agree(mirrors_down(world), 0..8);
    agree(mirrors_down(rough), 0..8);
    agree(mirrors_down(told_twice), 0..6);
}

#[test]
fn the_same_happens_in_both_tiers_where_peers_change_their_story() {
    agree(told_twice, 0..6);
}

#[test]
fn the_same_happens_in_both_tiers_whatever_a_trojan_is_logged_in() {
    agree(forked, 0..12);
    agree(mirrors_down(forked), 0..6);
}

/// A rough world in which a logged trojan is taken back, just then or later.
fn withdrawn(seed: Seed) -> Scenario {
    let world = rough(seed);
    let mut rng = seed.draws("withdrawn").rng(0, 0);
    let start = rng.random_range(0..90 * 60_000);
    let most = if rng.random() { 5000 } else { 120 * 60_000 };
    let after = rng.random_range(1..most);
    let usual = Adversary::new(AttackScenario::Logged, start);
    let adversary = Adversary { victims: 2, withdrawn_after: Some(after), ..usual };
    Scenario { adversary: Some(adversary), ..world }
}

#[test]
fn the_same_happens_in_both_tiers_whenever_a_trojan_is_taken_back() {
    agree(withdrawn, 0..12);
    agree(mirrors_down(withdrawn), 0..6);
    agree(faulty(withdrawn), 0..6);
}

#[test]
fn the_same_happens_in_both_tiers_whatever_the_day_is_like() {
    agree(stormy, 0..12);
}

#[test]
fn the_same_happens_in_both_tiers_in_random_worlds() {
    agree(world, 0..40);
}

#[test]
fn the_same_happens_in_both_tiers_in_rough_worlds() {
    agree(rough, 0..16);
}

fn agree(world: impl Fn(Seed) -> Scenario, seeds: std::ops::Range<u64>) {
    for seed in seeds.map(Seed) {
        let [full, numbers] = both(world(seed), seed);
        let apart = full.iter().zip(&numbers).position(|(one, other)| one != other);
        let apart = apart.or((full.len() != numbers.len()).then(|| full.len().min(numbers.len())));
        if let Some(at) = apart {
            let around = |events: &[Event]| {
                let around = at.saturating_sub(8)..(at + 4).min(events.len());
                events[around].iter().map(|event| format!("\n  {event:?}")).collect::<String>()
            };
            let (one, other) = (around(&full), around(&numbers));
            panic!("world {}: the real code tells{one}\nand the numbers{other}", seed.0);
        }
    }
}
