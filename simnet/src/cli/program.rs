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

/// What plays worlds.
#[derive(Clone, Copy, Debug)]
pub struct Simulator<P> {
    /// Plays one world.
    pub play: P,
    /// Why it does not play a world, if it does not.
    pub refuse: fn(&Scenario) -> Option<String>,
    /// Bytes of memory that one world takes.
    pub bytes_needed: fn(&Scenario) -> u64,
    /// What the simulator must reproduce, a line for each, from a master seed; whether all of it holds.
    pub validate: fn(u64) -> (Vec<String>, bool),
}

/// Does what the command line says.
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
        Err(failure) => {
            eprintln!("simnet: {failure}");
            failure.exit().into()
        }
    }
}

impl<P: Fn(&Scenario, Seed) -> Results + Sync> Simulator<P> {
    fn run_command(&self, command: Command) -> Result<(), SimulatorError> {
        match command {
            Command::Answer { scenario_args: what, out, sweep_args: how } => {
                let study = what.read_study_file()?;
                self.check_playable(&what, &study.cells)?;
                self.run_sweep(&study, what.seed, &out, Shard::WHOLE, &how)?;
                let merged = out.join("results.jsonl");
                write_merged(
                    &Storage::default(),
                    &merged,
                    &merge(std::slice::from_ref(&out), false)?,
                )?;
                write_report(&merged, &out.join("report"), None)
            }
            Command::Run { scenario_args: what, json, full: real } => {
                self.run_world(&what, json, real)
            }
            Command::Sweep { scenario_args: what, out, shard, sweep_args: how } => {
                let from_environment = || Shard::from_environment(|name| std::env::var(name).ok());
                let shard = match shard {
                    Some(shard) => shard,
                    None => {
                        from_environment().map_err(SimulatorError::Usage)?.unwrap_or(Shard::WHOLE)
                    }
                };
                let study = what.read_study_file()?;
                self.check_playable(&what, &study.cells)?;
                let file = self.run_sweep(&study, what.seed, &out, shard, &how)?;
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
                let (lines, good) = (self.validate)(seed);
                print_line(&lines.join("\n"))?;
                if good { Ok(()) } else { Err(SimulatorError::NotReproduced) }
            }
            Command::Swarm { seed, worlds, threads } => {
                let end = seed.checked_add(worlds);
                let end = end.ok_or_else(|| {
                    SimulatorError::Usage(format!("after seed {seed} there are no {worlds} more"))
                })?;
                tier1::run_swarm(seed..end, threads.map_or_else(processor_count, usize::from))
            }
            Command::Replay { world_args: which, events } => tier1::replay_world(&which, events),
            Command::Shrink { world_args: which, out } => tier1::shrink_world(&which, &out),
        }
    }

    fn run_world(&self, what: &ScenarioArgs, json: bool, real: bool) -> Result<(), SimulatorError> {
        let study = what.read_study_file()?;
        let (world, seed) = (&study.cells[0], Seed(what.seed));
        let (results, verdict) = if real {
            memory::check_memory(&study, 1, tier1::bytes_needed)?;
            tier1::run_world(world, seed)?
        } else {
            self.check_playable(what, std::slice::from_ref(world))?;
            memory::check_memory(&study, 1, self.bytes_needed)?;
            ((self.play)(world, seed), Ok(()))
        };
        match json {
            true => print_line(&serde_json::to_string(&results).expect("plain data")),
            false => print_line(&table::format_results(&study, what.seed, &results)),
        }?;
        verdict
    }

    /// Refuses worlds of a file that a population would not play as they are.
    fn check_playable(
        &self,
        what: &ScenarioArgs,
        worlds: &[Scenario],
    ) -> Result<(), SimulatorError> {
        let refused = worlds.iter().find_map(self.refuse);
        let path = what.scenario.display();
        refused.map_or(Ok(()), |why| Err(SimulatorError::Usage(format!("{path}: {why}"))))
    }

    fn run_sweep(
        &self,
        study: &Study,
        master: u64,
        out: &Path,
        shard: Shard,
        how: &SweepArgs,
    ) -> Result<PathBuf, SimulatorError> {
        let threads = how.threads.map_or_else(processor_count, usize::from);
        memory::check_memory(study, threads, self.bytes_needed)?;
        let disk = &Storage::default();
        let job = Job { study, master, shard, out, threads, resume: how.resume, storage: disk };
        let mut shown = progress::SweepDisplay::new();
        Ok(sweep(&job, &self.play, |progress| shown.show(progress))?)
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
            let what =
                format!("{path} has other worlds than {file}: only words and plots may differ");
            return Err(SimulatorError::Usage(what));
        }
        study = other;
    }
    make_dir(out)?;
    let page = report::write_report(&Storage::default(), out, &manifest, &study, &rows)?;
    print_line(&page.display().to_string())
}
