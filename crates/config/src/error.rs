//! Errors of a configuration file: which file, what is wrong, and where.

use std::path::PathBuf;

use unanimity_protocol::Name;
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::policy::PolicyError;
use unanimity_report::{Classify, Exit};

use crate::{AlertProgramError, PeerListError};

/// The most bytes of a configuration file or a peers file: 1 MiB.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A refused configuration file. Its outcome is `configuration`, exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ConfigError {
    /// The path of the file.
    pub path: PathBuf,
    /// What is wrong with the file.
    pub why: ConfigErrorKind,
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrorKind {
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Every user of the machine may write to the file, and so decide what is installed.
    #[error(
        "every user may write to it (mode {0:03o}), and so decide what is installed. Check what it says, and remove the write permission for others"
    )]
    Writable(u32),
    /// The file is longer than 1 MiB.
    #[error("it has more than the {MAX_FILE_BYTES} bytes that a configuration file may have")]
    TooLong,
    /// The configuration, the pinned checkpoint or the set of counted peers changed since the
    /// program read them.
    #[error(
        "the configuration or the set of counted peers has changed since this program started. Restart the program. Until then it installs nothing"
    )]
    Changed,
    /// Some lines still have the placeholder of `init`. The value has the numbers of these lines.
    #[error("still to be filled in: {}", lines(.0))]
    FillIn(Vec<usize>),
    /// The file is not TOML, or has an unknown field or a value of the wrong form. The message
    /// names the line.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// The publisher's keys, the threshold and the log make no valid policy.
    #[error("[publisher] {0}")]
    Policy(#[from] PolicyError),
    /// The peers make no valid list, or too few of them count.
    #[error("{0}")]
    PeerList(#[from] PeerListError),
    /// Too few distinct operators count as peers, and some listed peers are still joining.
    #[error(
        "too few peers count (distinct operators: {operators}, min_peers: {min_peers}). Joining peers: {joining}. A joining peer counts after its head has been compared with this node's"
    )]
    Joining {
        /// How many distinct operators count.
        operators: usize,
        /// How many distinct operators have to count.
        min_peers: usize,
        /// How many peers are joining.
        joining: usize,
    },
    /// A peer has the key of a publisher or of the log.
    #[error(
        "the key of peer {0} is also a publisher's or the log's: a key has one role. Ask the operator of this peer for its key"
    )]
    TwoRoles(Name),
    /// A peer is also a mirror. This node cosigns the heads that its mirrors serve, so the peer
    /// could make this node cosign a fork.
    #[error(
        "peer {0} is also in [log] mirrors. This node cosigns what its mirrors serve, so the peer could make it cosign a fork. Remove the peer's address from the mirrors"
    )]
    PeerIsMirror(Name),
    /// The pinned checkpoint cannot be read or verified.
    #[error("[log] pinned: {}: {why}", path.display())]
    Pinned {
        /// The file of the checkpoint.
        path: PathBuf,
        /// What is wrong with the checkpoint.
        why: PinnedError,
    },
    /// A value of `[install]` is not valid, or contradicts another value.
    #[error("[install] {0}")]
    Install(&'static str),
    /// `[log]` names no mirror.
    #[error("[log] mirrors is empty. Name at least one mirror")]
    NoMirrors,
    /// The root certificates of a mirror cannot be read, or belong to a mirror without TLS.
    #[error("[log] mirrors: root {}: {why}", path.display())]
    MirrorRoot {
        /// The file with the root certificates.
        path: PathBuf,
        /// What is wrong with the file.
        why: String,
    },
    /// A value of `[tor]` is not valid, or contradicts another value.
    #[error("[tor] {0}")]
    Tor(&'static str),
    /// The description of the private Tor network cannot be read.
    #[error("[tor] network: {0}")]
    TorNetwork(#[from] unanimity_storage::StorageError),
    /// A value of `[serve]` is not valid, or needs a feature that this build lacks.
    #[error("[serve] {0}")]
    Serve(&'static str),
    /// A value of `[alert]` is not valid: a relative path of the program, or a time out of bounds.
    #[error("[alert] {0}")]
    Alert(&'static str),
    /// The program of the alert command cannot be executed.
    #[error("[alert] command: {0}")]
    AlertProgram(#[from] AlertProgramError),
    /// A value of `[limits]` is out of bounds, or contradicts another value.
    #[error("[limits] {0}")]
    Limits(&'static str),
}

/// Why the pinned checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// The file cannot be read.
    #[error("{0}")]
    Storage(#[from] unanimity_storage::StorageError),
    /// The file is not a checkpoint that the log has signed.
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
}

fn lines(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    format!("line{} {}", if numbers.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

impl Classify for ConfigError {
    fn exit(&self) -> Exit {
        Exit::Configuration
    }
}
