//! Refusals: the checks that keep a release from being installed.
//!
//! A refusal never leads to a weaker check. A failure to find out (no network, a full disk, a
//! wrong clock) is an error of the crate where it happens, and no refusal.
//!
//! A refusal says what is the case. The program that shows it adds what an operator can do,
//! because this crate knows no mirrors, files and commands.

use crate::bundle_fault::BundleFault;
use crate::log_mismatch::LogMismatch;
use crate::note::NoteError;
use crate::round::UnconfirmedPeer;
use crate::subject::StatementError;
use crate::{Evidence, Name, Timestamp};

/// A failed check, with the evidence or the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The log signed two tree heads that are not consistent. The evidence has both.
    #[error(
        "fork: the log signed two tree heads that are not consistent \
         (evidence {}: {} against {})",
        .0.id(), .0.smaller(), .0.larger()
    )]
    Fork(Box<Evidence>),
    /// The publisher signed two different releases with one sequence.
    #[error(
        "conflict: entries {first} and {second} of the log are different releases with sequence \
         {sequence}; neither installs"
    )]
    DuplicateSequence {
        /// The sequence of both releases.
        sequence: u64,
        /// The log index of the first release.
        first: u64,
        /// The log index of the second release.
        second: u64,
    },
    /// Too few of the publisher's keys signed.
    #[error(
        "bad signature: {signed} of the publisher's keys signed, and the threshold is {threshold}"
    )]
    Threshold {
        /// The number of distinct publisher keys that signed.
        signed: usize,
        /// The number of publisher keys that must sign.
        threshold: usize,
    },
    /// A signature of the note does not verify, or the text is not a note.
    #[error("bad signature: {0}")]
    BadSignature(NoteError),
    /// Enough publisher keys signed a text that is no statement of the kind in its first line.
    #[error("malformed: {0}")]
    Malformed(#[from] StatementError),
    /// The statement names another log.
    #[error("not for this log: the release names the log {0:?}")]
    OtherLog(String),
    /// The statement names another product or channel than the policy.
    #[error("other product: the release is of {product}, channel {channel}")]
    OtherProduct {
        /// The product in the statement.
        product: Name,
        /// The channel in the statement.
        channel: Name,
    },
    /// The publisher signed a statement in a format newer than this program knows.
    #[error(
        "entry {index} of the log is a {header:?}, which this version of the program cannot read. \
         No release that was logged before it installs"
    )]
    UnsupportedFormat {
        /// The entry's index in the log.
        index: u64,
        /// The first line of the statement.
        header: String,
    },
    /// The publisher has withdrawn the release.
    #[error(
        "withdrawn: entry {index} of the log withdraws release {release}{}: {reason}",
        if *.installed {
            ", which is installed, and no newer release can install"
        } else {
            " (not installed here)"
        }
    )]
    Withdrawn {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The log index of the withdrawal.
        index: u64,
        /// The reason, in the publisher's words.
        reason: String,
        /// Whether the withdrawn release is installed here.
        installed: bool,
    },
    /// The log's head does not commit to the data that was served.
    #[error("not logged: {0}")]
    NotLogged(LogMismatch),
    /// The release is not newer than the installed one.
    #[error("rollback: sequence {offered} was offered, and {floor} was installed before")]
    SequenceRollback {
        /// The offered sequence.
        offered: u64,
        /// The highest sequence that was installed.
        floor: u64,
    },
    /// The release has expired.
    #[error("expired: release {release} was to be installed before {at}")]
    Expired {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The time of the expiry.
        at: Timestamp,
    },
    /// At least one peer did not confirm.
    #[error("incomplete: {}", list_unconfirmed(.0))]
    Incomplete(Vec<UnconfirmedPeer>),
    /// Every peer confirms, but not for long enough yet.
    #[error(
        "settling: every peer confirms {release}. It installs after every peer has confirmed it \
         for the settle time, at {until} the earliest"
    )]
    Settling {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The earliest time of an installation.
        until: Timestamp,
    },
    /// Every peer confirmed, and the latest round is too old by now.
    #[error(
        "the round of {at} is older than round_ttl, or than the freshness that the installer demands"
    )]
    RoundTooOld {
        /// The time at which the round closed.
        at: Timestamp,
    },
    /// The release has no artifact for this platform.
    #[error("release {release} has no artifact for {platform}")]
    NoArtifactForPlatform {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The platform of this machine.
        platform: Name,
    },
    /// A proof bundle proves less than it must.
    #[error("bad proof bundle: {0}")]
    Bundle(BundleFault),
}

fn list_unconfirmed(peers: &[UnconfirmedPeer]) -> String {
    let lines: Vec<String> = peers.iter().map(|peer| format!("\n  {peer}")).collect();
    format!(
        "{} not confirmed by every peer{}",
        if lines.is_empty() { "no peer was asked," } else { "" },
        lines.concat()
    )
    .trim_start()
    .to_owned()
}
