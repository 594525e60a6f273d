//! Results of small versions of the shipped scenarios, equal to the last bit to those recorded in
//! `tests/golden/`.
//!
//! `SIMNET_GOLDEN=overwrite cargo test -p simnet golden` records new results.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEED: &str = "15";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command on a shipped scenario with other values for some fields. Returns its output.
fn run_simnet(command: &str, study: &str, set: &[&str], rest: &[&str]) -> String {
    let mut simnet = Command::new(env!("CARGO_BIN_EXE_simnet"));
    for variable in ["SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX"] {
        simnet.env_remove(variable);
    }
    simnet.arg(command).arg(root().join(format!("scenarios/{study}.toml"))).args(["--seed", SEED]);
    simnet.args(set.iter().flat_map(|set| ["--set", set])).args(rest);
    let output = simnet.output().expect("it ran");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Compares results with the recorded ones, or records them.
fn compare(name: &str, results: &str) {
    let path: PathBuf = root().join("tests/golden").join(name);
    if std::env::var_os("SIMNET_GOLDEN").is_some_and(|mode| mode == "overwrite") {
        fs::write(&path, results).expect("recorded");
    }
    let recorded = fs::read_to_string(&path).expect("a record");
    for (number, (new, old)) in results.lines().zip(recorded.lines()).enumerate() {
        assert_eq!(new, old, "{name}, line {}", number + 1);
    }
    assert_eq!(results.lines().count(), recorded.lines().count(), "{name}");
}

/// Compares one small world of every cell, in the population tier.
fn compare_population(study: &str, set: &[&str]) {
    let scratch = tempfile::tempdir().expect("a directory");
    let out = scratch.path().display().to_string();
    let set = [&["replications=1"], set].concat();
    run_simnet("answer", study, &set, &["--out", &out]);
    let results = fs::read_to_string(scratch.path().join("results.jsonl")).expect("results");
    // The first line has the program's version and the study's questions.
    let (_, rows) = results.split_once('\n').expect("a line for every world");
    compare(&format!("{study}.population.jsonl"), rows);
}

/// Compares one small world of the first cell, in the full tier.
fn compare_full(study: &str, set: &[&str]) {
    let results = run_simnet("run", study, set, &["--full", "--json"]);
    compare(&format!("{study}.full.json"), &results);
}

#[test]
fn population_results_of_flash_forks_are_as_recorded() {
    compare_population("flash-fork", &["nodes.count=20"]);
}

#[test]
fn population_results_of_every_fork_shape_are_as_recorded() {
    compare_population("forks", &["nodes.count=20"]);
}

#[test]
fn population_results_of_times_to_patch_are_as_recorded() {
    compare_population("time-to-patch", &["nodes.count=12", "horizon=4d"]);
}

#[test]
fn full_tier_results_of_a_flash_fork_are_as_recorded() {
    compare_full("flash-fork", &["nodes.count=8", "settle=15min", "lasts=1h", "share=1.0"]);
}

#[test]
fn full_tier_results_of_a_fork_are_as_recorded() {
    compare_full("forks", &["nodes.count=8", "shape=next", "background=1h", "colluding=4"]);
}

#[test]
fn full_tier_results_of_a_time_to_patch_are_as_recorded() {
    compare_full("time-to-patch", &["nodes.count=5", "horizon=4d", "peers=3", "model=days"]);
}
