//! The program `simnet`: parses the command line, runs the command and returns its exit code.

use std::process::ExitCode;

use simnet::cli::Simulator;
use simnet::{Scenario, Seed, population, validate};

fn main() -> ExitCode {
    let validate = |master| {
        let table = validate::validate_all(Seed(master));
        let head = format!("{:<58} {:>9} {:>9}  99.9% interval", "", "expected", "simulated");
        let lines = [head].into_iter().chain(table.iter().map(ToString::to_string)).collect();
        (lines, table.iter().all(validate::ValidationRow::is_reproduced))
    };
    let bytes_needed = population::bytes_needed;
    let refuse =
        |world: &Scenario| population::check_playable(world).err().map(|fault| fault.to_string());
    simnet::cli::main(&Simulator { play: simnet::play, refuse, bytes_needed, validate })
}
