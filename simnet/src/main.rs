//! Runs, sweeps, merges and reports.

use std::process::ExitCode;

use simnet::cli::Simulator;
use simnet::{Environment, Results, Scenario, Seed};

fn main() -> ExitCode {
    let validate = |_| (vec!["nothing is validated yet".to_owned()], false);
    simnet::cli::main(&Simulator { play: stand_in, bytes_needed, validate })
}

/// In the place of the engine until there is one: asks each node's circle once, and nothing else.
/// TO BE REPLACED by `simnet::play`.
fn stand_in(scenario: &Scenario, seed: Seed) -> Results {
    let environment = Environment::new(scenario.clone(), seed);
    let draws = seed.draws("stand-in");
    let mut results = Results::default();
    results.count("worlds", 1);
    for node in 0..scenario.nodes {
        let down = environment
            .circle(node)
            .iter()
            .filter(|peer| draws.unit(u64::from(**peer), 0) >= scenario.availability);
        let down = down.count();
        let wait = -(1.0 - draws.unit(u64::from(node), 1)).ln() * scenario.mean_outage as f64;
        let patch = scenario.settle + if down == 0 { 0 } else { wait as u64 };
        results.count("releases.due", 1);
        results.count("releases.late", u64::from(patch > scenario.late));
        results.count("rolls", 1);
        results.count("rolls.unanimous", u64::from(down == 0));
        results.count("rolls.incomplete", u64::from(down > 0));
        if patch < scenario.horizon - scenario.release.0 {
            results.count("installs", 1);
            results.time("patch", patch);
        }
        let (out, back) = environment.round_trip((node, environment.circle(node)[0]), (0, 0));
        results.time("roll", out + back);
    }
    if let Some(adversary) = &scenario.adversary {
        results.count("attacks", 1);
        results.count("victims", adversary.victims.into());
        let notice = (-(1.0 - draws.unit(0, 2)).ln() * scenario.settle as f64) as u64 + 60_000;
        let noticed = adversary.start + notice < scenario.horizon && draws.unit(0, 3) < 0.9;
        results.count("attacks.noticed", u64::from(noticed));
        results.count("attacks.installed", 0);
        results.count("victims.noticed", if noticed { adversary.victims.into() } else { 0 });
        results.count("victims.installed", 0);
        results.count("evidence.nodes", u64::from(scenario.nodes) / 2);
        if noticed {
            results.time("notice", notice);
            results.time("evidence.half", notice * 2);
            results.time("evidence.all", notice * 5);
        }
    }
    results
}

/// TO BE REPLACED by `simnet::population::bytes_needed`.
fn bytes_needed(scenario: &Scenario) -> u64 {
    u64::from(scenario.nodes) * (204 + 8 * u64::from(scenario.circle))
}
