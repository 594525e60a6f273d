//! Results of studies that ship, made small, as recorded in `tests/golden/`: the numbers of both tiers
//! come out the same to the last bit. `SIMNET_GOLDEN=overwrite cargo test -p simnet golden` records anew.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SEED: &str = "15";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program on a study with other values for some of its fields; returns what it prints.
fn simnet(command: &str, study: &str, set: &[&str], rest: &[&str]) -> String {
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

/// Compares results with the recorded ones.
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

/// One small world of every cell, as a population of numbers.
fn population(study: &str, set: &[&str]) {
    let place = tempfile::tempdir().expect("a directory");
    let out = place.path().display().to_string();
    let set = [&["replications=1"], set].concat();
    simnet("answer", study, &set, &["--out", &out]);
    let results = fs::read_to_string(place.path().join("results.jsonl")).expect("results");
    // The first line has the program's version and the words of the study.
    let (_, rows) = results.split_once('\n').expect("a line for every world");
    compare(&format!("{study}.population.jsonl"), rows);
}

/// One small world, played with the code that ships.
fn real(study: &str, set: &[&str]) {
    let results = simnet("run", study, set, &["--real", "--json"]);
    compare(&format!("{study}.real.json"), &results);
}

#[test]
fn numbers_of_flash_forks_are_as_recorded() {
    population("flash-fork", &["nodes.count=20"]);
}

#[test]
fn numbers_of_forks_of_every_shape_are_as_recorded() {
    population("forks", &["nodes.count=20"]);
}

#[test]
fn numbers_of_times_to_patch_are_as_recorded() {
    population("time-to-patch", &["nodes.count=12", "horizon=4d"]);
}

#[test]
fn a_flash_fork_of_the_code_that_ships_is_as_recorded() {
    real("flash-fork", &["nodes.count=8", "settle=15min", "lasts=1h", "share=1.0"]);
}

#[test]
fn a_fork_of_the_code_that_ships_is_as_recorded() {
    real("forks", &["nodes.count=8", "shape=next", "background=1h", "colluding=4"]);
}

#[test]
fn a_time_to_patch_of_the_code_that_ships_is_as_recorded() {
    real("time-to-patch", &["nodes.count=5", "horizon=4d", "circle=3", "model=days"]);
}
