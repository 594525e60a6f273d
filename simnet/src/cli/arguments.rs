//! The arguments of every command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::exit::{SimulatorError, format_exit_codes};
use super::study_file::read_study;
use super::tier1::WorldArgs;
use crate::Study;
use crate::sweep::Shard;

/// How likely is a targeted update noticed, by whom and when; and what does unanimity cost.
#[derive(Parser)]
#[command(name = "simnet", version, after_help = format_exit_codes(), max_term_width = 100)]
pub(super) struct SimnetArguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Answer a scenario's question on this machine: sweep, merge and report in one
    Answer {
        #[command(flatten)]
        scenario_args: ScenarioArgs,
        /// Where to put results and report
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        sweep_args: SweepArgs,
    },
    /// Play one world (a sweep's first cell, unless --set says which) and print what came of it
    Run {
        #[command(flatten)]
        scenario_args: ScenarioArgs,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
        /// Play it with the code that ships, and hold it against every rule; small worlds only
        #[arg(long)]
        full: bool,
    },
    /// Play all worlds of a scenario, or one shard of them
    Sweep {
        #[command(flatten)]
        scenario_args: ScenarioArgs,
        /// The directory for results; shards may share it
        #[arg(long)]
        out: PathBuf,
        /// Which shard, i/n with i from 0 to n-1 [default: what Slurm or Kubernetes say, else 0/1]
        #[arg(long)]
        shard: Option<Shard>,
        #[command(flatten)]
        sweep_args: SweepArgs,
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
        world_args: WorldArgs,
        /// Print everything that happened
        #[arg(long)]
        events: bool,
    },
    /// Take away whatever a broken rule does not need, and write the world that is left
    Shrink {
        #[command(flatten)]
        world_args: WorldArgs,
        /// The file to write (JSON)
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct ScenarioArgs {
    /// The scenario's file
    pub(super) scenario: PathBuf,
    /// The seed. With the scenario and the version it is the whole reproduction
    #[arg(long)]
    pub(super) seed: u64,
    /// Another value for a field: circle=5, settle=2h, availability=[0.9,0.99] where it is varied
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Args)]
pub(super) struct SweepArgs {
    /// Go on where an earlier sweep stopped
    #[arg(long)]
    pub(super) resume: bool,
    /// How many worlds at once [default: the processors]
    #[arg(long)]
    pub(super) threads: Option<std::num::NonZeroUsize>,
}

impl ScenarioArgs {
    pub(super) fn read_study_file(&self) -> Result<Study, SimulatorError> {
        read_study(&self.scenario, &self.set)
    }
}
