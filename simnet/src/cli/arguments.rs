//! The command line arguments of every command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::exit::{SimulatorError, format_exit_codes};
use super::study_file::read_study;
use super::tier1::WorldArgs;
use crate::Study;
use crate::sweep::Shard;

/// Simulate networks of unanimity nodes: how likely and how soon a targeted update is noticed, and
/// what unanimity costs
#[derive(Parser)]
#[command(name = "simnet", version, after_help = format_exit_codes(), max_term_width = 100)]
pub(super) struct SimnetArguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Answer the question of a scenario on this machine: sweep, merge and report in one
    Answer {
        #[command(flatten)]
        scenario_args: ScenarioArgs,
        /// The directory for results and report
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        sweep_args: SweepArgs,
    },
    /// Play one world (the scenario's first cell, unless --set selects another) and print its
    /// results
    Run {
        #[command(flatten)]
        scenario_args: ScenarioArgs,
        /// Print one line of JSON
        #[arg(long)]
        json: bool,
        /// Play the world with the shipped code, and check every rule; small worlds only
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
        /// The shard, as i/n with i from 0 to n-1 [default: that of Slurm or Kubernetes, else 0/1]
        #[arg(long)]
        shard: Option<Shard>,
        #[command(flatten)]
        sweep_args: SweepArgs,
    },
    /// Merge the results of all shards into one file
    Merge {
        /// Directories that `simnet sweep` wrote to, or merged files
        #[arg(required = true)]
        from: Vec<PathBuf>,
        /// The file to write
        #[arg(long)]
        out: PathBuf,
        /// Merge even if worlds are missing
        #[arg(long)]
        partial: bool,
    },
    /// Write a page with plots, and the numbers as CSV and JSON Lines
    Report {
        /// The file that `simnet merge` wrote
        file: PathBuf,
        /// The directory to write to
        #[arg(long)]
        out: PathBuf,
        /// Take words and plots from this scenario file; its worlds must be those of FILE
        #[arg(long)]
        scenario: Option<PathBuf>,
    },
    /// Compare the simulator with results that are known in closed form
    Validate {
        /// The master seed
        #[arg(long)]
        seed: u64,
    },
    /// Play small random worlds with the shipped code, and stop at the first broken rule
    Swarm {
        /// The first seed; each seed is one world
        #[arg(long)]
        seed: u64,
        /// The number of seeds
        #[arg(long, default_value_t = 1000)]
        worlds: u64,
        /// The number of worlds that are played at once [default: the number of processors]
        #[arg(long)]
        threads: Option<std::num::NonZeroUsize>,
    },
    /// Play one world with the shipped code, and print the broken rules
    Replay {
        #[command(flatten)]
        world_args: WorldArgs,
        /// Print all events
        #[arg(long)]
        events: bool,
    },
    /// Remove all that a broken rule does not need, and write the remaining world
    Shrink {
        #[command(flatten)]
        world_args: WorldArgs,
        /// The JSON file to write
        #[arg(long)]
        out: PathBuf,
    },
}

#[derive(Args)]
pub(super) struct ScenarioArgs {
    /// The scenario file
    pub(super) scenario: PathBuf,
    /// The seed. Scenario, seed and version of simnet reproduce every result
    #[arg(long)]
    pub(super) seed: u64,
    /// Replace a value of the file: peers=5, settle=2h; for a varied field also
    /// availability=[0.9,0.99]
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Args)]
pub(super) struct SweepArgs {
    /// Continue an earlier sweep
    #[arg(long)]
    pub(super) resume: bool,
    /// The number of worlds that are played at once [default: the number of processors]
    #[arg(long)]
    pub(super) threads: Option<std::num::NonZeroUsize>,
}

impl ScenarioArgs {
    pub(super) fn read_study_file(&self) -> Result<Study, SimulatorError> {
        read_study(&self.scenario, &self.set)
    }
}
