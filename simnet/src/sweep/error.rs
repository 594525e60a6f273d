//! Errors of sweeps, merges and result files, with their remedies.

use std::fmt;
use std::path::PathBuf;

use unanimity_storage::StorageError;

use crate::Seed;

/// Why a sweep or a merge ended without its file.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A file or directory could not be read or written. Finished worlds are kept.
    #[error("{0}. Finished worlds are kept, and --resume goes on from there")]
    Disk(#[from] StorageError),
    /// The directory has results, and the sweep was not asked to continue them.
    #[error("{} holds results already: --resume goes on with them. To start over, choose another --out", .0.display())]
    Exists(PathBuf),
    /// Another process has locked the shard.
    #[error("another sweep works on this shard ({} is locked): wait for it, or choose another --out", .0.display())]
    Busy(PathBuf),
    /// The simulator panicked in a world.
    #[error("the simulator failed in a world ({world}), which is a bug of the simulator: {why}. To play this world again, give simnet run its seed: --seed {}", seed.0)]
    Panicked {
        /// The label of the cell.
        world: String,
        /// The seed of the world.
        seed: Seed,
        /// The message of the panic.
        why: String,
    },
    /// A result file is invalid, or does not belong to the others.
    #[error("{}: {problem}", path.display())]
    InvalidFile {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        problem: ResultError,
    },
    /// Two files each have a result of one world.
    #[error("{} and {} both hold one world ({world}): leave one of them out", first.display(), second.display())]
    DuplicateWorld {
        /// The path of one file.
        first: PathBuf,
        /// The path of the other file.
        second: PathBuf,
        /// The world that both files hold.
        world: String,
    },
    /// The files lack results of some worlds.
    #[error("{0}. Finish the sweep, or merge the finished worlds with --partial")]
    MissingWorlds(MissingWorlds),
    /// A directory has no result file.
    #[error("{} holds no results: name the directory that simnet sweep wrote to", .0.display())]
    NoResults(PathBuf),
}

/// What is wrong with a result file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// The file has another format.
    #[error("no results of simnet, or results of a version that this one cannot read")]
    UnknownFormat,
    /// The end of the file is missing.
    #[error("cut short: delete it, and simnet sweep --resume plays its worlds again")]
    Truncated,
    /// The digest in the file does not match its bytes.
    #[error(
        "damaged: its bytes are not the ones that were written; delete it, and simnet sweep --resume plays its worlds again"
    )]
    Damaged,
    /// The results are of another version of simnet.
    #[error("made by simnet {0}, and the rest by {1}: results of two versions do not mix")]
    Version(String, String),
    /// The results are of another scenario.
    #[error(
        "of another scenario than the rest (SHA-256 {0}, not {1}): results of two scenarios do not mix"
    )]
    Scenario(String, String),
    /// The results are of another master seed.
    #[error("of the seed {0}, and the rest of {1}: results of two seeds do not mix")]
    MasterSeed(u64, u64),
    /// The scenario has the same worlds, and other questions or plots.
    #[error(
        "its scenario asks other questions, or draws other plots, than the rest: sweep with one file"
    )]
    TextMismatch,
    /// The file has the name of another shard.
    #[error(
        "not the shard that its name says: restore the file that was written there, or delete it"
    )]
    Misnamed,
    /// The file has one shard, and a merged file is needed.
    #[error("one shard of several: merge all of them first, with simnet merge")]
    NotMerged,
    /// The file has a world that is not in its scenario.
    #[error("it holds a world that its scenario does not have")]
    UnknownWorld,
}

/// The worlds that are missing from a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingWorlds {
    pub(super) missing: u64,
    pub(super) all: u64,
    pub(super) first: String,
    pub(super) unfinished: Vec<String>,
}

impl fmt::Display for MissingWorlds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MissingWorlds { missing, all, first, unfinished } = self;
        write!(f, "{missing} of {all} worlds are missing, the first: {first}")?;
        match &unfinished[..] {
            [] => Ok(()),
            few if few.len() <= 8 => write!(f, "; not finished: {}", few.join(", ")),
            many => {
                write!(f, "; not finished: {} and {} more", many[..8].join(", "), many.len() - 8)
            }
        }
    }
}
