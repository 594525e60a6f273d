//! Verified artifacts, and versions that are ready to be installed.

use std::io::Read;
use std::io::{self};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use unanimity_archive::{ArchiveError, MAX_ENTRIES, Totals};
use unanimity_protocol::manifest::{Artifact, ArtifactKind};
use unanimity_protocol::{Hash, Manifest, Name, Refusal};
use unanimity_storage::{ReadableFile, Storage, StorageError};

use crate::error::InstallError;
use crate::refusal::{ArtifactMismatch, InstallRefusal};
use crate::tree_sink::StorageTreeSink;

/// An artifact on this machine with the signed length and digest.
///
/// [`PartialDownload::finish`](crate::PartialDownload::finish) and
/// [`InstallRoot::find_download`](crate::InstallRoot::find_download) make one. No other user may
/// write to the directory of the file.
pub struct VerifiedArtifact {
    pub(crate) artifact: Artifact,
    pub(crate) release: String,
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    /// The open file that was verified, positioned at its first byte.
    pub(crate) file: Box<dyn ReadableFile>,
}

/// A durable directory that becomes a version when it gets its name: it holds the artifact, or the
/// tree from an archive. Only [`VerifiedArtifact::unpack`] makes it.
#[derive(Debug)]
pub struct PreparedVersion {
    pub(crate) artifact: Artifact,
    pub(crate) release: String,
    /// Directory of the download.
    pub(crate) download_dir: PathBuf,
    /// Path of an archive's tree, in the directory of the download. `None` for a single file.
    pub(crate) tree: Option<PathBuf>,
}

/// The artifact of a release for a platform.
///
/// # Errors
///
/// [`Refusal::NoArtifactForPlatform`] if there is none, and [`InstallRefusal::TooManyEntries`] for
/// an archive of more than [`MAX_ENTRIES`] entries.
pub fn artifact_for<'a>(
    manifest: &'a Manifest,
    platform: &Name,
) -> Result<&'a Artifact, InstallError> {
    let release = manifest.label();
    match manifest.artifact_for(platform) {
        None => Err(Refusal::NoArtifactForPlatform { release, platform: platform.clone() }.into()),
        Some(Artifact { kind: ArtifactKind::Archive { entries, .. }, .. })
            if *entries > MAX_ENTRIES =>
        {
            Err(InstallRefusal::TooManyEntries { release }.into())
        }
        Some(artifact) => Ok(artifact),
    }
}

/// Reads a stream and verifies that it has exactly the signed length and digest. Reads at most one
/// byte more than the signed length.
///
/// # Errors
///
/// [`ArtifactMismatch`] for other bytes, and [`InstallError::Source`] if the stream cannot be read.
pub fn verify_artifact(artifact: &Artifact, source: impl Read) -> Result<(), InstallError> {
    let mut source = source.take(artifact.length.saturating_add(1));
    let mut measured = ArtifactHasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(InstallError::Source(error)),
        };
        measured.add_checked(artifact, &buffer[..count])?;
    }
    Ok(measured.check(artifact)?)
}

/// Refuses bytes that would exceed the signed length.
pub(crate) fn check_fits(
    artifact: &Artifact,
    present: u64,
    more: u64,
) -> Result<(), ArtifactMismatch> {
    if present.saturating_add(more) > artifact.length {
        let (file, signed) = (artifact.file.clone(), artifact.length);
        return Err(ArtifactMismatch::TooLong { file, signed });
    }
    Ok(())
}

/// Length and running digest of the bytes of an artifact, from its first byte on.
#[derive(Default)]
pub(crate) struct ArtifactHasher {
    pub(crate) length: u64,
    hasher: Sha256,
}

impl ArtifactHasher {
    /// Adds the next bytes. Refuses them if they exceed the signed length.
    pub(crate) fn add_checked(
        &mut self,
        artifact: &Artifact,
        bytes: &[u8],
    ) -> Result<(), ArtifactMismatch> {
        check_fits(artifact, self.length, bytes.len() as u64)?;
        self.add(bytes);
        Ok(())
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// Checks that the bytes so far are the whole artifact.
    pub(crate) fn check(&self, artifact: &Artifact) -> Result<(), ArtifactMismatch> {
        let (length, found) = (self.length, Hash(self.hasher.clone().finalize().into()));
        if length < artifact.length {
            let (file, signed) = (artifact.file.clone(), artifact.length);
            return Err(ArtifactMismatch::TooShort { file, length, signed });
        }
        if found != artifact.sha256 {
            let (file, signed) = (artifact.file.clone(), artifact.sha256);
            return Err(ArtifactMismatch::Digest { file, found, signed });
        }
        Ok(())
    }
}

/// A reader that measures the bytes that pass through it.
struct HashingReader<R> {
    source: R,
    measured: ArtifactHasher,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.measured.add(&buffer[..count]);
        Ok(count)
    }
}

impl VerifiedArtifact {
    /// Unpacks an archive by the rules of [`unanimity_archive`], and makes its tree durable. A
    /// single file needs no unpacking.
    ///
    /// A refused archive stays on the disk, so the next run refuses it without downloading it
    /// again.
    pub fn unpack(self) -> Result<PreparedVersion, InstallError> {
        let VerifiedArtifact { artifact, release, directory: download_dir, disk, file } = self;
        let ArtifactKind::Archive { format, unpacked, entries } = artifact.kind else {
            return Ok(PreparedVersion { artifact, release, download_dir, tree: None });
        };
        let path = download_dir.join(".tree");
        let unpack = || -> Result<(), InstallError> {
            let mut tree = disk.create_tree(&path)?;
            let mut source = HashingReader { source: file, measured: ArtifactHasher::default() };
            let signed = Totals { unpacked, entries };
            unanimity_archive::unpack(format, signed, &mut source, &mut StorageTreeSink(&mut tree))
                .map_err(|error| -> InstallError {
                    match error {
                        ArchiveError::Refused(broken) => {
                            let file = artifact.file.clone();
                            ArtifactMismatch::Archive { file, broken }.into()
                        }
                        ArchiveError::Source(error) => {
                            StorageError::at(&download_dir.join(artifact.file.as_str()))(error)
                                .into()
                        }
                        ArchiveError::Sink(error) => error.into(),
                    }
                })?;
            // No other process should change the archive meanwhile. If one did, the archive is not
            // installed.
            source.measured.check(&artifact)?;
            Ok(tree.sync()?)
        };
        match unpack() {
            Ok(()) => Ok(PreparedVersion { artifact, release, download_dir, tree: Some(path) }),
            Err(error) => {
                // A partial tree would waste space, perhaps on a full disk.
                disk.remove(&path).ok();
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for VerifiedArtifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifiedArtifact({}, {})", self.release, self.artifact.file)
    }
}

impl PreparedVersion {
    /// Whether this version was made from an artifact of the release with this manifest.
    pub fn belongs_to(&self, manifest: &Manifest) -> bool {
        manifest.label() == self.release && manifest.artifacts.contains(&self.artifact)
    }
}
