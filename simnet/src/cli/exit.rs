//! Exit codes, and the errors that lead to them.

use std::process::ExitCode;

use unanimity_storage::StorageError;

use crate::full::FullRunError;
use crate::scenario::text::ScenarioError;
use crate::sweep::SweepError;

/// An exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The command succeeded.
    Done = 0,
    /// The command failed for a reason that has no code of its own.
    Failed = 1,
    /// The command line or the scenario makes no sense.
    Usage = 2,
    /// The simulator does not reproduce the reference values.
    NotReproduced = 3,
    /// A rule broke in a world of the shipped code.
    RuleBroken = 4,
    /// A file or directory could not be read or written, or is in use.
    Disk = 6,
    /// Results are cut short, damaged, missing, doubled, or do not belong together.
    BadInput = 8,
    /// The simulator panicked. Rust's panics end with this code.
    Bug = 101,
}

/// Every code and its meaning, for people.
pub const EXIT_CODES: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Failed, "could not find out: something failed that has no code of its own"),
    (Exit::Usage, "the command line or the scenario makes no sense"),
    (Exit::NotReproduced, "the simulator does not reproduce the reference values (validate)"),
    (
        Exit::RuleBroken,
        "a rule broke in a world of the code that ships (swarm, replay, run --full)",
    ),
    (Exit::Disk, "a file or directory could not be read or written, or is in use"),
    (Exit::BadInput, "results are cut short, damaged, missing, doubled, or do not belong together"),
    (Exit::Bug, "a bug of the simulator"),
];

/// Formats the table of exit codes for `--help`.
pub(super) fn format_exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in EXIT_CODES {
        text += &format!("  {:3}  {meaning}\n", *exit as u8);
    }
    text
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A scenario is refused.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// The command line is invalid.
    #[error("{0}")]
    Usage(String),
    /// A scenario file cannot be read.
    #[error(transparent)]
    Unreadable(StorageError),
    /// A file or directory cannot be written.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// A sweep or merge failed.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// A row of `validate` is outside its interval.
    #[error("the simulator does not reproduce the reference values: see the rows marked OUTSIDE")]
    NotReproduced,
    /// A rule broke in a world of the shipped code.
    #[error("{0}")]
    RuleBroken(String),
    /// A world of the shipped code cannot be played.
    #[error(transparent)]
    FullRun(#[from] FullRunError),
}

impl SimulatorError {
    /// The exit code for the error.
    pub fn exit(&self) -> Exit {
        match self {
            SimulatorError::Scenario(_) | SimulatorError::Usage(_) => Exit::Usage,
            SimulatorError::Unreadable(_) | SimulatorError::Disk(_) | SimulatorError::Output(_) => {
                Exit::Disk
            }
            SimulatorError::NotReproduced => Exit::NotReproduced,
            SimulatorError::RuleBroken(_) => Exit::RuleBroken,
            SimulatorError::FullRun(FullRunError::Io(_)) => Exit::Disk,
            SimulatorError::FullRun(FullRunError::Node(..)) => Exit::Failed,
            SimulatorError::Sweep(error) => match error {
                SweepError::Disk(_) | SweepError::Busy(_) => Exit::Disk,
                SweepError::Exists(_) => Exit::Usage,
                SweepError::Panicked { .. } => Exit::Bug,
                SweepError::InvalidFile { .. }
                | SweepError::DuplicateWorld { .. }
                | SweepError::MissingWorlds(_)
                | SweepError::NoResults(_) => Exit::BadInput,
            },
        }
    }
}
