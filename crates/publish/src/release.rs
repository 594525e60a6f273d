//! Building the manifest of a release, and checking a withdrawal.

use std::time::Duration;

use unanimity_archive::Totals;
use unanimity_protocol::manifest::{ArchiveFormat, Artifact, ArtifactKind};
use unanimity_protocol::{Hash, Manifest, Name, Origin, Timestamp, Withdrawal};

use crate::error::PublishError;

/// The description of a new release, without its artifacts.
#[derive(Clone, Debug)]
pub struct ReleaseDraft {
    /// The origin of the log for which the release is made.
    pub log: Origin,
    /// The name of the product.
    pub product: Name,
    /// The name of the channel.
    pub channel: Name,
    /// The sequence, which must be larger than that of every earlier release.
    pub sequence: u64,
    /// The version, for people.
    pub version: Name,
    /// The time at which the release is issued: the present time.
    pub issued: Timestamp,
    /// The time from `issued` to the expiry of the release, in whole seconds.
    pub valid_for: Duration,
}

/// The artifact of a new release for one platform, with its content.
#[derive(Clone, Debug)]
pub struct ArtifactDraft {
    /// The name of the platform, such as `x86_64-linux`.
    pub platform: Name,
    /// The file name of the artifact.
    pub file: Name,
    /// The whole content of the artifact.
    pub bytes: Vec<u8>,
    /// Whether the artifact is installed as a file, or unpacked as an archive.
    pub kind: ArtifactKind,
}

/// Makes a draft from platform, file name and content. The artifact is installed as a file.
impl From<(Name, Name, Vec<u8>)> for ArtifactDraft {
    fn from((platform, file, bytes): (Name, Name, Vec<u8>)) -> ArtifactDraft {
        ArtifactDraft { platform, file, bytes, kind: ArtifactKind::File }
    }
}

impl ArtifactDraft {
    /// Makes a draft of an archive or of a file, depending on the file name
    /// ([`ArchiveFormat::from_file_name`]).
    ///
    /// An archive is checked by the rules by which a node unpacks it. Fails with
    /// [`PublishError::Archive`] if a node would refuse the archive.
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

/// Builds the manifest of a release with one artifact for each platform.
///
/// Fails with [`PublishError::InvalidStatement`] if the manifest breaks a rule of its format.
pub fn build_manifest(
    release: ReleaseDraft,
    artifacts: impl IntoIterator<Item = impl Into<ArtifactDraft>>,
) -> Result<Manifest, PublishError> {
    let describe = |artifact| {
        let ArtifactDraft { platform, file, bytes, kind } = artifact;
        Artifact { platform, file, length: bytes.len() as u64, sha256: Hash::digest(&bytes), kind }
    };
    let ReleaseDraft { log, product, channel, sequence, version, issued, valid_for } = release;
    let mut artifacts: Vec<Artifact> =
        artifacts.into_iter().map(Into::into).map(describe).collect();
    artifacts.sort_by(|a, b| a.platform.cmp(&b.platform));
    let expires = issued.after(valid_for);
    let manifest =
        Manifest { log, product, channel, sequence, version, issued, expires, artifacts };
    // The parser checks all rules of the format.
    Manifest::parse(&manifest.to_string()).map_err(PublishError::InvalidStatement)
}

/// Checks a withdrawal by the rules of its format, and returns it.
///
/// Fails with [`PublishError::InvalidStatement`] if the withdrawal breaks a rule.
pub fn check_withdrawal(withdrawal: Withdrawal) -> Result<Withdrawal, PublishError> {
    // The parser checks all rules of the format.
    Withdrawal::parse(&withdrawal.to_string()).map_err(PublishError::InvalidStatement)
}
