//! An artifact whose bytes were measured, and what is ready to be installed.

use std::io::Read;
use std::io::{self};
use std::path::PathBuf;

use sha2::{Digest, Sha256};
use unanimity_archive::{MAX_ENTRIES, Totals, UnpackError};
use unanimity_protocol::manifest::{Artifact, ArtifactKind};
use unanimity_protocol::{Hash, Manifest, Name, Refusal};
use unanimity_storage::{ReadableFile, Storage, StorageError};

use crate::error::InstallError;
use crate::refusal::{ArtifactMismatch, InstallRefusal};
use crate::tree_sink::Fill;

/// An artifact on this machine whose length and digest are those that were signed. Only
/// [`Staging::finish`](crate::Staging::finish) makes one; the file is in a directory that nobody else writes to.
pub struct Staged {
    pub(crate) target: Artifact,
    pub(crate) release: String,
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    /// The very file that was verified, to be read from its first byte.
    pub(crate) file: Box<dyn ReadableFile>,
}

/// What is installed by giving it its name: a directory with the artifact, or, of an archive, the
/// tree that was in it. All of it is durable. Only [`Staged::unpack`] makes one.
#[derive(Debug)]
pub struct Ready {
    pub(crate) target: Artifact,
    pub(crate) release: String,
    /// Where it was staged.
    pub(crate) staging: PathBuf,
    /// An archive's tree, in there.
    pub(crate) tree: Option<PathBuf>,
}

/// The artifact of a release for a platform, if this version can install it.
pub fn target_of<'a>(
    manifest: &'a Manifest,
    platform: &Name,
) -> Result<&'a Artifact, InstallError> {
    let release = manifest.label();
    match manifest.target(platform) {
        None => Err(Refusal::NoArtifactForPlatform { release, platform: platform.clone() }.into()),
        Some(Artifact { kind: ArtifactKind::Archive { entries, .. }, .. })
            if *entries > MAX_ENTRIES =>
        {
            Err(InstallRefusal::UnsupportedKind { release }.into())
        }
        Some(target) => Ok(target),
    }
}

/// Reads a stream to its end as an artifact: exactly the signed length and digest, or a refusal.
/// At most one byte more than the signed length is read.
pub fn verify_artifact(target: &Artifact, source: impl Read) -> Result<(), InstallError> {
    let mut source = source.take(target.length.saturating_add(1));
    let mut measured = Measured::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(InstallError::Source(error)),
        };
        measured.take(target, &buffer[..count])?;
    }
    Ok(measured.check(target)?)
}

/// Refuses more bytes after those that are here than were signed.
pub(crate) fn fit(target: &Artifact, here: u64, more: u64) -> Result<(), ArtifactMismatch> {
    if here.saturating_add(more) > target.length {
        let (file, signed) = (target.file.clone(), target.length);
        return Err(ArtifactMismatch::TooLong { file, signed });
    }
    Ok(())
}

/// Bytes that were seen in order from an artifact's first: how many, and their digest.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) length: u64,
    hasher: Sha256,
}

impl Measured {
    /// The next bytes; refused if there are more than were signed.
    pub(crate) fn take(&mut self, target: &Artifact, bytes: &[u8]) -> Result<(), ArtifactMismatch> {
        fit(target, self.length, bytes.len() as u64)?;
        self.add(bytes);
        Ok(())
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hasher.update(bytes);
    }

    /// Whether they are the whole artifact, exactly.
    pub(crate) fn check(&self, target: &Artifact) -> Result<(), ArtifactMismatch> {
        let (length, found) = (self.length, Hash(self.hasher.clone().finalize().into()));
        if length < target.length {
            let (file, signed) = (target.file.clone(), target.length);
            return Err(ArtifactMismatch::TooShort { file, length, signed });
        }
        if found != target.sha256 {
            let (file, signed) = (target.file.clone(), target.sha256);
            return Err(ArtifactMismatch::Digest { file, found, signed });
        }
        Ok(())
    }
}

/// A file that is read once more: what comes out of it is measured on its way.
struct Measuring<R> {
    source: R,
    measured: Measured,
}

impl<R: Read> Read for Measuring<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.measured.add(&buffer[..count]);
        Ok(count)
    }
}

impl Staged {
    /// Unpacks an archive, as strictly as [`unanimity_archive`] is, and makes its tree durable. A file is
    /// ready as it is. What is refused is refused again the next time, without being fetched.
    pub fn unpack(self) -> Result<Ready, InstallError> {
        let Staged { target, release, directory: staging, disk, file } = self;
        let ArtifactKind::Archive { format, unpacked, entries } = target.kind else {
            return Ok(Ready { target, release, staging, tree: None });
        };
        let path = staging.join(".tree");
        let unpack = || -> Result<(), InstallError> {
            let mut tree = disk.new_tree(&path)?;
            let mut source = Measuring { source: file, measured: Measured::default() };
            let signed = Totals { unpacked, entries };
            unanimity_archive::unpack(format, signed, &mut source, &mut Fill(&mut tree)).map_err(
                |error| -> InstallError {
                    match error {
                        UnpackError::Refused(broken) => {
                            let file = target.file.clone();
                            ArtifactMismatch::Archive { file, broken }.into()
                        }
                        UnpackError::Source(error) => {
                            StorageError::at(&staging.join(target.file.as_str()))(error).into()
                        }
                        UnpackError::Sink(error) => error.into(),
                    }
                },
            )?;
            // Nobody else writes there; if somebody did, it is not installed.
            source.measured.check(&target)?;
            Ok(tree.sync()?)
        };
        match unpack() {
            Ok(()) => Ok(Ready { target, release, staging, tree: Some(path) }),
            Err(error) => {
                // A full disk is not made fuller by what did not become a tree.
                disk.remove(&path).ok();
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Staged({}, {})", self.release, self.target.file)
    }
}

impl Ready {
    /// Whether this is the artifact of that release.
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        manifest.label() == self.release && manifest.targets.contains(&self.target)
    }
}
