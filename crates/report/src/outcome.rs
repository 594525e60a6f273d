//! The table of outcomes: exit code, word, condition and meaning.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $word:literal, $condition:ident;)+) => {
        /// The exit code of a command or a cycle. The codes 0, 10 and 11 mean that nothing failed.
        /// Every other code names a kind of failure. 101, which is not in the table, is a panic: a
        /// bug of the program.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Exit { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Exit {
            /// All exit codes, in ascending order.
            pub const ALL: &[Exit] = &[$(Exit::$name,)+];

            /// Returns the exit code with this number. `None` if the table has no such number.
            pub fn of(code: i32) -> Option<Exit> {
                Exit::ALL.iter().copied().find(|exit| *exit as i32 == code)
            }

            /// The word for this exit code, such as `no-progress`, for reports and JSON.
            pub fn word(self) -> &'static str {
                match self { $(Exit::$name => $word,)+ }
            }

            /// The condition of a node whose last cycle ended with this code. A cycle that failed
            /// before it had a result makes the node `Incomplete`: the node does not know whether
            /// there is an update.
            pub fn condition(self) -> Condition {
                match self { $(Exit::$name => Condition::$condition,)+ }
            }

            /// The meaning of this exit code, as `--help` prints it.
            pub fn meaning(self) -> &'static str {
                match self { $(Exit::$name => concat!($($doc,)+).trim_ascii_start(),)+ }
            }
        }
    };
}

exits! {
    /// done; for check and update: every peer agrees, and nothing more is to be installed
    Done = 0, "done", Healthy;
    /// a failure without a code of its own
    Failed = 1, "failed", Incomplete;
    /// the command line is wrong, or asks for something that does not exist
    Usage = 2, "usage", Incomplete;
    /// the configuration is refused
    Configuration = 3, "configuration", Incomplete;
    /// no mirror could be read, or Tor cannot be reached
    Network = 4, "network", Incomplete;
    /// the clock shows a time before one that was verified earlier
    Clock = 5, "clock", Incomplete;
    /// a file or directory is unreadable, not writable, damaged or in use
    Disk = 6, "disk", Incomplete;
    /// a key file is refused: its mode, its passphrase or its kind
    Key = 7, "key", Incomplete;
    /// a file that was given does not have the required form
    BadInput = 8, "bad-input", Refused;
    /// an update can be installed now (from check and download, and from update if spool is set in
    /// the configuration)
    Available = 10, "available", Available;
    /// every peer confirms an update, but not yet for the whole of settle
    Settling = 11, "settling", Healthy;
    /// not every peer confirmed
    Incomplete = 12, "incomplete", Incomplete;
    /// every mirror hides log entries that peers have verified
    Stale = 13, "stale", Stale;
    /// from status: no round was unanimous for longer than incomplete_after in the configuration
    NoProgress = 14, "no-progress", Incomplete;
    /// the log signed two tree heads that are not consistent; nothing installs until the evidence
    /// is acknowledged
    Fork = 20, "fork", Fork;
    /// two different releases have the same sequence
    Conflict = 21, "conflict", Refused;
    /// too few of the required keys signed, or a signature is wrong
    BadSignature = 22, "bad-signature", Refused;
    /// the entries that were served are not those of the log
    NotLogged = 23, "not-logged", Refused;
    /// an older release, or a log shorter than one verified before
    Rollback = 24, "rollback", Refused;
    /// the release has passed its expiry date
    Expired = 25, "expired", Refused;
    /// a release or withdrawal has a format that is newer than this program
    Outdated = 26, "outdated", Refused;
    /// the release has no artifact for this node, or one that it cannot install
    Unsuitable = 27, "unsuitable", Refused;
    /// a file differs from the signed one, or an archive breaks a rule
    BadArtifact = 28, "bad-artifact", Refused;
    /// a proof or evidence does not prove what it should
    BadProof = 29, "bad-proof", Refused;
    /// a release was tried and failed its hooks or its check, and is tried again later; for
    /// rollback: the handover or a step after the switch failed
    Unhealthy = 30, "unhealthy", Refused;
    /// the publisher withdrew the release; from check and update: the installed release is
    /// withdrawn, and there is no newer one that can be installed
    Withdrawn = 31, "withdrawn", Refused;
    /// interrupted by a signal (SIGINT, SIGTERM, SIGHUP); the next update continues the download
    Interrupted = 130, "interrupted", Incomplete;
}

/// Returns the table of outcomes as text for `--help`.
pub fn outcome_table() -> String {
    let mut text = String::from(
        "Exit codes of unanimity and unanimity-install, and the word for each in --json:\n",
    );
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

/// The width of the table of outcomes in columns: the width of a usual terminal.
const TABLE_WIDTH: usize = 80;
