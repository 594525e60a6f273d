//! The work of each command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use unanimity_storage::Storage;

use super::arguments::{Arguments, Command, How, What};
use super::exit::{Exit, Failure};
use super::output::{make_dir, say};
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            error.print().ok();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    match simulator.obey(arguments.command) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            eprintln!("simnet: {failure}");
            failure.exit().into()
        }
    }
}

impl<P: Fn(&Scenario, Seed) -> Results + Sync> Simulator<P> {
    fn obey(&self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Answer { what, out, how } => {
                let study = what.read()?;
                self.plays(&what, &study.cells)?;
                self.sweep(&study, what.seed, &out, Shard::WHOLE, &how)?;
                let merged = out.join("results.jsonl");
                write_merged(
                    &Storage::default(),
                    &merged,
                    &merge(std::slice::from_ref(&out), false)?,
                )?;
                write_report(&merged, &out.join("report"), None)
            }
            Command::Run { what, json, real } => self.run(&what, json, real),
            Command::Sweep { what, out, shard, how } => {
                let from_environment = || Shard::from_environment(|name| std::env::var(name).ok());
                let shard = match shard {
                    Some(shard) => shard,
                    None => from_environment().map_err(Failure::Usage)?.unwrap_or(Shard::WHOLE),
                };
                let study = what.read()?;
                self.plays(&what, &study.cells)?;
                let file = self.sweep(&study, what.seed, &out, shard, &how)?;
                say(&file.display().to_string())
            }
            Command::Merge { from, out, partial } => {
                let merged = merge(&from, partial)?;
                if let Some(above) = out.parent().filter(|above| !above.as_os_str().is_empty()) {
                    make_dir(above)?;
                }
                write_merged(&Storage::default(), &out, &merged)?;
                say(&out.display().to_string())
            }
            Command::Report { file, out, scenario } => {
                write_report(&file, &out, scenario.as_deref())
            }
            Command::Validate { seed } => {
                let (lines, good) = (self.validate)(seed);
                say(&lines.join("\n"))?;
                if good { Ok(()) } else { Err(Failure::Invalid) }
            }
            Command::Swarm { seed, worlds, threads } => {
                let end = seed.checked_add(worlds);
                let end = end.ok_or_else(|| {
                    Failure::Usage(format!("after seed {seed} there are no {worlds} more"))
                })?;
                tier1::sweep(seed..end, threads.map_or_else(processors, usize::from))
            }
            Command::Replay { which, events } => tier1::replay(&which, events),
            Command::Shrink { which, out } => tier1::shrink(&which, &out),
        }
    }

    fn run(&self, what: &What, json: bool, real: bool) -> Result<(), Failure> {
        let study = what.read()?;
        let (world, seed) = (&study.cells[0], Seed(what.seed));
        let (results, verdict) = if real {
            memory::enough(&study, 1, tier1::bytes_needed)?;
            tier1::run(world, seed)?
        } else {
            self.plays(what, std::slice::from_ref(world))?;
            memory::enough(&study, 1, self.bytes_needed)?;
            ((self.play)(world, seed), Ok(()))
        };
        match json {
            true => say(&serde_json::to_string(&results).expect("plain data")),
            false => say(&table::results(&study, what.seed, &results)),
        }?;
        verdict
    }

    /// Refuses worlds of a file that a population would not play as they are.
    fn plays(&self, what: &What, worlds: &[Scenario]) -> Result<(), Failure> {
        let refused = worlds.iter().find_map(self.refuse);
        let path = what.scenario.display();
        refused.map_or(Ok(()), |why| Err(Failure::Usage(format!("{path}: {why}"))))
    }

    fn sweep(
        &self,
        study: &Study,
        master: u64,
        out: &Path,
        shard: Shard,
        how: &How,
    ) -> Result<PathBuf, Failure> {
        let threads = how.threads.map_or_else(processors, usize::from);
        memory::enough(study, threads, self.bytes_needed)?;
        let disk = &Storage::default();
        let job = Job { study, master, shard, out, threads, resume: how.resume, disk };
        let mut shown = progress::Shown::new();
        Ok(sweep(&job, &self.play, |progress| shown.tell(progress))?)
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn write_report(file: &Path, out: &Path, scenario: Option<&Path>) -> Result<(), Failure> {
    let (manifest, mut study, rows) = read_merged(file)?;
    if let Some(path) = scenario {
        let other = read_study(path, &[])?;
        if other.digest() != manifest.scenario {
            let (path, file) = (path.display(), file.display());
            let what =
                format!("{path} has other worlds than {file}: only words and plots may differ");
            return Err(Failure::Usage(what));
        }
        study = other;
    }
    make_dir(out)?;
    let page = report::write(&Storage::default(), out, &manifest, &study, &rows)?;
    say(&page.display().to_string())
}
