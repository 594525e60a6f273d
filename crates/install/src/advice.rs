//! What a person can do about an error of this crate or of one below it: which command or person helps.
//!
//! The errors say what is the case. Both programs show them through this module.

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

/// An error that a person may be able to do something about.
pub trait InstallAdvice {
    /// Adds the advice to the error's own words.
    fn add_to(&self, words: String) -> String;
}

/// What an error says, with the advice.
pub fn describe<E: InstallAdvice + Display>(error: &E) -> String {
    error.add_to(error.to_string())
}

/// The end of a verb by an error, with the advice.
pub fn command_error<E: InstallAdvice + Classify + Error>(error: E) -> CommandError {
    CommandError::new(error.exit(), error.add_to(error_chain(&error)))
}

impl InstallAdvice for Refusal {
    fn add_to(&self, words: String) -> String {
        match self {
            Refusal::Fork(evidence) => with_fork_advice(&words, &evidence.id()),
            Refusal::DuplicateSequence { .. } => format!(
                "{words}.\n  Ask the publisher which of the two they meant, over another channel"
            ),
            Refusal::UnsupportedFormat { .. } => format!("update unanimity: {words}"),
            _ => words,
        }
    }
}

impl InstallAdvice for LogForked {
    fn add_to(&self, words: String) -> String {
        with_evidence_advice(&words, &self.id)
    }
}

/// `evidence` is an identifier, after an option that says whose it is.
fn with_fork_advice(words: &str, evidence: &str) -> String {
    format!(
        "{words}.\n  Nothing installs while mirrors or peers show both, nor until the evidence is acknowledged: `unanimity evidence show {evidence}`"
    )
}

fn with_evidence_advice(words: &str, evidence: &str) -> String {
    format!("{words}.\n  Look at it with `unanimity evidence show {evidence}`")
}

impl InstallAdvice for InstallRefusal {
    fn add_to(&self, words: String) -> String {
        match self {
            InstallRefusal::OnTrial { .. } => format!(
                "{words}; the next `update` or `unanimity-install` ends a trial that was interrupted"
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
                format!("{words} (`unanimity peers test` does it now, `serve` by itself)")
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

const DOWNLOAD_AGAIN: &str = "run `unanimity update --stage` again";

impl InstallAdvice for SpoolError {
    fn add_to(&self, words: String) -> String {
        match self {
            SpoolError::Empty(_) => {
                format!("{words} (`unanimity update --stage` as the user who fetches)")
            }
            SpoolError::CutShort(_) => format!("{words}: {DOWNLOAD_AGAIN}"),
            _ => words,
        }
    }
}

impl InstallAdvice for OfflineInstallError {
    fn add_to(&self, words: String) -> String {
        match self {
            // Such evidence is in the installer's own memory.
            OfflineInstallError::Refused(Refusal::Fork(evidence)) => {
                with_fork_advice(&words, &format!("--installer {}", evidence.id()))
            }
            OfflineInstallError::LogForked(forked) => {
                with_evidence_advice(&words, &format!("--installer {}", forked.id))
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
