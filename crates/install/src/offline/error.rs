//! Why nothing was installed from a spool.

use std::path::PathBuf;

use unanimity_config::ConfigError;
use unanimity_protocol::proof_bundle::BundleError;
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_state::{LogForked, StoreError};
use unanimity_storage::StorageError;

use crate::spool::SpoolError;
use crate::{InstallError, InstallRefusal, ReplayMismatch};

/// Why nothing was installed from a spool.
#[derive(Debug, thiserror::Error)]
pub enum StagedError {
    /// A check failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A check of installing failed.
    #[error(transparent)]
    Install(#[from] InstallRefusal),
    /// The spool's entries do not lead to its proof.
    #[error(transparent)]
    Replay(#[from] ReplayMismatch),
    /// Evidence of a fork is not acknowledged.
    #[error(transparent)]
    Latched(#[from] LogForked),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Its proof is none.
    #[error("the spool's proof: {0}")]
    Proof(#[from] BundleError),
    /// The installer's own files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// What the installer was told is something else by now.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A command that belongs to installing cannot be run.
    #[error(transparent)]
    Command(InstallError),
    /// Another process is installing.
    #[error("another unanimity is installing to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The clock stands before a time that was already verified.
    #[error("the clock shows {now}, and {newest} was verified before: check the clock")]
    Clock {
        /// What it shows.
        now: Timestamp,
        /// When the newest roll was that an install rested on.
        newest: Timestamp,
    },
    /// What was fetched was fetched for a head that the installer no longer has.
    #[error("the spool's entries begin at {first}, and the installer's head is of size {held}")]
    Gap {
        /// The first entry in it.
        first: u64,
        /// How many the installer has read.
        held: u64,
    },
}

impl From<InstallError> for StagedError {
    fn from(error: InstallError) -> StagedError {
        match error {
            InstallError::Refused(refusal) => refusal.into(),
            InstallError::Install(refusal) => refusal.into(),
            InstallError::Disk(error) => error.into(),
            InstallError::Busy(path) | InstallError::Switching(path) => StagedError::Busy(path),
            error @ InstallError::Command { .. } => StagedError::Command(error),
            InstallError::Source(source) => {
                SpoolError::Io { path: PathBuf::from("the artifact"), source }.into()
            }
        }
    }
}

impl Classify for StagedError {
    fn exit(&self) -> Exit {
        match self {
            StagedError::Refused(refusal) => refusal.exit(),
            StagedError::Install(refusal) => refusal.exit(),
            StagedError::Replay(mismatch) => mismatch.exit(),
            StagedError::Latched(forked) => forked.exit(),
            StagedError::Proof(_) => Exit::BadProof,
            StagedError::Gap { .. } => Exit::BadInput,
            StagedError::Clock { .. } => Exit::Clock,
            StagedError::Config(_) | StagedError::Command(_) => Exit::Configuration,
            StagedError::Store(error) => error.exit(),
            StagedError::Spool(_) | StagedError::Disk(_) | StagedError::Busy(_) => Exit::Disk,
        }
    }
}
