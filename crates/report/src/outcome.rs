//! Every way in which a program or a cycle ends: exit code, word and condition, in one table.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $word:literal, $condition:ident;)+) => {
        /// The exit code of a command or a cycle. 0, 10 and 11 need no action. Every other code says
        /// what failed. 101 is a panic, a bug of ours.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Exit { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Exit {
            /// Every exit code, ascending.
            pub const ALL: &[Exit] = &[$(Exit::$name,)+];

            /// Returns the exit with this code.
            pub fn of(code: i32) -> Option<Exit> {
                Exit::ALL.iter().copied().find(|exit| *exit as i32 == code)
            }

            /// One word for reports.
            pub fn word(self) -> &'static str {
                match self { $(Exit::$name => $word,)+ }
            }

            /// The condition of a node whose last cycle ended with this code. A node that could not find
            /// out is `Incomplete`: it does not know whether there is an update.
            pub fn condition(self) -> Condition {
                match self { $(Exit::$name => Condition::$condition,)+ }
            }

            /// The meaning, as `--help` prints it.
            pub fn meaning(self) -> &'static str {
                match self { $(Exit::$name => concat!($($doc,)+).trim_ascii_start(),)+ }
            }
        }
    };
}

exits! {
    /// done; for check and update: every peer agrees, and nothing (more) is to be installed
    Done = 0, "done", Healthy;
    /// something failed that has no code of its own
    Failed = 1, "failed", Incomplete;
    /// the command line makes no sense
    Usage = 2, "usage", Incomplete;
    /// the configuration is refused
    Configuration = 3, "configuration", Incomplete;
    /// no mirror could be read, or Tor cannot be reached
    Network = 4, "network", Incomplete;
    /// the clock stands before a time that was verified before
    Clock = 5, "clock", Incomplete;
    /// a file or directory could not be read or written, or is damaged or in use
    Disk = 6, "disk", Incomplete;
    /// a key file is refused: its mode, its passphrase, its kind
    Key = 7, "key", Incomplete;
    /// a file given to read is not in the form it must have
    BadInput = 8, "bad-input", Refused;
    /// an update can be installed now (check)
    Available = 10, "available", Available;
    /// every peer confirms an update, and not yet for long enough
    Settling = 11, "settling", Healthy;
    /// not every peer confirmed
    Incomplete = 12, "incomplete", Incomplete;
    /// every mirror hides log entries that peers have verified
    Stale = 13, "stale", Stale;
    /// no roll was unanimous for longer than incomplete_after in the configuration (status)
    NoProgress = 14, "no-progress", Incomplete;
    /// the log signed two stories; nothing installs until evidence is acknowledged
    Fork = 20, "fork", Fork;
    /// two different releases bear one sequence
    Conflict = 21, "conflict", Refused;
    /// too few of the needed keys signed, or a signature is bad
    BadSignature = 22, "bad-signature", Refused;
    /// what was served is not in the log
    NotLogged = 23, "not-logged", Refused;
    /// an older release, or a log shorter than the one verified before
    Rollback = 24, "rollback", Refused;
    /// the release is past its time
    Expired = 25, "expired", Refused;
    /// a release is in a format newer than this program
    Outdated = 26, "outdated", Refused;
    /// the release is not for this node: no artifact for it, or one it cannot install
    Unsuitable = 27, "unsuitable", Refused;
    /// a file's bytes are not the ones that were signed, or an archive must not be unpacked
    BadArtifact = 28, "bad-artifact", Refused;
    /// a proof or evidence does not prove what it should
    BadProof = 29, "bad-proof", Refused;
    /// a release does not work here: it was tried and undone, and is tried again later; of a rollback: it is there, and does not work
    Unhealthy = 30, "unhealthy", Refused;
    /// a release's publisher has taken it back; of check and update: the one that is installed, and nothing newer can be
    Withdrawn = 31, "withdrawn", Refused;
    /// told to end (Ctrl-C, SIGTERM) before it was done; the next update goes on from there
    Interrupted = 130, "interrupted", Incomplete;
}

/// The table for `--help`.
pub fn outcome_table() -> String {
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

/// The table wraps at the usual width of a terminal.
const TABLE_WIDTH: usize = 80;
