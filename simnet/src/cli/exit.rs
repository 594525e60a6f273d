//! Every exit code, and what leads to it.

use std::process::ExitCode;

use unanimity_storage::StorageError;

use crate::real::RealError;
use crate::scenario::text::Wrong;
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
    Invalid = 3,
    /// A rule broke in a world of the code that ships.
    Broken = 4,
    /// A file or directory could not be read or written, or is in use.
    Disk = 6,
    /// Results are cut short, damaged, missing, doubled, or do not belong together.
    BadInput = 8,
    /// The simulator failed where it must not; what Rust's panics end with.
    Bug = 101,
}

/// Every code and its meaning, for people.
pub const ALL: &[(Exit, &str)] = &[
    (Exit::Done, "done"),
    (Exit::Failed, "could not find out: something failed that has no code of its own"),
    (Exit::Usage, "the command line or the scenario makes no sense"),
    (Exit::Invalid, "the simulator does not reproduce what is known (validate)"),
    (Exit::Broken, "a rule broke in a world of the code that ships (swarm, replay, run --real)"),
    (Exit::Disk, "a file or directory could not be read or written, or is in use"),
    (Exit::BadInput, "results are cut short, damaged, missing, doubled, or do not belong together"),
    (Exit::Bug, "a bug of ours"),
];

/// The table for `--help`.
pub(super) fn table() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in ALL {
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
pub enum Failure {
    /// A scenario is refused.
    #[error(transparent)]
    Scenario(#[from] Wrong),
    /// A command makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A scenario cannot be read.
    #[error(transparent)]
    Unread(StorageError),
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
    Invalid,
    /// `swarm` or `replay` found something.
    #[error("{0}")]
    Broken(String),
    /// A world of the code that ships cannot be played.
    #[error(transparent)]
    Real(#[from] RealError),
}

impl Failure {
    /// The code for it.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Scenario(_) | Failure::Usage(_) => Exit::Usage,
            Failure::Unread(_) | Failure::Disk(_) | Failure::Output(_) => Exit::Disk,
            Failure::Invalid => Exit::Invalid,
            Failure::Broken(_) => Exit::Broken,
            Failure::Real(RealError::Io(_)) => Exit::Disk,
            Failure::Real(RealError::Node(..)) => Exit::Failed,
            Failure::Sweep(error) => match error {
                SweepError::Disk(_) | SweepError::Busy(_) => Exit::Disk,
                SweepError::Exists(_) => Exit::Usage,
                SweepError::Panicked { .. } => Exit::Bug,
                SweepError::Odd { .. }
                | SweepError::Twice { .. }
                | SweepError::Missing(_)
                | SweepError::Nothing(_) => Exit::BadInput,
            },
        }
    }
}
