//! Why nothing was installed: the world failed a check.
//!
//! A refusal is never retried into a weaker check. Being unable to find out (no network,
//! a full disk, a wrong clock) is not a refusal but an error of the room it happened in.
//! A refusal says what is the case. What a person can do about it is said by the program that
//! shows it: here nothing is known of mirrors, files and commands.

use crate::bundle_fault::BundleFault;
use crate::log_mismatch::LogMismatch;
use crate::note::NoteError;
use crate::round::UnconfirmedPeer;
use crate::subject::StatementError;
use crate::{Evidence, Name, Timestamp};

/// A failed check, with what proves or explains it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The log signed two stories, and here they are.
    #[error("fork: the log signed two heads that cannot both be true (evidence {}: {} against {})",
        .0.id(), .0.smaller(), .0.larger())]
    Fork(Box<Evidence>),
    /// Two different texts are signed for one product, channel and sequence.
    #[error(
        "conflict: entries {first} and {second} of the log are different releases with sequence {sequence}; neither installs"
    )]
    DuplicateSequence {
        /// The sequence they share.
        sequence: u64,
        /// Index of the first.
        first: u64,
        /// Index of the second.
        second: u64,
    },
    /// Too few of the publisher's keys signed.
    #[error("bad signature: {signed} of the publisher's keys signed, {threshold} are needed")]
    Threshold {
        /// Distinct raw keys that signed.
        signed: usize,
        /// How many must.
        threshold: usize,
    },
    /// The note does not open.
    #[error("bad signature: {0}")]
    BadSignature(NoteError),
    /// Signed as ours, and not what its first line says.
    #[error("malformed: {0}")]
    Malformed(#[from] StatementError),
    /// A manifest that says it belongs in another log.
    #[error("not for this log: the release names the log {0:?}")]
    OtherLog(String),
    /// Another product or channel than the one configured.
    #[error("not ours: a release of {product}, channel {channel}")]
    OtherProduct {
        /// The product it is of.
        product: Name,
        /// Its channel.
        channel: Name,
    },
    /// Our publisher signed a format newer than this program knows.
    #[error(
        "entry {index} is a {header:?}, which this version cannot read; nothing logged before it installs"
    )]
    UnsupportedFormat {
        /// Where in the log.
        index: u64,
        /// The first line it bears.
        header: String,
    },
    /// Its publisher has taken it back.
    #[error(
        "withdrawn: entry {index} of the log takes back release {release}{}: {reason}",
        if *.installed { ", which is installed, and nothing newer can be" } else { " (not installed here)" }
    )]
    Withdrawn {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// Where the withdrawal is in the log.
        index: u64,
        /// Why, in its publisher's words.
        reason: String,
        /// Whether it is what is installed here.
        installed: bool,
    },
    /// What was served is not what the log's head commits to.
    #[error("not logged: {0}")]
    NotLogged(LogMismatch),
    /// An older release than the one installed.
    #[error("rollback: sequence {offered} was offered, and {floor} was installed before")]
    SequenceRollback {
        /// What was offered.
        offered: u64,
        /// What is installed.
        floor: u64,
    },
    /// The release is past its time.
    #[error("expired: release {release} was to be installed before {at}")]
    Expired {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// When.
        at: Timestamp,
    },
    /// Somebody did not confirm.
    #[error("incomplete: {}", list_unconfirmed(.0))]
    Incomplete(Vec<UnconfirmedPeer>),
    /// Everybody confirms, and not for long enough yet.
    #[error(
        "settling: every peer confirms {release}, and it installs once they have for the whole of `settle`, at {until} the earliest"
    )]
    Settling {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The earliest time.
        until: Timestamp,
    },
    /// Everybody had confirmed, and then too much time passed.
    #[error("the roll of {at} is too old by now; it has to be called again")]
    RoundTooOld {
        /// When it was closed.
        at: Timestamp,
    },
    /// The release has nothing for this machine.
    #[error("release {release} has no artifact for {platform}")]
    NoArtifactForPlatform {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// The platform looked for.
        platform: Name,
    },
    /// A proof bundle that does not prove.
    #[error("bad proof bundle: {0}")]
    Bundle(BundleFault),
}

fn list_unconfirmed(missing: &[UnconfirmedPeer]) -> String {
    let lines: Vec<String> = missing.iter().map(|m| format!("\n  {m}")).collect();
    format!(
        "{} not confirmed by every peer{}",
        if lines.is_empty() { "nobody asked," } else { "" },
        lines.concat()
    )
    .trim_start()
    .to_owned()
}
