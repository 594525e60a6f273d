//! Why a release that every peer confirmed is not installed.

use unanimity_archive::ArchiveViolation;
use unanimity_protocol::{Hash, Name, Timestamp};
use unanimity_report::{Classify, Exit};

/// Why a release that every peer confirmed is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallRefusal {
    /// An artifact that this version does not install: an archive of more than
    /// [`MAX_ENTRIES`](unanimity_archive::MAX_ENTRIES) entries.
    #[error("release {release}: its archive has more entries than this version installs")]
    TooManyEntries {
        /// `SEQUENCE-VERSION`.
        release: String,
    },
    /// The artifact is not what was signed.
    #[error(transparent)]
    Artifact(#[from] ArtifactMismatch),
    /// The release was tried here and did not work.
    #[error("unhealthy: release {release}: {why}{}", .until.map_or(String::new(), |until| format!(". It is tried again after {until}")))]
    Unhealthy {
        /// `SEQUENCE-VERSION`.
        release: String,
        /// What it failed by, and what is installed.
        why: String,
        /// Until when it is left alone.
        until: Option<Timestamp>,
    },
    /// The release is being tried, or its trial was interrupted.
    #[error("unhealthy: release {release}: it is on trial")]
    OnTrial {
        /// `SEQUENCE-VERSION`.
        release: String,
    },
}

/// How an artifact differs from what was signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactMismatch {
    /// There are more bytes than were signed.
    #[error("bad artifact: {file}: longer than the {signed} bytes that were signed")]
    TooLong {
        /// The artifact's name.
        file: Name,
        /// How many bytes were signed.
        signed: u64,
    },
    /// There are fewer bytes than were signed.
    #[error("bad artifact: {file}: {length} bytes, and {signed} were signed")]
    TooShort {
        /// The artifact's name.
        file: Name,
        /// How many bytes there are.
        length: u64,
        /// How many bytes were signed.
        signed: u64,
    },
    /// The bytes are others than those that were signed.
    #[error("bad artifact: {file}: SHA-256 {found}, and {signed} was signed")]
    Digest {
        /// The artifact's name.
        file: Name,
        /// The digest of the bytes that are there.
        found: Hash,
        /// The digest that was signed.
        signed: Hash,
    },
    /// The bytes are an archive that must not be unpacked.
    #[error("bad artifact: {file}: {broken}")]
    Archive {
        /// The artifact's name.
        file: Name,
        /// The rule that the archive breaks.
        broken: ArchiveViolation,
    },
    /// What was prepared is another release's artifact.
    #[error("bad artifact: what was staged is release {0}")]
    OtherRelease(String),
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
