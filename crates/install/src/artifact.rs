//! An artifact whose bytes were measured, and what is ready to be installed.

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

/// An artifact on this machine whose length and digest are those that were signed. Only
/// [`PartialDownload::finish`](crate::Staging::finish) makes one; the file is in a directory that nobody else writes to.
pub struct VerifiedArtifact {
    pub(crate) artifact: Artifact,
    pub(crate) release: String,
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    /// The very file that was verified, to be read from its first byte.
    pub(crate) file: Box<dyn ReadableFile>,
}

/// What is installed by giving it its name: a directory with the artifact, or, of an archive, the
/// tree that was in it. All of it is durable. Only [`VerifiedArtifact::unpack`] makes one.
#[derive(Debug)]
pub struct PreparedVersion {
    pub(crate) artifact: Artifact,
    pub(crate) release: String,
    /// Where it was staged.
    pub(crate) download_dir: PathBuf,
    /// An archive's tree, in there.
    pub(crate) tree: Option<PathBuf>,
}

/// The artifact of a release for a platform, if this version can install it.
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
        Some(target) => Ok(target),
    }
}

/// Reads a stream to its end as an artifact: exactly the signed length and digest, or a refusal.
/// At most one byte more than the signed length is read.
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

/// Refuses more bytes after those that are here than were signed.
pub(crate) fn check_fits(
    artifact: &Artifact,
    here: u64,
    more: u64,
) -> Result<(), ArtifactMismatch> {
    if here.saturating_add(more) > artifact.length {
        let (file, signed) = (artifact.file.clone(), artifact.length);
        return Err(ArtifactMismatch::TooLong { file, signed });
    }
    Ok(())
}

/// Bytes that were seen in order from an artifact's first: how many, and their digest.
#[derive(Default)]
pub(crate) struct ArtifactHasher {
    pub(crate) length: u64,
    hasher: Sha256,
}

impl ArtifactHasher {
    /// The next bytes; refused if there are more than were signed.
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

    /// Whether they are the whole artifact, exactly.
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

/// A file that is read once more: what comes out of it is measured on its way.
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
    /// Unpacks an archive, as strictly as [`unanimity_archive`] is, and makes its tree durable. A file is
    /// ready as it is. What is refused is refused again the next time, without being fetched.
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
            // Nobody else writes there; if somebody did, it is not installed.
            source.measured.check(&artifact)?;
            Ok(tree.sync()?)
        };
        match unpack() {
            Ok(()) => Ok(PreparedVersion { artifact, release, download_dir, tree: Some(path) }),
            Err(error) => {
                // A full disk is not made fuller by what did not become a tree.
                disk.remove(&path).ok();
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for VerifiedArtifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({}, {})", self.release, self.artifact.file)
    }
}

impl PreparedVersion {
    /// Whether this is the artifact of that release.
    pub fn belongs_to(&self, manifest: &Manifest) -> bool {
        manifest.label() == self.release && manifest.artifacts.contains(&self.artifact)
    }
}
