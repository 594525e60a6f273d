//! Errors of the offline installer.

use std::path::PathBuf;

use unanimity_config::ConfigError;
use unanimity_protocol::proof_bundle::BundleError;
use unanimity_protocol::{Refusal, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_state::{LogForked, StoreError};
use unanimity_storage::StorageError;

use crate::spool::SpoolError;
use crate::{InstallError, InstallRefusal, ReplayMismatch};

/// Why the offline installer did not install the release in a spool.
#[derive(Debug, thiserror::Error)]
pub enum OfflineInstallError {
    /// A check of the protocol failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A check of the installation failed.
    #[error(transparent)]
    Install(#[from] InstallRefusal),
    /// The spool's entries do not lead to its proof.
    #[error(transparent)]
    Replay(#[from] ReplayMismatch),
    /// The installer has evidence of a fork that is not acknowledged.
    #[error(transparent)]
    LogForked(#[from] LogForked),
    /// The spool cannot be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The proof file is not a proof bundle.
    #[error("the proof in the spool is invalid: {0}")]
    Proof(#[from] BundleError),
    /// The installer's own state cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The storage failed.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// A configuration file has changed since the installer read it, or cannot be read again.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A program of a configured hook cannot be run.
    #[error(transparent)]
    Command(InstallError),
    /// Another process is downloading or installing to the install root.
    #[error("another unanimity is installing to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The clock shows a time before the newest verified round, by more than the allowed skew.
    #[error("the clock shows {now}, and {newest} was verified before: check the clock")]
    Clock {
        /// Time of the clock.
        now: Timestamp,
        /// Time of the newest round on which an installation was based.
        newest: Timestamp,
    },
    /// The entries of the spool begin after the installer's head.
    #[error(
        "the spool's entries begin at {first}, but the installer has read only the first {held}"
    )]
    Gap {
        /// Number of the first entry in the spool.
        first: u64,
        /// Number of entries that the installer has read.
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
