//! The work of each command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use unanimity_storage::Storage;

use super::arguments::{Command, ScenarioArgs, SimnetArguments, SweepArgs};
use super::exit::{Exit, SimulatorError};
use super::output::{make_dir, print_line};
use super::study_file::read_study;
use super::{memory, progress, table, tier1};
use crate::sweep::{Job, Shard, merge, read_merged, sweep, write_merged};
use crate::{Results, Scenario, Seed, Study, report};

/// The functions of the simulator that the commands use.
#[derive(Clone, Copy, Debug)]
pub struct Simulator<P> {
    /// Plays one world.
    pub play: P,
    /// Why a world cannot be played; `None` if it can.
    pub refuse: fn(&Scenario) -> Option<String>,
    /// The memory that one world takes, in bytes.
    pub bytes_needed: fn(&Scenario) -> u64,
    /// The comparison with known results from a master seed: its lines, and whether all rows hold.
    pub validate: fn(u64) -> (Vec<String>, bool),
}

/// Runs the command of the command line, and prints an error if it fails.
pub fn main<P: Fn(&Scenario, Seed) -> Results + Sync>(simulator: &Simulator<P>) -> ExitCode {
    let arguments = match SimnetArguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match simulator.run_command(arguments.command) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("simnet: {error}");
            error.exit().into()
        }
    }
}

impl<P: Fn(&Scenario, Seed) -> Results + Sync> Simulator<P> {
    fn run_command(&self, command: Command) -> Result<(), SimulatorError> {
        match command {
            Command::Answer { scenario_args, out, sweep_args } => {
                let study = scenario_args.read_study_file()?;
                self.check_playable(&scenario_args, &study.cells)?;
                self.run_sweep(&study, scenario_args.seed, &out, Shard::WHOLE, &sweep_args)?;
                let merged = out.join("results.jsonl");
                write_merged(
                    &Storage::default(),
                    &merged,
                    &merge(std::slice::from_ref(&out), false)?,
                )?;
                write_report(&merged, &out.join("report"), None)
            }
            Command::Run { scenario_args, json, full } => {
                self.run_world(&scenario_args, json, full)
            }
            Command::Sweep { scenario_args, out, shard, sweep_args } => {
                let from_environment = || Shard::from_environment(|name| std::env::var(name).ok());
                let shard = match shard {
                    Some(shard) => shard,
                    None => {
                        from_environment().map_err(SimulatorError::Usage)?.unwrap_or(Shard::WHOLE)
                    }
                };
                let study = scenario_args.read_study_file()?;
                self.check_playable(&scenario_args, &study.cells)?;
                let file = self.run_sweep(&study, scenario_args.seed, &out, shard, &sweep_args)?;
                print_line(&file.display().to_string())
            }
            Command::Merge { from, out, partial } => {
                let merged = merge(&from, partial)?;
                if let Some(above) = out.parent().filter(|above| !above.as_os_str().is_empty()) {
                    make_dir(above)?;
                }
                write_merged(&Storage::default(), &out, &merged)?;
                print_line(&out.display().to_string())
            }
            Command::Report { file, out, scenario } => {
                write_report(&file, &out, scenario.as_deref())
            }
            Command::Validate { seed } => {
                let (lines, is_reproduced) = (self.validate)(seed);
                print_line(&lines.join("\n"))?;
                if is_reproduced { Ok(()) } else { Err(SimulatorError::NotReproduced) }
            }
            Command::Swarm { seed, worlds, threads } => {
                let end = seed.checked_add(worlds);
                let end = end.ok_or_else(|| {
                    SimulatorError::Usage(format!(
                        "there are fewer than {worlds} seeds from {seed} on: lower --seed or --worlds"
                    ))
                })?;
                tier1::run_swarm(seed..end, threads.map_or_else(processor_count, usize::from))
            }
            Command::Replay { world_args, events } => tier1::replay_world(&world_args, events),
            Command::Shrink { world_args, out } => tier1::shrink_world(&world_args, &out),
        }
    }

    fn run_world(
        &self,
        arguments: &ScenarioArgs,
        json: bool,
        full: bool,
    ) -> Result<(), SimulatorError> {
        let study = arguments.read_study_file()?;
        let (world, seed) = (&study.cells[0], Seed(arguments.seed));
        let (results, verdict) = if full {
            memory::check_memory(&study, 1, tier1::bytes_needed)?;
            tier1::run_world(world, seed)?
        } else {
            self.check_playable(arguments, std::slice::from_ref(world))?;
            memory::check_memory(&study, 1, self.bytes_needed)?;
            ((self.play)(world, seed), Ok(()))
        };
        match json {
            true => print_line(&serde_json::to_string(&results).expect("plain data")),
            false => print_line(&table::format_results(&study, arguments.seed, &results)),
        }?;
        verdict
    }

    /// Refuses worlds of a file that a population cannot play completely.
    fn check_playable(
        &self,
        arguments: &ScenarioArgs,
        worlds: &[Scenario],
    ) -> Result<(), SimulatorError> {
        let refused = worlds.iter().find_map(self.refuse);
        let path = arguments.scenario.display();
        refused.map_or(Ok(()), |reason| Err(SimulatorError::Usage(format!("{path}: {reason}"))))
    }

    fn run_sweep(
        &self,
        study: &Study,
        master: u64,
        out: &Path,
        shard: Shard,
        arguments: &SweepArgs,
    ) -> Result<PathBuf, SimulatorError> {
        let threads = arguments.threads.map_or_else(processor_count, usize::from);
        memory::check_memory(study, threads, self.bytes_needed)?;
        let (storage, resume) = (&Storage::default(), arguments.resume);
        let job = Job { study, master, shard, out, threads, resume, storage };
        let mut display = progress::SweepDisplay::new();
        Ok(sweep(&job, &self.play, |progress| display.show(progress))?)
    }
}

fn processor_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn write_report(file: &Path, out: &Path, scenario: Option<&Path>) -> Result<(), SimulatorError> {
    let (manifest, mut study, rows) = read_merged(file)?;
    if let Some(path) = scenario {
        let other = read_study(path, &[])?;
        if other.digest() != manifest.scenario {
            let (path, file) = (path.display(), file.display());
            return Err(SimulatorError::Usage(format!(
                "{path} has other worlds than {file}: only words and plots may differ"
            )));
        }
        study = other;
    }
    make_dir(out)?;
    let page = report::write_report(&Storage::default(), out, &manifest, &study, &rows)?;
    print_line(&page.display().to_string())
}
