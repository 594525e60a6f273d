//! A small study and invented results, for the other modules.

use std::path::Path;

use simnet::{Results, Scenario, Seed, Study};

/// A valid scenario. Tests replace parts of it.
pub(crate) const GOOD: &str = r#"question = "What happens?"
horizon = "2d"

[nodes]
count = 20
peers = 3
availability = 0.9

[program]
poll = ["5min", "15min"]

[tor]
model = "calm"
slow = { probability = 0.1, from = "1s", to = "2s" }

[release]
first = "1h"

[adversary]
attack = "fork"
start = "3h"
colluding = 1

[sweep]
peers = [3, 5]
settle = ["0s", "1h", "2h"]
replications = 4

[[plot]]
question = "How often late?"
metric = "releases.late / releases.due"
x = "settle"
line = "peers"
"#;

/// Reads a valid study.
pub(crate) fn study(text: &str) -> Study {
    Study::read(Path::new("test.toml"), text, &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The error for an invalid study, with values of `--set`.
pub(crate) fn refused(text: &str, set: &[&str]) -> String {
    let set: Vec<String> = set.iter().map(|set| (*set).to_owned()).collect();
    match Study::read(Path::new("test.toml"), text, &set) {
        Ok(_) => panic!("not refused"),
        Err(error) => error.to_string(),
    }
}

/// Invented results of a world. They depend on the scenario and the seed only.
pub(crate) fn play(scenario: &Scenario, seed: Seed) -> Results {
    let draws = seed.draws("test");
    let mut results = Results::default();
    results.add_count("worlds", 1);
    results.add_count("attacks", 1);
    results.add_count("attacks.noticed", draws.bits(0, 0) % 2);
    for node in 0..u64::from(scenario.nodes) {
        let wait = scenario.settle + draws.bits(node, 1) % 100_000_000;
        results.add_count("releases.due", 1);
        results.add_count("releases.late", u64::from(wait > 90_000_000));
        results.add_time("patch", wait);
    }
    results
}
