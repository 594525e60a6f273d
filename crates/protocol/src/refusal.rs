//! Refusals: the failed checks for which a release is not installed.
//!
//! A refusal never leads to a weaker check. If a check cannot be made (no network, a full disk, a
//! wrong clock), that is an error of the crate where it happens, and not a refusal.
//!
//! The text of a refusal states which check failed. The program that shows it adds advice for the
//! operator, because this crate knows no mirrors, files or commands.

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
        /// The log index of the last different release with this sequence.
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
    #[error("not for this log: the statement names the log {0:?}")]
    OtherLog(String),
    /// The statement names another product or channel than the policy.
    #[error("other product: the statement is of {product}, channel {channel}")]
    OtherProduct {
        /// The product in the statement.
        product: Name,
        /// The channel in the statement.
        channel: Name,
    },
    /// The publisher signed a statement in a format that this program does not know.
    #[error(
        "entry {index} of the log is a {header:?}, which this version of the program cannot read. \
         Releases in earlier entries are not installed"
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
        /// The label of the release, `SEQUENCE-VERSION`.
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
    /// The release's sequence is not above the floor.
    #[error("rollback: sequence {offered} was offered, and {floor} was installed before")]
    SequenceRollback {
        /// The offered sequence.
        offered: u64,
        /// The highest sequence that was installed here and proved good.
        floor: u64,
    },
    /// The release has expired.
    #[error("expired: release {release} was to be installed before {at}")]
    Expired {
        /// The label of the release, `SEQUENCE-VERSION`.
        release: String,
        /// The time of the expiry.
        at: Timestamp,
    },
    /// At least one peer did not confirm the release. Has each such peer with the reason.
    #[error("incomplete: {}", list_unconfirmed(.0))]
    Incomplete(Vec<UnconfirmedPeer>),
    /// Every peer confirms the release, but has not for the settle time yet.
    #[error(
        "settling: every peer confirms {release}. It installs after every peer has confirmed it \
         for the settle time, at {until} the earliest"
    )]
    Settling {
        /// The label of the release, `SEQUENCE-VERSION`.
        release: String,
        /// The earliest time at which the release can install.
        until: Timestamp,
    },
    /// Every peer confirmed, and the latest round is too old by now.
    #[error(
        "the round of {at} is older than round_ttl, or than the freshness that the installer demands"
    )]
    RoundTooOld {
        /// The time at which the latest round closed.
        at: Timestamp,
    },
    /// The release has no artifact for this platform.
    #[error("release {release} has no artifact for {platform}")]
    NoArtifactForPlatform {
        /// The label of the release, `SEQUENCE-VERSION`.
        release: String,
        /// The platform of this machine.
        platform: Name,
    },
    /// A proof bundle does not prove its release.
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
