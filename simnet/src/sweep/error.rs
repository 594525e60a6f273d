//! What can go wrong with results, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use unanimity_storage::StorageError;

use crate::Seed;

/// Why a sweep or a merge ended without its file.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The disk said no. What was finished before is still there.
    #[error("{0}; what was finished before is kept, and --resume goes on from there")]
    Disk(#[from] StorageError),
    /// There are results already.
    #[error("{} holds results already: --resume goes on with them, another --out begins anew", .0.display())]
    Exists(PathBuf),
    /// Somebody else is at it.
    #[error("another sweep works on this shard ({} is locked): wait for it, or give this one another --out", .0.display())]
    Busy(PathBuf),
    /// The simulator itself failed.
    #[error("the simulator failed in a world ({world}), which is a bug of ours: {why}; the world's own seed is {}, for simnet run --seed", seed.0)]
    Panicked {
        /// The cell.
        world: String,
        /// The world's own seed.
        seed: Seed,
        /// What it said.
        why: String,
    },
    /// A file of results is not as it must be.
    #[error("{}: {problem}", path.display())]
    InvalidFile {
        /// Which.
        path: PathBuf,
        /// What about it.
        problem: ResultError,
    },
    /// One world is in two files.
    #[error("{} and {} both hold one world ({world}): leave one of them out", first.display(), second.display())]
    DuplicateWorld {
        /// A file.
        first: PathBuf,
        /// Another file.
        second: PathBuf,
        /// The world that both hold.
        world: String,
    },
    /// Worlds are missing.
    #[error("{0}; finish the sweep, or merge what there is with --partial")]
    MissingWorlds(MissingWorlds),
    /// Nothing to merge.
    #[error("{} holds no results: name the directory that simnet sweep wrote to", .0.display())]
    NoResults(PathBuf),
}

/// What is odd about a file of results.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// Not ours.
    #[error("no results of simnet, or of a version this one cannot read")]
    UnknownFormat,
    /// The end is missing.
    #[error("cut short: delete it, and simnet sweep --resume plays its worlds again")]
    Truncated,
    /// The bytes are not the ones that were written.
    #[error(
        "damaged: its bytes are not the ones that were written; delete it, and simnet sweep --resume plays its worlds again"
    )]
    Damaged,
    /// Another version's.
    #[error("made by simnet {0}, and the rest by {1}: results of two versions do not mix")]
    Version(String, String),
    /// Another scenario's.
    #[error("of another scenario than the rest (SHA-256 {0}, not {1}): results of two do not mix")]
    Scenario(String, String),
    /// Another master seed's.
    #[error("of the seed {0}, and the rest of {1}: results of two seeds do not mix")]
    MasterSeed(u64, u64),
    /// Same numbers, other questions or plots.
    #[error(
        "its scenario asks other questions, or draws other plots, than the rest: sweep with one file"
    )]
    TextMismatch,
    /// A file under the name of another shard.
    #[error(
        "not the shard that its name says: put back the one that was written there, or delete it"
    )]
    Misnamed,
    /// A merged file is needed.
    #[error("one shard of several: merge all of them first, with simnet merge")]
    NotMerged,
    /// A world that the scenario does not have.
    #[error("it holds a world that its scenario does not have")]
    UnknownWorld,
}

/// What is not there.
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
