//! Both tiers tell the same story, to the millisecond, for every node.

use simnet::scenario::Scenario;
use simnet::trace::Event;
use simnet::{Environment, Seed, population, real, swarm};

/// A random world in which nothing happens that only the real code knows.
fn world(seed: Seed) -> Scenario {
    Scenario { faults: Vec::new(), ..swarm::scenario(seed) }
}

fn both(scenario: Scenario, seed: Seed) -> [Vec<Event>; 2] {
    let environment = Environment::new(scenario, seed);
    let mut numbers = Vec::new();
    population::run(&environment, &mut numbers);
    numbers.sort_by_key(|event: &Event| (event.at, event.node));
    [real::run(environment, seed).unwrap(), numbers]
}

#[test]
fn the_same_happens_in_both_tiers_in_random_worlds() {
    for seed in (0..40).map(Seed) {
        let [real, numbers] = both(world(seed), seed);
        let apart = real.iter().zip(&numbers).position(|(one, other)| one != other);
        let apart = apart.or((real.len() != numbers.len()).then(|| real.len().min(numbers.len())));
        if let Some(at) = apart {
            let around = |events: &[Event]| {
                let around = at.saturating_sub(8)..(at + 4).min(events.len());
                events[around].iter().map(|event| format!("\n  {event:?}")).collect::<String>()
            };
            let (one, other) = (around(&real), around(&numbers));
            panic!("world {}: the real code tells{one}\nand the numbers{other}", seed.0);
        }
    }
}
