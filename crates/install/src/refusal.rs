//! Refusals of the installation itself, for a release that every peer has confirmed.

use unanimity_archive::ArchiveViolation;
use unanimity_protocol::{Hash, Name, Timestamp};
use unanimity_report::{Classify, Exit};

/// Why a release that every peer confirmed is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallRefusal {
    /// The archive has more than [`MAX_ENTRIES`](unanimity_archive::MAX_ENTRIES) entries, which
    /// this version of the program does not install.
    #[error(
        "release {release}: its archive has more entries than this version of unanimity installs"
    )]
    TooManyEntries {
        /// Label of the release: `SEQUENCE-VERSION`.
        release: String,
    },
    /// The artifact differs from the signed one.
    #[error(transparent)]
    Artifact(#[from] ArtifactMismatch),
    /// The release has failed its trial on this node.
    #[error("unhealthy: release {release}: {why}{}", self.describe_next_attempt())]
    Unhealthy {
        /// Label of the release: `SEQUENCE-VERSION`.
        release: String,
        /// Reason of the failure, and which version is installed.
        why: String,
        /// Time of the next try. `None` if the release stays installed.
        until: Option<Timestamp>,
    },
    /// The release is on trial now, or its trial was interrupted.
    #[error("unhealthy: release {release}: it is on trial")]
    OnTrial {
        /// Label of the release: `SEQUENCE-VERSION`.
        release: String,
    },
}

/// How an artifact differs from the signed one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactMismatch {
    /// The artifact is longer than the signed length.
    #[error("bad artifact: {file}: longer than the {signed} bytes that were signed")]
    TooLong {
        /// File name of the artifact.
        file: Name,
        /// Signed length in bytes.
        signed: u64,
    },
    /// The artifact is shorter than the signed length.
    #[error("bad artifact: {file}: {length} bytes, and {signed} were signed")]
    TooShort {
        /// File name of the artifact.
        file: Name,
        /// Length in bytes.
        length: u64,
        /// Signed length in bytes.
        signed: u64,
    },
    /// The artifact has the signed length, but another digest.
    #[error("bad artifact: {file}: SHA-256 {found}, and {signed} was signed")]
    Digest {
        /// File name of the artifact.
        file: Name,
        /// SHA-256 of the artifact.
        found: Hash,
        /// Signed SHA-256.
        signed: Hash,
    },
    /// The artifact is an archive that breaks a rule for archives.
    #[error("bad artifact: {file}: {broken}")]
    Archive {
        /// File name of the artifact.
        file: Name,
        /// The rule that the archive breaks.
        broken: ArchiveViolation,
    },
    /// The prepared artifact belongs to another release.
    #[error("bad artifact: the download is of release {0}")]
    OtherRelease(String),
}

impl InstallRefusal {
    /// The sentence about the next attempt, with a full stop before it. Empty if no next attempt is
    /// planned.
    pub(crate) fn describe_next_attempt(&self) -> String {
        match self {
            InstallRefusal::Unhealthy { release, until: Some(until), .. } => {
                format!(". The next attempt with {release} is after {until}")
            }
            _ => String::new(),
        }
    }
}

impl Classify for InstallRefusal {
    fn exit(&self) -> Exit {
        match self {
            InstallRefusal::TooManyEntries { .. } => Exit::Unsuitable,
            InstallRefusal::Artifact(mismatch) => mismatch.exit(),
            InstallRefusal::Unhealthy { .. } | InstallRefusal::OnTrial { .. } => Exit::Unhealthy,
        }
    }
}

impl Classify for ArtifactMismatch {
    fn exit(&self) -> Exit {
        Exit::BadArtifact
    }
}
