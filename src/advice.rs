//! Advice for errors: the command, option or action that helps the operator.
//!
//! The errors of the libraries say what failed and why. The command line and the alerts show them
//! through this module. Errors that `unanimity-install` can meet, too, take their advice from
//! [`unanimity_install::advice`].

use std::error::Error;
use std::fmt::Display;

use unanimity_client::{ClientError, CycleError, CycleOutcome, MirrorProblem};
use unanimity_config::{ConfigError, InviteError};
use unanimity_install::InstallRefusal;
use unanimity_log::export::ExportError;
use unanimity_log::{EntryError, WriteError};
use unanimity_protocol::Refusal;
use unanimity_protocol::peers::PeerSetError;
use unanimity_publish::PublishError;
use unanimity_report::{Classify, CommandError, CycleStatus, error_chain};
use unanimity_state::{LogForked, StoreError};

/// An error that may have advice for the operator.
pub trait Advice {
    /// Adds the advice to `words`, the error's own text.
    fn add_to(&self, words: String) -> String;
}

/// Renders an error's text with its advice.
pub fn describe<E: Advice + Display>(error: &E) -> String {
    error.add_to(error.to_string())
}

/// Makes the failure of a command from an error: its exit code, its causes, and its advice.
pub fn command_error<E: Advice + Classify + Error>(error: E) -> CommandError {
    CommandError::new(error.exit(), error.add_to(error_chain(&error)))
}

/// Derives the node's status from the result of a cycle. The message of a failure has its advice.
pub fn cycle_status(cycle: Result<&CycleOutcome, &CycleError>) -> CycleStatus {
    let status = unanimity_client::status_of(cycle);
    match cycle {
        Ok(_) => status,
        Err(failure) => status.with_message(&describe(failure)),
    }
}

macro_rules! use_install_advice {
    ($($error:ty),+) => {
        $(impl Advice for $error {
            fn add_to(&self, words: String) -> String {
                unanimity_install::advice::InstallAdvice::add_to(self, words)
            }
        })+
    };
}

use_install_advice!(Refusal, LogForked, InstallRefusal, PeerSetError, ConfigError);

impl Advice for MirrorProblem {
    fn add_to(&self, words: String) -> String {
        match self {
            MirrorProblem::Rollback { .. } => {
                format!("{words}.\n  Use another mirror, or ask the operator of this one")
            }
            MirrorProblem::Stale { .. } => {
                format!("{words}.\n  Add a mirror, or ask the operator of this one")
            }
            MirrorProblem::OtherEntries { .. } => words,
        }
    }
}

impl Advice for StoreError {
    fn add_to(&self, words: String) -> String {
        match self {
            StoreError::NoEvidence(_) => format!(
                "{words}. `unanimity evidence show` lists the evidence of this node, and with --installer that of the installer"
            ),
            _ => words,
        }
    }
}

impl Advice for InviteError {
    fn add_to(&self, words: String) -> String {
        match self {
            InviteError::NotAnInvite => format!("{words}. `unanimity peers invite` prints one"),
            _ => words,
        }
    }
}

impl Advice for PublishError {
    fn add_to(&self, words: String) -> String {
        match self {
            PublishError::NotPrivateKey(_) => {
                format!("{words}. Give a file that `unanimity keygen` wrote")
            }
            _ => words,
        }
    }
}

impl Advice for EntryError {
    fn add_to(&self, words: String) -> String {
        match self {
            EntryError::OtherLog(_) => {
                format!("{words}. Make it again, with the origin of this log as --log-origin")
            }
            _ => words,
        }
    }
}

impl Advice for WriteError {
    fn add_to(&self, words: String) -> String {
        match self {
            WriteError::Entry { why, .. } => why.add_to(words),
            WriteError::Unrecorded(_) => {
                format!("{words}. Name a mirror with --mirror, so that the log cannot fork")
            }
            _ => words,
        }
    }
}

impl Advice for ExportError {
    fn add_to(&self, words: String) -> String {
        match self {
            ExportError::NoLog(_) => {
                format!("{words}. Name the directory of a log, as `unanimity log init` makes it")
            }
            _ => words,
        }
    }
}

impl Advice for ClientError {
    fn add_to(&self, words: String) -> String {
        match self {
            ClientError::Config(error) => error.add_to(words),
            _ => words,
        }
    }
}

impl Advice for CycleError {
    fn add_to(&self, words: String) -> String {
        match self {
            CycleError::Refused(refusal) => refusal.add_to(words),
            CycleError::Mirror(problem) => problem.add_to(words),
            CycleError::LogForked(forked) => forked.add_to(words),
            CycleError::Install(refusal) => refusal.add_to(words),
            CycleError::Client(error) => error.add_to(words),
        }
    }
}
