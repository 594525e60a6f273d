//! Errors of the installation.

use std::io;
use std::path::PathBuf;

use unanimity_protocol::Refusal;
use unanimity_report::{Classify, Exit};
use unanimity_storage::StorageError;

use crate::refusal::{ArtifactMismatch, InstallRefusal};

/// Why a release was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A check of the protocol failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A check of the installation failed.
    #[error(transparent)]
    Install(#[from] InstallRefusal),
    /// The storage failed.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another process, or another task of this one, is downloading to the install root.
    #[error("another unanimity is downloading to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The bytes of the artifact cannot be read from their source.
    #[error("cannot read the artifact: {0}")]
    Source(io::Error),
    /// A program of a configured hook cannot be run.
    #[error("[install] {program} cannot be run ({why}). Nothing is installed without it")]
    Command {
        /// Path of the program.
        program: String,
        /// The error of the system.
        why: io::Error,
    },
    /// Another process is running a switch or a roll-back in the install root.
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
