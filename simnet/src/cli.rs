//! The command line: arguments, the words people read, exit codes.

mod exit;
mod memory;
mod progress;
mod table;
mod tier1;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use unanimity_storage::Disk;

pub use exit::{ALL, Exit, Failure};

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

/// How likely is a targeted update noticed, by whom and when; and what does unanimity cost.
#[derive(Parser)]
#[command(name = "simnet", version, after_help = exit::table(), max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer a scenario's question on this machine: sweep, merge and report in one
    Answer {
        #[command(flatten)]
        what: What,
        /// Where to put results and report
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// Play one world (a sweep's first cell, unless --set says which) and print what came of it
    Run {
        #[command(flatten)]
        what: What,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
        /// Play it with the code that ships, and hold it against every rule; small worlds only
        #[arg(long)]
        real: bool,
    },
    /// Play all worlds of a scenario, or one shard of them
    Sweep {
        #[command(flatten)]
        what: What,
        /// The directory for results; shards may share it
        #[arg(long)]
        out: PathBuf,
        /// Which shard, i/n with i from 0 to n-1 [default: what Slurm or Kubernetes say, else 0/1]
        #[arg(long)]
        shard: Option<Shard>,
        #[command(flatten)]
        how: How,
    },
    /// Make one file of the results of all shards
    Merge {
        /// Directories that `simnet sweep` wrote to, or merged files
        #[arg(required = true)]
        from: Vec<PathBuf>,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
        /// Merge although worlds are missing
        #[arg(long)]
        partial: bool,
    },
    /// Write a page with plots, and the numbers as CSV and JSON Lines, from merged results
    Report {
        /// What `simnet merge` wrote
        file: PathBuf,
        /// The directory to write to
        #[arg(long)]
        out: PathBuf,
        /// Take questions and plots from this file, whose worlds must be the same
        #[arg(long)]
        scenario: Option<PathBuf>,
    },
    /// Compare the simulator with what is known in closed form
    Validate {
        /// The master seed
        #[arg(long)]
        seed: u64,
    },
    /// Play random small worlds with the code that ships, and stop at the first broken rule
    Swarm {
        /// The first seed
        #[arg(long)]
        seed: u64,
        /// How many seeds
        #[arg(long, default_value_t = 1000)]
        worlds: u64,
        /// How many worlds at once [default: the processors]
        #[arg(long)]
        threads: Option<std::num::NonZeroUsize>,
    },
    /// Play one world with the code that ships, and say which rules broke
    Replay {
        #[command(flatten)]
        which: tier1::Which,
        /// Print everything that happened
        #[arg(long)]
        events: bool,
    },
    /// Take away whatever a broken rule does not need, and write the world that is left
    Shrink {
        #[command(flatten)]
        which: tier1::Which,
        /// The file to write (JSON)
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args)]
struct What {
    /// The scenario's file
    scenario: PathBuf,
    /// The seed. With the scenario and the version it is the whole reproduction
    #[arg(long)]
    seed: u64,
    /// Another value for a field: circle=5, settle=2h, availability=[0.9,0.99] where it is varied
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
struct How {
    /// Go on where an earlier sweep stopped
    #[arg(long)]
    resume: bool,
    /// How many worlds at once [default: the processors]
    #[arg(long)]
    threads: Option<std::num::NonZeroUsize>,
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
                    &Disk::default(),
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
                write_merged(&Disk::default(), &out, &merged)?;
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
        let disk = &Disk::default();
        let job = Job { study, master, shard, out, threads, resume: how.resume, disk };
        let mut shown = progress::Shown::new();
        Ok(sweep(&job, &self.play, |progress| shown.tell(progress))?)
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl What {
    fn read(&self) -> Result<Study, Failure> {
        read_study(&self.scenario, &self.set)
    }
}

fn read_study(path: &Path, set: &[String]) -> Result<Study, Failure> {
    let bytes = unanimity_storage::read_at_most(path, 1 << 20).map_err(Failure::Unread)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Usage(format!("{} is no text (UTF-8)", path.display())))?;
    Ok(Study::read(path, &text, set)?)
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
    let page = report::write(&Disk::default(), out, &manifest, &study, &rows)?;
    say(&page.display().to_string())
}

fn make_dir(path: &Path) -> Result<(), Failure> {
    use unanimity_storage::{DiskError, Mode};
    Ok(Disk::default().make_dir(path, Mode::Public).map_err(DiskError::at(path))?)
}

/// Prints; a reader that went away early is no failure.
fn say(text: &str) -> Result<(), Failure> {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
