//! Describing a release, and taking one back.

use std::time::Duration;

use unanimity_archive::Totals;
use unanimity_protocol::manifest::{ArchiveFormat, Artifact, ArtifactKind};
use unanimity_protocol::{Hash, Manifest, Name, Origin, Timestamp, Withdrawal};

use crate::error::PublishError;

/// What a new release is, but for its artifacts.
#[derive(Clone, Debug)]
pub struct ReleaseDraft {
    /// The log it is for.
    pub log: Origin,
    /// The product.
    pub product: Name,
    /// The channel.
    pub channel: Name,
    /// Larger than that of every release before.
    pub sequence: u64,
    /// For people.
    pub version: Name,
    /// Now.
    pub issued: Timestamp,
    /// How long it may be installed.
    pub valid_for: Duration,
}

/// What is released for one platform.
#[derive(Clone, Debug)]
pub struct ArtifactDraft {
    /// Such as `x86_64-linux`.
    pub platform: Name,
    /// What the file is called.
    pub file: Name,
    /// All of it.
    pub bytes: Vec<u8>,
    /// What to do with it.
    pub kind: ArtifactKind,
}

/// Platform, name and content of a file that is installed as it is.
impl From<(Name, Name, Vec<u8>)> for ArtifactDraft {
    fn from((platform, file, bytes): (Name, Name, Vec<u8>)) -> ArtifactDraft {
        ArtifactDraft { platform, file, bytes, kind: ArtifactKind::File }
    }
}

impl ArtifactDraft {
    /// A file that is unpacked where it is installed if its name says that it is an archive
    /// ([`ArchiveFormat::from_file_name`]). The archive is read as a node reads it, and refused as one refuses it.
    pub fn from_named_file(
        platform: Name,
        file: Name,
        bytes: Vec<u8>,
    ) -> Result<ArtifactDraft, PublishError> {
        let kind = match ArchiveFormat::from_file_name(&file) {
            None => ArtifactKind::File,
            Some(format) => match unanimity_archive::check(format, &bytes[..]) {
                Ok(Totals { unpacked, entries }) => {
                    ArtifactKind::Archive { format, unpacked, entries }
                }
                Err(error) => {
                    let why = error.to_string();
                    return Err(PublishError::Archive { file, why });
                }
            },
        };
        Ok(ArtifactDraft { platform, file, bytes, kind })
    }
}

/// Describes a release with one artifact for each platform.
pub fn build_manifest(
    release: ReleaseDraft,
    artifacts: impl IntoIterator<Item = impl Into<ArtifactDraft>>,
) -> Result<Manifest, PublishError> {
    let target = |artifact| {
        let ArtifactDraft { platform, file, bytes, kind } = artifact;
        Artifact { platform, file, length: bytes.len() as u64, sha256: Hash::digest(&bytes), kind }
    };
    let ReleaseDraft { log, product, channel, sequence, version, issued, valid_for: good_for } =
        release;
    let mut targets: Vec<Artifact> = artifacts.into_iter().map(Into::into).map(target).collect();
    targets.sort_by(|a, b| a.platform.cmp(&b.platform));
    let expires = issued.after(good_for);
    let manifest =
        Manifest { log, product, channel, sequence, version, issued, expires, artifacts: targets };
    // The format's own reader has the last word on its rules.
    Manifest::parse(&manifest.to_string()).map_err(PublishError::InvalidStatement)
}

/// Takes a release back.
pub fn check_withdrawal(withdrawal: Withdrawal) -> Result<Withdrawal, PublishError> {
    // The format's own reader has the last word on its rules.
    Withdrawal::parse(&withdrawal.to_string()).map_err(PublishError::InvalidStatement)
}
