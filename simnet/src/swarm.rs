//! Swarm testing: every seed is a small world with a random half of all that can go wrong in it.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::checkers::{Safety, Violation};
use crate::environment::Environment;
use crate::faults::{Fault, Kind};
use crate::real::{self, RealError};
use crate::scenario::{Adversary, Attack, Colluding, Scenario, Topology, Tor};
use crate::trace::Witness as _;
use crate::{Millis, Seed};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// The world of a seed.
pub fn scenario(seed: Seed) -> Scenario {
    let mut rng = seed.draws("swarm").rng(0, 0);
    let nodes = rng.random_range(4..=8);
    let horizon = 12 * HOUR;
    let mut faults = Vec::new();
    for kind in Kind::ALL {
        if rng.random() {
            let from = rng.random_range(0..5 * HOUR);
            let until = from + rng.random_range(HOUR / 2..2 * HOUR);
            faults.push(Fault { kind, share: 0.12, from, until });
        }
    }
    Scenario {
        name: format!("swarm {}", seed.0),
        question: "does any rule break?".to_owned(),
        horizon,
        nodes,
        circle: rng.random_range(2..nodes.min(5)),
        topology: *[Topology::Random, Topology::Ring, Topology::SmallWorld(0.3)]
            .choose(&mut rng)
            .expect("three"),
        availability: if rng.random() { 1.0 } else { 0.95 },
        mean_outage: HOUR,
        poll: (5 * MINUTE, 15 * MINUTE),
        max_poll_age: 30 * MINUTE,
        roll: (20 * MINUTE, 40 * MINUTE),
        settle: HOUR,
        ask_timeout: 45_000,
        roll_timeout: 2 * MINUTE,
        tor: tor(&mut rng),
        release: (rng.random_range(0..2 * HOUR), rng.random_range(2 * HOUR..4 * HOUR)),
        background: if rng.random() { 0 } else { rng.random_range(5 * MINUTE..HOUR) },
        late: 4 * HOUR,
        adversary: rng.random_bool(0.6).then(|| adversary(&mut rng, nodes)),
        faults,
    }
}

fn tor(rng: &mut StdRng) -> Tor {
    let slow = rng.random();
    Tor {
        connect: if slow { (6100, 0.5) } else { (2500, 0.55) },
        stuck: if rng.random() { 0.0 } else { 0.02 },
        slow: if slow { (0.05, 50_000, 120_000) } else { (0.0, 0, 0) },
        round_trip: (280, 0.8),
        hiccup: (0.002, 5000, 10_000),
        vantage: vec![0, 50, 155, 400],
    }
}

fn adversary(rng: &mut StdRng, nodes: u32) -> Adversary {
    let start = rng.random_range(HOUR..6 * HOUR);
    let lasts = rng.random_range(10 * MINUTE..3 * HOUR);
    let percent = rng.random_range(20..=100);
    let attacks = [Attack::Fork, Attack::Flash(percent, lasts), Attack::Freeze, Attack::Block];
    let colluding = if rng.random() {
        Colluding::OfCircle(rng.random_range(0..4))
    } else {
        Colluding::OfAll(rng.random_range(0..nodes / 2))
    };
    let attack = *attacks.choose(rng).expect("four");
    Adversary { start, victims: rng.random_range(1..=2), colluding, attack }
}

/// Plays a world with the code that ships and holds it against every rule.
pub fn check(scenario: Scenario, seed: Seed) -> Result<Vec<Violation>, RealError> {
    let environment = Environment::new(scenario, seed);
    let events = real::run(environment.clone(), seed)?;
    let mut safety = Safety::new(&environment);
    events.iter().for_each(|event| safety.see(event));
    Ok(safety.finish())
}
