//! Advice for the command line about errors of this crate and of the crates below it.
//!
//! The errors say what failed and why. This module adds what to do. The programs `unanimity` and
//! `unanimity-install` use it.

use std::error::Error;
use std::fmt::Display;
use std::io;

use unanimity_config::{ConfigError, ConfigErrorKind, PeerListError};
use unanimity_protocol::Refusal;
use unanimity_protocol::peers::PeerSetError;
use unanimity_report::{Classify, CommandError, error_chain};
use unanimity_state::LogForked;

use crate::spool::SpoolError;
use crate::{InstallError, InstallRefusal, OfflineInstallError, RollbackError};

/// An error with advice for the operator.
pub trait InstallAdvice {
    /// Adds the advice to the text of the error. Returns `words` unchanged if there is none.
    fn add_to(&self, words: String) -> String;
}

/// The text of an error, with the advice.
pub fn describe<E: InstallAdvice + Display>(error: &E) -> String {
    error.add_to(error.to_string())
}

/// The error of a verb: its exit code, its text with all causes, and the advice.
pub fn command_error<E: InstallAdvice + Classify + Error>(error: E) -> CommandError {
    CommandError::new(error.exit(), error.add_to(error_chain(&error)))
}

impl InstallAdvice for Refusal {
    fn add_to(&self, words: String) -> String {
        match self {
            Refusal::Fork(evidence) => with_fork_advice(&words, &evidence.id()),
            Refusal::DuplicateSequence { .. } => format!(
                "{words}.\n  Ask the publisher over another channel which of the two is meant"
            ),
            Refusal::UnsupportedFormat { .. } => format!("update unanimity: {words}"),
            Refusal::RoundTooOld { .. } => format!("{words}. The next cycle asks the peers again"),
            _ => words,
        }
    }
}

impl InstallAdvice for LogForked {
    fn add_to(&self, words: String) -> String {
        with_evidence_advice(&words, &self.id)
    }
}

/// Adds the advice about new evidence of a fork. `evidence` is its identifier, perhaps after an
/// option.
fn with_fork_advice(words: &str, evidence: &str) -> String {
    format!(
        "{words}.\n  Nothing installs until the evidence is acknowledged, nor while mirrors or peers show both tree heads: `unanimity evidence show {evidence}`"
    )
}

/// Adds the advice about stored evidence of a fork.
fn with_evidence_advice(words: &str, evidence: &str) -> String {
    format!("{words}.\n  Look at the evidence with `unanimity evidence show {evidence}`")
}

impl InstallAdvice for InstallRefusal {
    fn add_to(&self, words: String) -> String {
        match self {
            InstallRefusal::OnTrial { .. } => format!(
                "{words}. If its trial was interrupted, the next `update` or `unanimity-install` ends it"
            ),
            _ => words,
        }
    }
}

impl InstallAdvice for PeerSetError {
    fn add_to(&self, words: String) -> String {
        match self {
            PeerSetError::TooFew { .. } => {
                format!("{words}: list more of them (`unanimity peers add`)")
            }
            _ => words,
        }
    }
}

impl InstallAdvice for ConfigError {
    fn add_to(&self, words: String) -> String {
        match &self.why {
            ConfigErrorKind::PeerList(PeerListError::Peers(error)) => error.add_to(words),
            ConfigErrorKind::Io(error) if error.kind() == io::ErrorKind::NotFound => {
                format!("{words}; `unanimity init` writes one to fill in")
            }
            ConfigErrorKind::Joining { .. } => {
                format!("{words}. `unanimity peers test` compares them now, `serve` by itself")
            }
            _ => words,
        }
    }
}

impl InstallAdvice for InstallError {
    fn add_to(&self, words: String) -> String {
        match self {
            InstallError::Refused(refusal) => refusal.add_to(words),
            InstallError::Install(refusal) => refusal.add_to(words),
            _ => words,
        }
    }
}

impl InstallAdvice for RollbackError {
    fn add_to(&self, words: String) -> String {
        match self {
            RollbackError::Install(error) => error.add_to(words),
            _ => words,
        }
    }
}

const DOWNLOAD_AGAIN: &str = "run `unanimity download` again";

impl InstallAdvice for SpoolError {
    fn add_to(&self, words: String) -> String {
        match self {
            SpoolError::Empty(_) => {
                format!("{words} (run `unanimity download` as the downloading user)")
            }
            SpoolError::CutShort(_) => format!("{words}: {DOWNLOAD_AGAIN}"),
            _ => words,
        }
    }
}

impl InstallAdvice for OfflineInstallError {
    fn add_to(&self, words: String) -> String {
        match self {
            // This evidence is in the state directory of the installer.
            OfflineInstallError::Refused(Refusal::Fork(evidence)) => {
                with_fork_advice(&words, &format!("--installer {}", evidence.id()))
            }
            OfflineInstallError::LogForked(forked) => {
                with_evidence_advice(&words, &format!("--installer {}", forked.id))
            }
            OfflineInstallError::Refused(Refusal::RoundTooOld { .. }) => {
                format!("{words}: {DOWNLOAD_AGAIN}")
            }
            OfflineInstallError::Refused(refusal) => refusal.add_to(words),
            OfflineInstallError::Install(refusal) => refusal.add_to(words),
            OfflineInstallError::Config(error) => error.add_to(words),
            OfflineInstallError::Spool(error) => error.add_to(words),
            OfflineInstallError::Gap { .. } => format!("{words}: {DOWNLOAD_AGAIN}"),
            _ => words,
        }
    }
}
