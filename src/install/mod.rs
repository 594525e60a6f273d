//! `Agreed -> Installed`: whole, durable, and only what every peer confirmed.
//!
//! ```text
//! ROOT/versions/2-1.1.0/hello     the artifact
//! ROOT/proofs/2-1.1.0             its proof bundle
//! ROOT/current -> versions/2-1.1.0
//! ```
//!
//! The artifact is written into a directory of its own, synced, and named; then `current` is
//! swapped in one step. A kill at any point leaves `current` at the old version or the new, whole.

mod staging;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
pub use staging::Staging;

use crate::durable::{Disk, DiskError, Mode};
use crate::verify::manifest::{Kind, Target};
use crate::verify::{Agreed, Hash, Manifest, Name, Refusal, Timestamp};

/// Where versions of a product live.
#[derive(Clone, Debug)]
pub struct Root {
    directory: PathBuf,
    disk: Disk,
}

/// An artifact on this machine whose length and digest are those that were signed. Only
/// [`Staging::finish`] makes one; the file is in a directory that nobody else writes to.
#[derive(Debug)]
pub struct Staged {
    target: Target,
    release: String,
    directory: PathBuf,
}

/// What `current` points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The release's sequence.
    pub sequence: u64,
    /// `SEQUENCE-VERSION`.
    pub release: String,
    /// Its directory.
    pub directory: PathBuf,
}

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A check failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The mirror's bytes stopped coming.
    #[error("reading the artifact: {0}")]
    Source(io::Error),
}

/// The artifact of a release for a platform, if this version can install it.
pub fn target_of<'a>(manifest: &'a Manifest, platform: &Name) -> Result<&'a Target, Refusal> {
    let release = manifest.label();
    match manifest.target(platform) {
        None => Err(Refusal::NoTarget { release, platform: platform.clone() }),
        Some(target) if target.kind != Kind::File => Err(Refusal::UnsupportedKind { release }),
        Some(target) => Ok(target),
    }
}

/// Reads a stream to its end as an artifact: exactly the signed length and digest, or a refusal.
/// At most one byte more than the signed length is read.
pub fn verify_artifact(target: &Target, source: impl Read) -> Result<(), InstallError> {
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

/// Bytes that were seen in order from an artifact's first: how many, and their digest.
#[derive(Clone, Default)]
struct Measured {
    length: u64,
    hasher: Sha256,
}

impl Measured {
    /// The next bytes; refused if there are more than were signed.
    fn take(&mut self, target: &Target, bytes: &[u8]) -> Result<(), Refusal> {
        let length = self.length.saturating_add(bytes.len() as u64);
        if length > target.length {
            let signed = target.length;
            let why = format!("{}: longer than the {signed} bytes that were signed", target.file);
            return Err(Refusal::Artifact(why));
        }
        self.hasher.update(bytes);
        self.length = length;
        Ok(())
    }

    /// Whether they are the whole artifact, exactly.
    fn check(&self, target: &Target) -> Result<(), Refusal> {
        let (length, digest) = (self.length, Hash(self.hasher.clone().finalize().into()));
        if length < target.length {
            let why = format!("{}: {length} bytes, and {} were signed", target.file, target.length);
            return Err(Refusal::Artifact(why));
        }
        if digest != target.sha256 {
            let why =
                format!("{}: SHA-256 {digest}, and {} was signed", target.file, target.sha256);
            return Err(Refusal::Artifact(why));
        }
        Ok(())
    }
}

impl Staged {
    /// Whether this is the artifact of that release.
    pub fn is_of(&self, manifest: &Manifest) -> bool {
        manifest.label() == self.release && manifest.targets.contains(&self.target)
    }
}

impl Root {
    /// The root in a directory, which is made when something is installed.
    pub fn new(directory: &Path, disk: Disk) -> Root {
        Root { directory: directory.to_owned(), disk }
    }

    /// What is installed: where `current` points.
    pub fn installed(&self) -> Result<Option<Installed>, DiskError> {
        let link = self.directory.join("current");
        let target = match self.disk.read_link(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            target => target.map_err(DiskError::at(&link))?,
        };
        let damaged = || DiskError::Damaged {
            path: link.clone(),
            mend: "it must point at versions/SEQUENCE-VERSION; point it there again by hand",
        };
        let release = target.to_str().and_then(|target| target.strip_prefix("versions/"));
        let (release, sequence) = release
            .and_then(|release| Some((release.to_owned(), Manifest::sequence_of(release)?)))
            .ok_or_else(damaged)?;
        let directory = self.directory.join(target);
        Ok(Some(Installed { sequence, release, directory }))
    }

    /// What [`Root::stage`] has led to for an agreed release, if it is there and still what was signed.
    pub fn staged(&self, agreed: &Agreed, platform: &Name) -> Result<Option<Staged>, Refusal> {
        let manifest = agreed.manifest();
        let target = target_of(manifest, platform)?;
        let directory = self.staging_place(manifest);
        // It got this name once its bytes were on the disk.
        let Ok(file) = self.disk.open(&directory.join(target.file.as_str())) else {
            return Ok(None);
        };
        let verified = verify_artifact(target, file);
        let (target, release) = (target.clone(), manifest.label());
        Ok(verified.is_ok().then_some(Staged { target, release, directory }))
    }

    /// Removes what was staged for any release but this: what is staged last is what will be installed.
    fn forget_others(&self, ours: &Path) -> Result<(), DiskError> {
        let versions = self.directory.join("versions");
        let names = match self.disk.names(&versions) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(DiskError::at(&versions))?,
        };
        for name in names {
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".new") {
                let path = versions.join(&*name);
                if path == ours {
                    continue;
                }
                self.disk.remove(&path).map_err(DiskError::at(&path))?;
            }
        }
        Ok(())
    }

    fn staging_place(&self, manifest: &Manifest) -> PathBuf {
        self.directory.join("versions").join(format!(".{}.new", manifest.label()))
    }

    /// Where an agreed release's artifact is written as it comes, beside the versions. What an
    /// earlier run was sent of it is there already.
    pub fn stage(&self, agreed: &Agreed, platform: &Name) -> Result<Staging, InstallError> {
        let manifest = agreed.manifest();
        let target = target_of(manifest, platform)?.clone();
        let directory = self.staging_place(manifest);
        self.forget_others(&directory)?;
        self.disk.make_dir(&directory, Mode::Public).map_err(DiskError::at(&directory))?;
        Ok(Staging::open(target, manifest.label(), directory, self.disk.clone())?)
    }

    /// Switches to a staged artifact: keeps the proof, names the version, swaps `current`.
    pub fn switch(
        &self,
        agreed: &Agreed,
        staged: Staged,
        proof: &str,
        now: Timestamp,
    ) -> Result<Installed, InstallError> {
        agreed.still_good(now)?;
        let manifest = agreed.manifest();
        if !staged.is_of(manifest) {
            let why = format!("what was staged is release {}", staged.release);
            return Err(Refusal::Artifact(why).into());
        }
        let Staged { release, directory: staging, .. } = staged;
        let proofs = self.directory.join("proofs");
        let versions = self.directory.join("versions");
        let directory = versions.join(&release);
        let at = |path: &Path| DiskError::at(path);
        self.disk.make_dir(&proofs, Mode::Public).map_err(at(&proofs))?;
        let proof_path = proofs.join(&release);
        (self.disk.write(&proof_path, proof.as_bytes(), Mode::Public)).map_err(at(&proof_path))?;
        // A version of this name was left by a switch that did not get as far as `current`.
        self.disk.remove(&directory).map_err(at(&directory))?;
        (self.disk.rename(&staging, &directory))
            .and_then(|()| self.disk.sync_dir(&versions))
            .map_err(at(&directory))?;
        let current = self.directory.join("current");
        let link = Path::new("versions").join(&release);
        self.disk.point(&current, &link).map_err(at(&current))?;
        Ok(Installed { sequence: manifest.sequence, release, directory })
    }
}
