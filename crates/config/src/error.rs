//! Why a configuration is refused.

use std::path::PathBuf;

use unanimity_protocol::Name;
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::policy::PolicyError;
use unanimity_report::{Classify, Exit};

use crate::{AlertProgramError, PeerListError};

/// The most bytes of a configuration file.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a configuration was refused: which file, what, and where.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: ConfigErrorKind,
}

/// What is wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigErrorKind {
    /// It cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Whoever may write it decides what is installed.
    #[error(
        "everybody may write to it (mode {0:03o}): run chmod o-w on it, and look at what it says"
    )]
    Writable(u32),
    /// Longer than the bound.
    #[error("more than the {MAX_FILE_BYTES} bytes that a configuration file may have")]
    TooLong,
    /// Another one than what is gone by.
    #[error(
        "it, or who counts in its circle, was changed after it was read: start this program again, which installs nothing until then"
    )]
    Changed,
    /// As `init` wrote it.
    #[error("still to be filled in: {}", lines(.0))]
    FillIn(Vec<usize>),
    /// Not TOML, an unknown field, or a value of the wrong form; the text names the line.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// The publisher's keys or the threshold.
    #[error("[publisher] {0}")]
    Policy(#[from] PolicyError),
    /// The peers as a whole.
    #[error("{0}")]
    PeerList(#[from] PeerListError),
    /// Those who are listed are enough, or not, once they count.
    #[error(
        "{operators} distinct operators count as peers, and min_peers is {min_peers}: {joining} more are listed, and count once their heads and ours have been compared"
    )]
    Joining {
        /// How many there are.
        operators: usize,
        /// How many there must be.
        min_peers: usize,
        /// How many peers are not counted yet.
        joining: usize,
    },
    /// A key that could play two parts.
    #[error("the key of peer {0} is also a publisher's or the log's: a key has one role")]
    TwoRoles(Name),
    /// What it serves would be cosigned because it is served.
    #[error(
        "peer {0} is also one of [log] mirrors: take it out there; whoever is a peer is asked for what the mirrors lack in any case"
    )]
    PeerIsMirror(Name),
    /// The pinned checkpoint is not one of the log.
    #[error("[log] pinned: {}: {why}", path.display())]
    Pinned {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        why: PinnedError,
    },
    /// How to install.
    #[error("[install] {0}")]
    Install(&'static str),
    /// Nothing to read from.
    #[error("[log] mirrors is empty: name at least one")]
    NoMirrors,
    /// A mirror's certificate cannot be checked.
    #[error("[log] mirrors: root {}: {why}", path.display())]
    MirrorRoot {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// How to take part in Tor.
    #[error("[tor] {0}")]
    Tor(&'static str),
    /// The private network's description cannot be read.
    #[error("[tor] network: {0}")]
    TorNetwork(#[from] unanimity_storage::StorageError),
    /// How to be a peer.
    #[error("[serve] {0}")]
    Serve(&'static str),
    /// How to raise the alarm.
    #[error("[alarm] {0}")]
    Alert(&'static str),
    /// The program that is to raise it.
    #[error("[alarm] command: {0}")]
    AlertProgram(#[from] AlertProgramError),
    /// A time that makes a check empty.
    #[error("[limits] {0}")]
    Limits(&'static str),
}

/// Why the pinned checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// Its file cannot be read.
    #[error("{0}")]
    Storage(#[from] unanimity_storage::StorageError),
    /// It is no checkpoint of the log.
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
