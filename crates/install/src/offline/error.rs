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
pub enum OfflineInstallError {
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
    LogForked(#[from] LogForked),
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

impl From<InstallError> for OfflineInstallError {
    fn from(error: InstallError) -> OfflineInstallError {
        match error {
            InstallError::Refused(refusal) => refusal.into(),
            InstallError::Install(refusal) => refusal.into(),
            InstallError::Disk(error) => error.into(),
            InstallError::Busy(path) | InstallError::Switching(path) => {
                OfflineInstallError::Busy(path)
            }
            error @ InstallError::Command { .. } => OfflineInstallError::Command(error),
            InstallError::Source(source) => {
                SpoolError::Io { path: PathBuf::from("the artifact"), source }.into()
            }
        }
    }
}

impl Classify for OfflineInstallError {
    fn exit(&self) -> Exit {
        match self {
            OfflineInstallError::Refused(refusal) => refusal.exit(),
            OfflineInstallError::Install(refusal) => refusal.exit(),
            OfflineInstallError::Replay(mismatch) => mismatch.exit(),
            OfflineInstallError::LogForked(forked) => forked.exit(),
            OfflineInstallError::Proof(_) => Exit::BadProof,
            OfflineInstallError::Gap { .. } => Exit::BadInput,
            OfflineInstallError::Clock { .. } => Exit::Clock,
            OfflineInstallError::Config(_) | OfflineInstallError::Command(_) => Exit::Configuration,
            OfflineInstallError::Store(error) => error.exit(),
            OfflineInstallError::Spool(_)
            | OfflineInstallError::Disk(_)
            | OfflineInstallError::Busy(_) => Exit::Disk,
        }
    }
}
