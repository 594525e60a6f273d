//! Every exit code, and what leads to it.

use std::process::ExitCode;

use unanimity_storage::StorageError;

use crate::full::FullRunError;
use crate::scenario::text::ScenarioError;
use crate::sweep::SweepError;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// It could not be found out.
    Failed = 1,
    /// The command line or the scenario makes no sense.
    Usage = 2,
    /// The simulator does not reproduce what is known.
    NotReproduced = 3,
    /// A rule broke in a world of the code that ships.
    RuleBroken = 4,
    /// A file or directory could not be read or written, or is in use.
    Disk = 6,
    /// Results are cut short, damaged, missing, doubled, or do not belong together.
    BadInput = 8,
    /// The simulator failed where it must not; what Rust's panics end with.
    Bug = 101,
}

/// Every code and its meaning, for people.
pub const EXIT_CODES: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Failed, "could not find out: something failed that has no code of its own"),
    (Exit::Usage, "the command line or the scenario makes no sense"),
    (Exit::NotReproduced, "the simulator does not reproduce what is known (validate)"),
    (
        Exit::RuleBroken,
        "a rule broke in a world of the code that ships (swarm, replay, run --real)",
    ),
    (Exit::Disk, "a file or directory could not be read or written, or is in use"),
    (Exit::BadInput, "results are cut short, damaged, missing, doubled, or do not belong together"),
    (Exit::Bug, "a bug of ours"),
];

/// The table for `--help`.
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

/// Why the program did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A scenario is refused.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A command makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A scenario cannot be read.
    #[error(transparent)]
    Unreadable(StorageError),
    /// A file cannot be used.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Standard output cannot be written to.
    #[error("cannot print: {0}")]
    Output(std::io::Error),
    /// A sweep or merge failed.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    /// `validate` found something.
    #[error("the simulator does not reproduce what is known: see above")]
    NotReproduced,
    /// `swarm` or `replay_world` found something.
    #[error("{0}")]
    RuleBroken(String),
    /// A world of the code that ships cannot be played.
    #[error(transparent)]
    FullRun(#[from] FullRunError),
}

impl SimulatorError {
    /// The code for it.
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
