//! `Agreed -> Installed`: whole, durable, and only what every peer confirmed.
//!
//! ```text
//! ROOT/versions/2-1.1.0/hello     the artifact; or, of an archive, its tree
//! ROOT/proofs/2-1.1.0             its proof bundle
//! ROOT/current -> versions/2-1.1.0
//! ROOT/journal.json               which proved good, which is on trial, which failed
//! ```
//!
//! The artifact is written into a directory of its own, synced, and named; then `current` is
//! swapped in one step. A kill at any point leaves `current` at the old version or the new, whole.
//! What the operator wants done around a switch, and how one that does not work is undone, is
//! described at [`Procedure`] and [`Switch`].
//!
//! An archive goes through the same, and before the swap through these steps:
//!
//! 1. `versions/.2-1.1.0.new/.tree` is made anew, and everything in the archive is made in it, read
//!    from the open file whose length and digest were verified ([`unpack`]);
//! 2. what was read then is once more held against the signed length and digest;
//! 3. the tree is synced, all of it at once;
//! 4. the tree is renamed to `versions/2-1.1.0`, `versions/.2-1.1.0.new` with the archive is removed,
//!    and `versions` is synced.

mod artifacts;
mod by_hand;
pub mod journal;
mod procedure;
mod root;
pub mod spool;
mod staging;
mod trial;
mod undo;
pub mod unpack;

use std::io::{self, Read};
use std::path::PathBuf;

pub use artifacts::Artifacts;
pub use by_hand::{ByHandError, RolledBack};
pub use procedure::Procedure;
pub use root::{Installed, Root};
use sha2::{Digest, Sha256};
pub use staging::Staging;
pub use trial::{Proven, Switch};
use unpack::{MAX_ENTRIES, Totals, UnpackError};

use unanimity_protocol::manifest::{Kind, Target};
use unanimity_protocol::{Hash, Manifest, Name, Refusal};
use unanimity_storage::Source;
use unanimity_storage::{Disk, DiskError};

/// An artifact on this machine whose length and digest are those that were signed. Only
/// [`Staging::finish`] makes one; the file is in a directory that nobody else writes to.
pub struct Staged {
    target: Target,
    release: String,
    directory: PathBuf,
    disk: Disk,
    /// The very file that was verified, to be read from its first byte.
    file: Box<dyn Source>,
}

/// What is installed by giving it its name: a directory with the artifact, or, of an archive, the
/// tree that was in it. All of it is durable. Only [`Staged::unpack`] makes one.
#[derive(Debug)]
pub struct Ready {
    target: Target,
    release: String,
    /// Where it was staged.
    staging: PathBuf,
    /// An archive's tree, in there.
    tree: Option<PathBuf>,
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
    /// Another download, or another process's, is at work.
    #[error("another unanimity is downloading to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The mirror's bytes stopped coming.
    #[error("reading the artifact: {0}")]
    Source(io::Error),
    /// A command of the configuration cannot be run.
    #[error("[install] {program} cannot be run ({why}): nothing is installed without it")]
    Command {
        /// Which.
        program: String,
        /// Why not.
        why: io::Error,
    },
    /// Another process is switching, or waits for a trial to end.
    #[error("another unanimity is installing to {}: wait for it to end", .0.display())]
    Switching(PathBuf),
}

/// The artifact of a release for a platform, if this version can install it.
pub fn target_of<'a>(manifest: &'a Manifest, platform: &Name) -> Result<&'a Target, Refusal> {
    let release = manifest.label();
    match manifest.target(platform) {
        None => Err(Refusal::NoTarget { release, platform: platform.clone() }),
        Some(Target { kind: Kind::Archive { entries, .. }, .. }) if *entries > MAX_ENTRIES => {
            Err(Refusal::UnsupportedKind { release })
        }
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

/// Refuses more bytes after those that are here than were signed.
fn fit(target: &Target, here: u64, more: u64) -> Result<(), Refusal> {
    if here.saturating_add(more) > target.length {
        let signed = target.length;
        let why = format!("{}: longer than the {signed} bytes that were signed", target.file);
        return Err(Refusal::Artifact(why));
    }
    Ok(())
}

/// Bytes that were seen in order from an artifact's first: how many, and their digest.
#[derive(Default)]
struct Measured {
    length: u64,
    hasher: Sha256,
}

impl Measured {
    /// The next bytes; refused if there are more than were signed.
    fn take(&mut self, target: &Target, bytes: &[u8]) -> Result<(), Refusal> {
        fit(target, self.length, bytes.len() as u64)?;
        self.add(bytes);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.hasher.update(bytes);
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
    /// Unpacks an archive, as strictly as [`unpack`] is, and makes its tree durable. A file is
    /// ready as it is. What is refused is refused again the next time, without being fetched.
    pub fn unpack(self) -> Result<Ready, InstallError> {
        let Staged { target, release, directory: staging, disk, file } = self;
        let Kind::Archive { format, unpacked, entries } = target.kind else {
            return Ok(Ready { target, release, staging, tree: None });
        };
        let path = staging.join(".tree");
        let unpack = || -> Result<(), InstallError> {
            let mut tree = disk.new_tree(&path)?;
            let mut source = Measuring { source: file, measured: Measured::default() };
            let signed = Totals { unpacked, entries };
            unpack::unpack(format, signed, &mut source, &mut tree).map_err(
                |error| match error {
                    UnpackError::Refused(broken) => refused(&target, &broken),
                    UnpackError::Source(error) => {
                        DiskError::at(&staging.join(target.file.as_str()))(error).into()
                    }
                    UnpackError::Disk(error) => error.into(),
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

fn refused(target: &Target, broken: &unpack::Broken) -> InstallError {
    Refusal::Artifact(format!("{}: {broken}", target.file)).into()
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
