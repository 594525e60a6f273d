//! Every exit code, in one table.

use serde::{Deserialize, Serialize};

use crate::circle::EditError;
use crate::circle::edit::Obstacle;
use crate::config::ConfigError;
#[cfg(feature = "tor")]
use crate::identity::IdentityError;
use crate::install::spool::SpoolError;
use crate::install::{ByHandError, InstallError};
use crate::installer::StagedError;
use crate::log::site::Unpublished;
use crate::log::writer::WriteError;
#[cfg(feature = "tor")]
use crate::net::tor::TorError;
#[cfg(feature = "tor")]
use crate::node::NodeError;
use crate::publish::PublishError;
#[cfg(feature = "tor")]
use crate::serve::socket::OwnerError;
use crate::store::StoreError;
use crate::update::{Failure, UpdateError};
use unanimity_protocol::Refusal;
use unanimity_storage::DiskError;

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $word:literal;)+) => {
        /// How the program ends. 0 is the only good end; every other code says why, and 101
        /// is a bug of ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Exit { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Exit {
            /// All of them, in ascending order.
            pub const ALL: &[Exit] = &[$(Exit::$name,)+];

            /// The one with that code.
            pub fn of(code: i32) -> Option<Exit> {
                Exit::ALL.iter().copied().find(|exit| *exit as i32 == code)
            }

            /// One word for reports.
            pub fn word(self) -> &'static str {
                match self { $(Exit::$name => $word,)+ }
            }

            /// What it means.
            pub fn meaning(self) -> &'static str {
                match self { $(Exit::$name => concat!($($doc,)+).trim_ascii_start(),)+ }
            }
        }
    };
}

exits! {
    /// done; for check and update: every peer agrees, and nothing (more) is to be installed
    Done = 0, "done";
    /// something failed that has no code of its own
    Failed = 1, "failed";
    /// the command line makes no sense
    Usage = 2, "usage";
    /// the configuration is refused
    Configuration = 3, "configuration";
    /// no mirror could be read, or Tor cannot be reached
    Network = 4, "network";
    /// the clock stands before a time that was verified before
    Clock = 5, "clock";
    /// a file or directory could not be read or written, or is damaged or in use
    Disk = 6, "disk";
    /// a key file is refused: its mode, its passphrase, its kind
    Key = 7, "key";
    /// a file given to read is not in the form it must have
    BadInput = 8, "bad-input";
    /// an update can be installed now (check)
    Available = 10, "available";
    /// every peer confirms an update, and not yet for long enough
    Settling = 11, "settling";
    /// not every peer confirmed
    Incomplete = 12, "incomplete";
    /// every mirror hides log entries that peers have verified
    Stale = 13, "stale";
    /// no roll was unanimous for longer than incomplete_after in the configuration (status)
    NoProgress = 14, "no-progress";
    /// the log signed two stories; nothing installs until evidence is acknowledged
    Fork = 20, "fork";
    /// two different releases bear one sequence
    Conflict = 21, "conflict";
    /// too few of the needed keys signed, or a signature is bad
    BadSignature = 22, "bad-signature";
    /// what was served is not in the log
    NotLogged = 23, "not-logged";
    /// an older release, or a log shorter than the one verified before
    Rollback = 24, "rollback";
    /// the release is past its time
    Expired = 25, "expired";
    /// a release is in a format newer than this program
    Outdated = 26, "outdated";
    /// the release is not for this node: no artifact for it, or one it cannot install
    Unsuitable = 27, "unsuitable";
    /// a file's bytes are not the ones that were signed, or an archive must not be unpacked
    BadArtifact = 28, "bad-artifact";
    /// a proof or evidence does not prove what it should
    BadProof = 29, "bad-proof";
    /// a release does not work here: it was tried and undone, and is tried again later; of a rollback: it is there, and does not work
    Unhealthy = 30, "unhealthy";
    /// a release's publisher has taken it back; of check and update: the one that is installed, and nothing newer can be
    Withdrawn = 31, "withdrawn";
    /// told to end (Ctrl-C, SIGTERM) before it was done; the next update goes on from there
    Interrupted = 130, "interrupted";
}

/// The table for `--help`.
pub fn table() -> String {
    let mut text = String::from("Exit codes, and the word for each in --json:\n");
    for exit in Exit::ALL {
        let mut line = format!("  {:3}  {:14}", *exit as u8, exit.word());
        for word in exit.meaning().split(' ') {
            if line.len() + 1 + word.len() > TABLE_WIDTH {
                text += &format!("{line}\n");
                line = format!("{:21}", "");
            }
            line += &format!(" {word}");
        }
        text += &format!("{line}\n");
    }
    text
}

/// No terminal is narrower, so nothing in the table is wrapped anew.
const TABLE_WIDTH: usize = 80;

impl From<&Refusal> for Exit {
    fn from(refusal: &Refusal) -> Exit {
        match refusal {
            Refusal::Fork(_) | Refusal::Latched { .. } => Exit::Fork,
            Refusal::Conflict { .. } => Exit::Conflict,
            Refusal::Threshold { .. } | Refusal::BadSignature(_) => Exit::BadSignature,
            Refusal::Malformed(_) => Exit::BadInput,
            Refusal::NotLogged(_) | Refusal::OtherLog(_) => Exit::NotLogged,
            Refusal::Rollback { .. } | Refusal::MirrorRollback { .. } => Exit::Rollback,
            Refusal::Expired { .. } => Exit::Expired,
            Refusal::Outdated { .. } => Exit::Outdated,
            Refusal::OtherProduct { .. }
            | Refusal::NoTarget { .. }
            | Refusal::UnsupportedKind { .. } => Exit::Unsuitable,
            Refusal::Incomplete(_) | Refusal::RollTooOld { .. } => Exit::Incomplete,
            Refusal::Stale { .. } => Exit::Stale,
            Refusal::Settling { .. } => Exit::Settling,
            Refusal::Artifact(_) => Exit::BadArtifact,
            Refusal::Bundle(_) => Exit::BadProof,
            Refusal::Unhealthy { .. } => Exit::Unhealthy,
            Refusal::Withdrawn { .. } => Exit::Withdrawn,
        }
    }
}

impl From<&UpdateError> for Exit {
    fn from(error: &UpdateError) -> Exit {
        match error {
            UpdateError::Store(_) | UpdateError::Disk(_) => Exit::Disk,
            UpdateError::Config(_) | UpdateError::Command(_) => Exit::Configuration,
            UpdateError::Mirrors(_) | UpdateError::Untied { .. } => Exit::Network,
            UpdateError::Clock { .. } => Exit::Clock,
        }
    }
}

/// A verb that ended badly: the code, and what a person reads.
#[derive(Debug)]
pub struct Ended {
    /// The code.
    pub exit: Exit,
    /// What to read.
    pub message: String,
}

impl Ended {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Ended {
        Ended { exit, message: message.into() }
    }

    pub(super) fn usage(message: impl Into<String>) -> Ended {
        Ended::new(Exit::Usage, message)
    }
}

/// An error's words and those of its causes, as far as they are not the same words.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !message.contains(&words) {
            message += &format!(": {words}");
        }
        cause = error.source();
    }
    message
}

macro_rules! ended {
    ($($error:ty => $exit:expr;)+) => {
        $(impl From<$error> for Ended {
            fn from(error: $error) -> Ended {
                let exit: fn(&$error) -> Exit = $exit;
                Ended { exit: exit(&error), message: with_causes(&error) }
            }
        })+
    };
}

ended! {
    ConfigError => |_| Exit::Configuration;
    DiskError => |_| Exit::Disk;
    Refusal => |refusal| refusal.into();
    UpdateError => |error| error.into();
    Failure => |failure| match failure {
        Failure::Refused(refusal) => refusal.into(),
        Failure::Error(error) => error.into(),
    };
    SpoolError => |_| Exit::Disk;
    StagedError => |error| match error {
        StagedError::Refused(refusal) => refusal.into(),
        StagedError::Proof(_) => Exit::BadProof,
        StagedError::Gap { .. } => Exit::BadInput,
        StagedError::Clock { .. } => Exit::Clock,
        StagedError::Config(_) | StagedError::Command(_) => Exit::Configuration,
        StagedError::Spool(_) | StagedError::Store(_) | StagedError::Disk(_) | StagedError::Busy(_) => Exit::Disk,
    };
    StoreError => |error| match error {
        StoreError::NoEvidence(_) => Exit::Usage,
        StoreError::OtherLog(_) => Exit::Configuration,
        _ => Exit::Disk,
    };
    PublishError => |error| match error {
        PublishError::Disk(_) | PublishError::Exists(_) => Exit::Disk,
        PublishError::Exposed { .. } | PublishError::NotSecret(_) | PublishError::Decrypt(_) | PublishError::Key { .. } => Exit::Key,
        PublishError::Statement { .. } | PublishError::Note { .. } => Exit::BadInput,
        PublishError::AlreadySigned { .. } | PublishError::Changed(_) | PublishError::NewStatement(_) => Exit::Usage,
        PublishError::Archive { .. } => Exit::BadArtifact,
        PublishError::Encrypt(_) => Exit::Failed,
    };
    WriteError => |error| match error {
        WriteError::Disk(_) | WriteError::Busy(_) | WriteError::Exists(_) => Exit::Disk,
        WriteError::Checkpoint { .. } => Exit::Key,
        WriteError::Entry { .. } => Exit::BadInput,
        WriteError::Forked { .. } => Exit::Fork,
        WriteError::MirrorAhead { .. } | WriteError::Unrecorded(_) => Exit::Rollback,
    };
    Unpublished => |error| match error {
        Unpublished::Disk(_) | Unpublished::Busy(_) | Unpublished::NoLog(_) | Unpublished::Occupied(_) => Exit::Disk,
        Unpublished::Checkpoint { .. } | Unpublished::OtherLog { .. } => Exit::BadSignature,
        Unpublished::Artifact(_) => Exit::BadArtifact,
        Unpublished::NotApart { .. } | Unpublished::IsLog(_) => Exit::Usage,
        Unpublished::Rollback { .. } => Exit::Rollback,
        Unpublished::Fork { .. } => Exit::Fork,
    };
    InstallError => |error| match error {
        InstallError::Refused(refusal) => refusal.into(),
        InstallError::Command { .. } => Exit::Configuration,
        InstallError::Disk(_) | InstallError::Busy(_) | InstallError::Switching(_) | InstallError::Source(_) => Exit::Disk,

    };
    ByHandError => |error| match error {
        ByHandError::Install(InstallError::Refused(refusal)) => refusal.into(),
        ByHandError::Install(InstallError::Command { .. }) => Exit::Configuration,
        ByHandError::Install(_) | ByHandError::Disk(_) => Exit::Disk,
        ByHandError::NoVersion { .. } | ByHandError::NoTrial(_) => Exit::Usage,
        ByHandError::Withdrawn(_) => Exit::Withdrawn,
        ByHandError::Handover(_) => Exit::Unhealthy,
    };
    EditError => edit_exit;
}

fn edit_exit(error: &EditError) -> Exit {
    match error.why {
        Obstacle::Io(_) | Obstacle::ReadOnly | Obstacle::Owner { .. } | Obstacle::Busy => {
            Exit::Disk
        }
        Obstacle::Unread(_) | Obstacle::Circle(_) | Obstacle::Form => Exit::Configuration,
        Obstacle::Unknown { .. }
        | Obstacle::Changed(_)
        | Obstacle::NotLeaving(_)
        | Obstacle::NeverCounted(_)
        | Obstacle::NotJoining(_)
        | Obstacle::Counts(_) => Exit::Usage,
    }
}

#[cfg(feature = "tor")]
ended! {
    NodeError => |error| match error {
        NodeError::Config(_) | NodeError::NoRole(_) | NodeError::Another { .. } => Exit::Configuration,
        NodeError::Identity(IdentityError::Disk(_)) | NodeError::Peer(_)
        | NodeError::Disk(_)
        | NodeError::Store(_) => Exit::Disk,
        NodeError::Identity(_) => Exit::Key,
        NodeError::Edit(error) => edit_exit(error),
        NodeError::NotOurs { error, .. } => edit_exit(error),
        NodeError::OwnTicket | NodeError::Ticket(_) => Exit::BadInput,
        NodeError::Listed { .. } => Exit::Usage,
    };
    OwnerError => |_| Exit::Disk;
    TorError => |error| match error {
        TorError::Settings(_) | TorError::NotPrivate(_) => Exit::Configuration,
        TorError::Bootstrap(_) => Exit::Network,
        TorError::Start(_) | TorError::Service(_) => Exit::Failed,
    };
}
