//! Both tiers give the same events, to the millisecond, for every node.

use rand::RngExt as _;
use simnet::scenario::fault::{Fault, FaultKind};
use simnet::scenario::{Adversary, AttackScenario, Colluding, Days, Mirrors, Scenario, Shape};
use simnet::trace::Event;
use simnet::{Environment, Millis, Seed, full, population, swarm};

/// A random world without faults.
fn world(seed: Seed) -> Scenario {
    Scenario { faults: Vec::new(), ..swarm::random_scenario(seed) }
}

/// The events of a world in the full tier, then in the population tier.
fn play_both_tiers(scenario: Scenario, seed: Seed) -> [Vec<Event>; 2] {
    let environment = Environment::new(scenario, seed);
    let mut numbers = Vec::new();
    population::run(&environment, &mut numbers);
    numbers.sort_by_key(|event: &Event| (event.at, event.node));
    [full::run(environment, seed).unwrap(), numbers]
}

/// A random world with short times. Services go down within a round, peers often have no fresh
/// head, and a release is made before the one before has settled.
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

/// A rough world in which peers equivocate.
fn equivocating(seed: Seed) -> Scenario {
    let world = rough(seed);
    let mut rng = seed.draws("story").rng(0, 0);
    let start = rng.random_range(0..90 * 60_000);
    let colluding = Colluding::OfPeers(rng.random_range(1..3));
    let adversary =
        Adversary { victims: 2, colluding, ..Adversary::new(AttackScenario::Equivocate, start) };
    Scenario { adversary: Some(adversary), ..world }
}

/// A rough world with a fork, whose shape depends on the seed, or with a logged trojan.
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
    let equivocate_to_all = attack.is_fork() && rng.random();
    let withdrawn_after = (attack == AttackScenario::Logged && rng.random())
        .then(|| rng.random_range(1..90 * 60_000));
    let usual = Adversary { withdrawn_after, ..Adversary::new(attack, start) };
    let adversary = Adversary { victims: 2, colluding, shape, equivocate_to_all, ..usual };
    Scenario { adversary: Some(adversary), ..world }
}

/// A rough world in which good and bad times of Tor alternate, and relays leave during a question.
fn stormy(seed: Seed) -> Scenario {
    let mut world = rough(seed);
    let mut rng = seed.draws("stormy").rng(0, 0);
    let minute = 60_000;
    let mut day = || (rng.random_range(0.0..0.9), rng.random_range(minute..60 * minute));
    world.tor.days = Days { good: day(), bad: day() };
    world.tor.churn = rng.random_range(0.0..200.0);
    world
}

/// Adds mirrors that go down and return.
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

/// Adds random faults, of the kinds that a population plays.
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

/// A rough world whose nodes often go off and return, within rounds and polls.
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
fn tiers_agree_in_worlds_with_faults() {
    assert_tiers_agree(faulty(world), 0..8);
    assert_tiers_agree(faulty(rough), 0..8);
    assert_tiers_agree(faulty(mirrors_down(equivocating)), 0..4);
    assert_tiers_agree(faulty(forked), 0..4);
    assert_tiers_agree(faulty(stormy), 0..4);
}

#[test]
fn tiers_agree_if_nodes_go_off_and_return() {
    assert_tiers_agree(restless, 0..6);
}

#[test]
fn tiers_agree_if_mirrors_are_down() {
    assert_tiers_agree(mirrors_down(world), 0..8);
    assert_tiers_agree(mirrors_down(rough), 0..8);
    assert_tiers_agree(mirrors_down(equivocating), 0..6);
}

#[test]
fn tiers_agree_if_peers_equivocate() {
    assert_tiers_agree(equivocating, 0..6);
}

#[test]
fn tiers_agree_on_forks_and_logged_trojans() {
    assert_tiers_agree(forked, 0..12);
    assert_tiers_agree(mirrors_down(forked), 0..6);
}

/// A rough world in which a logged trojan is withdrawn, within seconds or hours.
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
fn tiers_agree_on_withdrawn_trojans() {
    assert_tiers_agree(withdrawn, 0..12);
    assert_tiers_agree(mirrors_down(withdrawn), 0..6);
    assert_tiers_agree(faulty(withdrawn), 0..6);
}

#[test]
fn tiers_agree_on_good_and_bad_days() {
    assert_tiers_agree(stormy, 0..12);
}

#[test]
fn tiers_agree_in_random_worlds() {
    assert_tiers_agree(world, 0..40);
}

#[test]
fn tiers_agree_in_rough_worlds() {
    assert_tiers_agree(rough, 0..16);
}

/// Fails at the first world in which the tiers differ, and prints the events around that place.
fn assert_tiers_agree(world: impl Fn(Seed) -> Scenario, seeds: std::ops::Range<u64>) {
    for seed in seeds.map(Seed) {
        let [full, numbers] = play_both_tiers(world(seed), seed);
        let differs = full.iter().zip(&numbers).position(|(one, other)| one != other);
        let ends = (full.len() != numbers.len()).then(|| full.len().min(numbers.len()));
        if let Some(at) = differs.or(ends) {
            let around = |events: &[Event]| {
                let around = at.saturating_sub(8)..(at + 4).min(events.len());
                events[around].iter().map(|event| format!("\n  {event:?}")).collect::<String>()
            };
            let (one, other) = (around(&full), around(&numbers));
            panic!("world {}: full tier{one}\npopulation tier{other}", seed.0);
        }
    }
}
