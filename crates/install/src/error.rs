//! Why nothing was installed.

use std::io;
use std::path::PathBuf;

use unanimity_protocol::Refusal;
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::refusal::{ArtifactMismatch, InstallRefusal};

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A check failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A check of installing failed.
    #[error(transparent)]
    Install(#[from] InstallRefusal),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another download, or another process's, is at work.
    #[error("another unanimity is downloading to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The mirror's bytes stopped coming.
    #[error("reading the artifact: {0}")]
    Source(io::Error),
    /// A command of the configuration cannot be run.
    #[error("[install] {program} cannot be run ({why}): nothing is installed without it")]
    Command {
        /// Which.
        program: String,
        /// Why not.
        why: io::Error,
    },
    /// Another process is switching, or waits for a trial to end.
    #[error("another unanimity is installing to {}: wait for it to end", .0.display())]
    Switching(PathBuf),
}

impl From<ArtifactMismatch> for InstallError {
    fn from(mismatch: ArtifactMismatch) -> InstallError {
        InstallError::Install(mismatch.into())
    }
}

impl Classify for InstallError {
    fn exit(&self) -> Exit {
        match self {
            InstallError::Refused(refusal) => refusal.exit(),
            InstallError::Install(refusal) => refusal.exit(),
            InstallError::Command { .. } => Exit::Configuration,
            InstallError::Disk(_)
            | InstallError::Busy(_)
            | InstallError::Switching(_)
            | InstallError::Source(_) => Exit::Disk,
        }
    }
}
