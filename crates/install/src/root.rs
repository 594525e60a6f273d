//! The install root: the directory with the installed versions, their proofs, the journal and the
//! link `current`.

use std::collections::BTreeSet;
use std::io::Seek as _;
use std::io::{self};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unanimity_config::HookSettings;
use unanimity_protocol::manifest::{Artifact, ArtifactKind};
use unanimity_protocol::proof_bundle::MAX_BUNDLE_BYTES;
use unanimity_protocol::{ConfirmedRelease, Manifest, Name, ProofBundle};
use unanimity_storage::{Lock, Mode, Storage, StorageError};

use crate::journal::Journal;
use crate::runner::{BlockingHookRunner, HookRunner};
use crate::{
    InstallError, PartialDownload, PreparedVersion, VerifiedArtifact, artifact_for, verify_artifact,
};

/// The directory in which the versions of one product are installed, with the hooks of its
/// switches.
#[derive(Clone, Debug)]
pub struct InstallRoot {
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    pub(crate) hooks: HookSettings,
    /// Sequences of the releases that their publisher has withdrawn.
    pub(crate) withdrawn: BTreeSet<u64>,
    /// Runs the hooks.
    pub(crate) hook_runner: Arc<dyn HookRunner>,
}

/// The installed version: the one that `current` points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Sequence of the release.
    pub sequence: u64,
    /// Label of the release: `SEQUENCE-VERSION`.
    pub release: String,
    /// Directory of the version.
    pub directory: PathBuf,
}

/// The maximum size of the journal in bytes. A larger file is an error.
const MAX_JOURNAL_BYTES: usize = 1024 * 1024;

impl InstallRoot {
    /// Makes the install root for `directory`, which the first installation creates. The root has
    /// no hooks yet, and would run hooks with a [`BlockingHookRunner`].
    pub fn new(directory: &Path, disk: Storage) -> InstallRoot {
        let (directory, hooks) = (directory.to_owned(), HookSettings::default());
        let hook_runner = Arc::new(BlockingHookRunner::default());
        InstallRoot { directory, disk, hooks, withdrawn: BTreeSet::new(), hook_runner }
    }

    /// Sets the hooks that run around each installation.
    pub fn with_hooks(self, hooks: HookSettings) -> InstallRoot {
        InstallRoot { hooks, ..self }
    }

    /// Sets the runner of the hooks.
    pub fn with_hook_runner(self, hook_runner: Arc<dyn HookRunner>) -> InstallRoot {
        InstallRoot { hook_runner, ..self }
    }

    /// Sets the sequences of the releases that the publisher has withdrawn. A roll-back or an
    /// undone trial never returns to one of these releases.
    pub fn with_withdrawn(self, withdrawn: BTreeSet<u64>) -> InstallRoot {
        InstallRoot { withdrawn, ..self }
    }

    pub(crate) fn is_withdrawn(&self, release: &str) -> bool {
        Manifest::sequence_from_label(release)
            .is_some_and(|sequence| self.withdrawn.contains(&sequence))
    }

    /// Reads which version is installed. `None` if there is no `current`.
    ///
    /// A `current` that does not point at `versions/SEQUENCE-VERSION` is [`StorageError::Corrupt`].
    pub fn installed(&self) -> Result<Option<Installed>, StorageError> {
        let link = self.directory.join("current");
        let target = match self.disk.read_link(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            target => target.map_err(StorageError::at(&link))?,
        };
        let corrupt = || StorageError::Corrupt {
            path: link.clone(),
            remedy: "it must be a link to versions/SEQUENCE-VERSION. Restore the link by hand",
        };
        let release = target.to_str().and_then(|target| target.strip_prefix("versions/"));
        let (release, sequence) = release
            .and_then(|release| Some((release.to_owned(), Manifest::sequence_from_label(release)?)))
            .ok_or_else(corrupt)?;
        let directory = self.directory.join(target);
        Ok(Some(Installed { sequence, release, directory }))
    }

    /// Finds the complete artifact that an earlier [`InstallRoot::open_download`] left for this
    /// release.
    ///
    /// `None` if there is no such file, if it cannot be read, or if its length or digest differs
    /// from the manifest.
    pub fn find_download(
        &self,
        confirmed: &ConfirmedRelease,
        platform: &Name,
    ) -> Result<Option<VerifiedArtifact>, InstallError> {
        let manifest = confirmed.manifest();
        let artifact = artifact_for(manifest, platform)?;
        let directory = self.manifest_download_dir(manifest);
        // A file has this name only after its bytes were synced.
        let Ok(mut file) = self.disk.open(&directory.join(artifact.file.as_str())) else {
            return Ok(None);
        };
        // The run that named the file may have been killed before it synced the directory.
        if self.disk.sync_dir(&directory).is_err() {
            return Ok(None);
        }
        if verify_artifact(artifact, &mut file).is_err() || file.rewind().is_err() {
            return Ok(None);
        }
        let (artifact, release, disk) = (artifact.clone(), manifest.label(), self.disk.clone());
        Ok(Some(VerifiedArtifact { artifact, release, directory, disk, file }))
    }

    /// Removes all downloads except the directory `wanted`: only the latest download will be
    /// installed.
    fn remove_other_downloads(&self, wanted: &Path) -> Result<(), StorageError> {
        let versions = self.directory.join("versions");
        let names = match self.disk.list_dir(&versions) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(StorageError::at(&versions))?,
        };
        for name in names {
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".new") {
                let path = versions.join(&*name);
                if path == wanted {
                    continue;
                }
                self.disk.remove(&path).map_err(StorageError::at(&path))?;
            }
        }
        Ok(())
    }

    /// Path of a downloaded artifact, relative to an install root or a spool.
    pub fn download_path(manifest: &Manifest, artifact: &Artifact) -> String {
        format!("versions/.{}.new/{}", manifest.label(), artifact.file)
    }

    fn manifest_download_dir(&self, manifest: &Manifest) -> PathBuf {
        self.download_dir(&manifest.label())
    }

    /// Opens the download of a confirmed release's artifact, and takes the lock for downloads.
    ///
    /// The bytes that an earlier run received are kept. Downloads of other releases are removed. If
    /// another process downloads to this root, the error is [`InstallError::Busy`].
    pub fn open_download(
        &self,
        confirmed: &ConfirmedRelease,
        platform: &Name,
    ) -> Result<PartialDownload, InstallError> {
        let manifest = confirmed.manifest();
        let artifact = artifact_for(manifest, platform)?.clone();
        let directory = self.manifest_download_dir(manifest);
        self.disk.make_dir(&directory, Mode::Public).map_err(StorageError::at(&directory))?;
        let lock = self.disk.lock(&self.directory).map_err(StorageError::at(&self.directory))?;
        let lock = lock.ok_or_else(|| InstallError::Busy(self.directory.clone()))?;
        self.remove_other_downloads(&directory)?;
        Ok(PartialDownload::open(artifact, manifest.label(), directory, self.disk.clone(), lock)?)
    }

    /// Reads the journal. Without a journal file, the installed version and the older ones count as
    /// good.
    ///
    /// A file that [`Journal::parse`] rejects is [`StorageError::Corrupt`].
    pub fn journal(&self) -> Result<Journal, StorageError> {
        let path = self.journal_path();
        match self.disk.read(&path, MAX_JOURNAL_BYTES)? {
            Some(bytes) => Journal::parse(&bytes).ok_or(StorageError::Corrupt {
                path,
                remedy: "remove it. The installed version and the older ones in versions/ then count as good",
            }),
            None => {
                let mut good = self.versions()?;
                let current = self.installed()?.map(|installed| installed.sequence);
                good.retain(|release| Manifest::sequence_from_label(release) <= current);
                good.sort_by_key(|release| Manifest::sequence_from_label(release));
                Ok(Journal { good, ..Journal::default() })
            }
        }
    }

    pub(crate) fn save_journal(&self, journal: &Journal) -> Result<(), StorageError> {
        let path = self.journal_path();
        let written = self.disk.write(&path, journal.text().as_bytes(), Mode::Public);
        written.map_err(StorageError::at(&path))
    }

    fn journal_path(&self) -> PathBuf {
        self.directory.join("journal.json")
    }

    /// The highest sequence that proved good in this root. A version on trial does not count.
    pub fn floor(&self) -> Result<u64, StorageError> {
        let journal = self.journal()?;
        let on_trial = journal.trial.as_ref().map(|trial| &trial.release);
        let current = self.installed()?.filter(|current| Some(&current.release) != on_trial);
        Ok(journal.floor().max(current.map_or(0, |current| current.sequence)))
    }

    /// The labels (`SEQUENCE-VERSION`) of all versions in the root, in no order.
    pub(crate) fn versions(&self) -> Result<Vec<String>, StorageError> {
        let versions = self.directory.join("versions");
        let names = match self.disk.list_dir(&versions) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(StorageError::at(&versions))?,
        };
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| Manifest::sequence_from_label(name).is_some()).collect())
    }

    /// Takes the lock for switches, which one process holds at a time.
    pub(crate) fn lock(&self) -> Result<Lock, InstallError> {
        let proofs = self.directory.join("proofs");
        let at = StorageError::at(&proofs);
        let lock =
            (self.disk.make_dir(&proofs, Mode::Public)).and_then(|()| self.disk.lock(&proofs));
        lock.map_err(at)?.ok_or_else(|| InstallError::Switching(self.directory.clone()))
    }

    /// Removes old versions and their proofs before a switch.
    ///
    /// Keeps the installed version and the most recently installed good ones. Together with the
    /// version to be installed, at most [`HookSettings::keep`] versions remain.
    pub(crate) fn remove_old_versions(&self, journal: &mut Journal) -> Result<(), StorageError> {
        let current = self.installed()?.map(|current| current.release);
        let earlier = journal.good.iter().rev().filter(|good| Some(*good) != current.as_ref());
        let spare = self.hooks.keep.saturating_sub(2);
        let kept: Vec<String> = earlier.take(spare).chain(&current).cloned().collect();
        let mut removed = self.versions()?;
        removed.retain(|release| !kept.contains(release));
        if removed.is_empty() {
            return Ok(());
        }
        // The journal is written first: a roll-back must not choose a version that is partly
        // removed.
        journal.good.retain(|good| kept.contains(good));
        self.save_journal(journal)?;
        for path in
            removed.iter().flat_map(|release| [self.version_dir(release), self.proof_path(release)])
        {
            self.disk.remove(&path).map_err(StorageError::at(&path))?;
        }
        Ok(())
    }

    /// The artifacts that a version's own proof bundle claims. Empty if the bundle is missing,
    /// invalid, or of another release.
    pub(crate) fn signed_artifacts(&self, release: &str) -> Result<Vec<Artifact>, StorageError> {
        let proof =
            self.disk.read(&self.proof_path(release), MAX_BUNDLE_BYTES)?.unwrap_or_default();
        let bundle = ProofBundle::parse(&String::from_utf8_lossy(&proof)).ok();
        let manifest = bundle.and_then(|bundle| bundle.claimed_manifest());
        let manifest = manifest.filter(|manifest| manifest.label() == release);
        Ok(manifest.map(|manifest| manifest.artifacts).unwrap_or_default())
    }

    /// Whether a version is present with its proof bundle.
    ///
    /// A single file must have the signed length and digest. The tree of an archive must not be
    /// empty.
    pub(crate) fn is_intact(&self, release: &str) -> Result<bool, StorageError> {
        let directory = self.version_dir(release);
        let is_intact = |artifact: &Artifact| match artifact.kind {
            ArtifactKind::File => {
                let file = self.disk.open(&directory.join(artifact.file.as_str()));
                file.is_ok_and(|file| verify_artifact(artifact, file).is_ok())
            }
            ArtifactKind::Archive { .. } => {
                self.disk.list_dir(&directory).is_ok_and(|names| !names.is_empty())
            }
        };
        Ok(self.signed_artifacts(release)?.iter().any(is_intact))
    }

    pub(crate) fn version_dir(&self, release: &str) -> PathBuf {
        self.directory.join("versions").join(release)
    }

    pub(crate) fn proof_path(&self, release: &str) -> PathBuf {
        self.directory.join("proofs").join(release)
    }

    pub(crate) fn download_dir(&self, release: &str) -> PathBuf {
        self.directory.join("versions").join(format!(".{release}.new"))
    }

    /// Points `current` at a version, durably and in one step.
    pub(crate) fn set_current(&self, release: &str) -> Result<Installed, StorageError> {
        let current = self.directory.join("current");
        let link = Path::new("versions").join(release);
        self.disk.replace_symlink(&current, &link).map_err(StorageError::at(&current))?;
        let sequence = Manifest::sequence_from_label(release).unwrap_or_default();
        Ok(Installed {
            sequence,
            release: release.to_owned(),
            directory: self.version_dir(release),
        })
    }

    /// Removes `current`, so that no version is installed.
    pub(crate) fn clear_current(&self) -> Result<(), StorageError> {
        let current = self.directory.join("current");
        (self.disk.remove(&current).and_then(|()| self.disk.sync_dir(&self.directory)))
            .map_err(StorageError::at(&current))
    }

    /// Stores the proof bundle and gives the version its name, durably. Leaves `current` unchanged.
    pub(crate) fn add_version(
        &self,
        prepared: PreparedVersion,
        proof: &str,
    ) -> Result<String, StorageError> {
        let at = |path: &Path| StorageError::at(path);
        let PreparedVersion { release, download_dir, tree, .. } = prepared;
        let (directory, proof_path) = (self.version_dir(&release), self.proof_path(&release));
        (self.disk.write(&proof_path, proof.as_bytes(), Mode::Public)).map_err(at(&proof_path))?;
        // A switch that stopped before it replaced `current` may have left a version of this name.
        self.disk.remove(&directory).map_err(at(&directory))?;
        self.disk
            .rename(tree.as_ref().unwrap_or(&download_dir), &directory)
            .map_err(at(&directory))?;
        if tree.is_some() {
            self.disk.remove(&download_dir).map_err(at(&download_dir))?;
        }
        let versions = self.directory.join("versions");
        self.disk.sync_dir(&versions).map_err(at(&versions))?;
        Ok(release)
    }
}
