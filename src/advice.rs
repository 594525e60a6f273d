//! What a person can do about an error: which command, option or person helps.
//!
//! The errors of the libraries say what is the case. The command line and the alarm show them
//! through this module. For what the other program can meet as well, the advice is that of
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

/// An error that a person may be able to do something about.
pub trait Advice {
    /// Adds the advice to the error's own words.
    fn add_to(&self, words: String) -> String;
}

/// What an error says, with the advice.
pub fn describe<E: Advice + Display>(error: &E) -> String {
    error.add_to(error.to_string())
}

/// The end of a verb by an error, with the advice.
pub fn command_error<E: Advice + Classify + Error>(error: E) -> CommandError {
    CommandError::new(error.exit(), error.add_to(error_chain(&error)))
}

/// What the end of a cycle says of the node's condition, with the advice.
pub fn cycle_status(cycle: Result<&CycleOutcome, &CycleError>) -> CycleStatus {
    let seen = unanimity_client::status_of(cycle);
    match cycle {
        Ok(_) => seen,
        Err(failure) => seen.with_message(&describe(failure)),
    }
}

macro_rules! as_when_installing {
    ($($error:ty),+) => {
        $(impl Advice for $error {
            fn add_to(&self, words: String) -> String {
                unanimity_install::advice::InstallAdvice::add_to(self, words)
            }
        })+
    };
}

as_when_installing!(Refusal, LogForked, InstallRefusal, PeerSetError, ConfigError);

impl Advice for MirrorProblem {
    fn add_to(&self, words: String) -> String {
        match self {
            MirrorProblem::Rollback { .. } => {
                format!("{words}.\n  Use another mirror, or ask this one's operator")
            }
            MirrorProblem::Stale { .. } => {
                format!("{words}.\n  Add a mirror, or ask this one's operator")
            }
            MirrorProblem::OtherEntries { .. } => words,
        }
    }
}

impl Advice for StoreError {
    fn add_to(&self, words: String) -> String {
        match self {
            StoreError::NoEvidence(_) => format!(
                "{words}: `unanimity evidence show` lists what there is, with --installer the installer's"
            ),
            _ => words,
        }
    }
}

impl Advice for InviteError {
    fn add_to(&self, words: String) -> String {
        match self {
            InviteError::NotAnInvite => format!("{words}, as `unanimity peers invite` prints it"),
            _ => words,
        }
    }
}

impl Advice for PublishError {
    fn add_to(&self, words: String) -> String {
        match self {
            PublishError::NotPrivateKey(_) => format!("{words} as `unanimity keygen` writes them"),
            _ => words,
        }
    }
}

impl Advice for EntryError {
    fn add_to(&self, words: String) -> String {
        match self {
            EntryError::OtherLog(_) => {
                format!("{words}: make it again with --log-origin of this log")
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
                format!("{words}: name a mirror with --mirror, so that the log cannot fork")
            }
            _ => words,
        }
    }
}

impl Advice for ExportError {
    fn add_to(&self, words: String) -> String {
        match self {
            ExportError::NoLog(_) => {
                format!("{words}: name a log's directory, as `unanimity log init` makes it")
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
            CycleError::Mirror(odd) => odd.add_to(words),
            CycleError::LogForked(forked) => forked.add_to(words),
            CycleError::Install(refusal) => refusal.add_to(words),
            CycleError::Client(error) => error.add_to(words),
        }
    }
}
