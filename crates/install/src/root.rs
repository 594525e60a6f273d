//! Where versions of a product live, and which one is installed.

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

/// Where versions of a product live.
#[derive(Clone, Debug)]
pub struct InstallRoot {
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    pub(crate) hooks: HookSettings,
    /// What was taken back, by sequence.
    pub(crate) withdrawn: BTreeSet<u64>,
    /// What runs the commands.
    pub(crate) hook_runner: Arc<dyn HookRunner>,
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

/// The most bytes of the journal.
const MAX_JOURNAL_BYTES: usize = 1024 * 1024;

impl InstallRoot {
    /// The root in a directory, which is made when something is installed. Commands run [`BlockingHookRunner`].
    pub fn new(directory: &Path, disk: Storage) -> InstallRoot {
        let (directory, hooks) = (directory.to_owned(), HookSettings::default());
        let hook_runner = Arc::new(BlockingHookRunner::default());
        InstallRoot { directory, disk, hooks, withdrawn: BTreeSet::new(), hook_runner }
    }

    /// The same, where more belongs to a switch than the switch.
    pub fn with_hooks(self, hooks: HookSettings) -> InstallRoot {
        InstallRoot { hooks, ..self }
    }

    /// The same root, whose commands are run by `hook_runner`.
    pub fn with_hook_runner(self, hook_runner: Arc<dyn HookRunner>) -> InstallRoot {
        InstallRoot { hook_runner, ..self }
    }

    /// The same, where these sequences were taken back by their publisher: there is no way back to them.
    pub fn with_withdrawn(self, withdrawn: BTreeSet<u64>) -> InstallRoot {
        InstallRoot { withdrawn, ..self }
    }

    pub(crate) fn is_withdrawn(&self, release: &str) -> bool {
        Manifest::sequence_from_label(release)
            .is_some_and(|sequence| self.withdrawn.contains(&sequence))
    }

    /// What is installed: where `current` points.
    pub fn installed(&self) -> Result<Option<Installed>, StorageError> {
        let link = self.directory.join("current");
        let target = match self.disk.read_link(&link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            target => target.map_err(StorageError::at(&link))?,
        };
        let damaged = || StorageError::Corrupt {
            path: link.clone(),
            remedy: "it must point at versions/SEQUENCE-VERSION; point it there again by hand",
        };
        let release = target.to_str().and_then(|target| target.strip_prefix("versions/"));
        let (release, sequence) = release
            .and_then(|release| Some((release.to_owned(), Manifest::sequence_from_label(release)?)))
            .ok_or_else(damaged)?;
        let directory = self.directory.join(target);
        Ok(Some(Installed { sequence, release, directory }))
    }

    /// What [`InstallRoot::open_download`] has led to for an agreed release, if it is there and still what was signed.
    pub fn find_download(
        &self,
        confirmed: &ConfirmedRelease,
        platform: &Name,
    ) -> Result<Option<VerifiedArtifact>, InstallError> {
        let manifest = confirmed.manifest();
        let artifact = artifact_for(manifest, platform)?;
        let directory = self.manifest_download_dir(manifest);
        // It got this name once its bytes were on the disk.
        let Ok(mut file) = self.disk.open(&directory.join(artifact.file.as_str())) else {
            return Ok(None);
        };
        // Whoever gave it the name may not have come to sync that.
        if self.disk.sync_dir(&directory).is_err() {
            return Ok(None);
        }
        if verify_artifact(artifact, &mut file).is_err() || file.rewind().is_err() {
            return Ok(None);
        }
        let (artifact, release, disk) = (artifact.clone(), manifest.label(), self.disk.clone());
        Ok(Some(VerifiedArtifact { artifact, release, directory, disk, file }))
    }

    /// Removes what was staged for any release but this: what is staged last is what will be installed.
    fn remove_other_downloads(&self, ours: &Path) -> Result<(), StorageError> {
        let versions = self.directory.join("versions");
        let names = match self.disk.list_dir(&versions) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(StorageError::at(&versions))?,
        };
        for name in names {
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".new") {
                let path = versions.join(&*name);
                if path == ours {
                    continue;
                }
                self.disk.remove(&path).map_err(StorageError::at(&path))?;
            }
        }
        Ok(())
    }

    /// Where [`InstallRoot::open_download`] leads to below a root: the artifact as it was fetched.
    pub fn download_path(manifest: &Manifest, target: &Artifact) -> String {
        format!("versions/.{}.new/{}", manifest.label(), target.file)
    }

    fn manifest_download_dir(&self, manifest: &Manifest) -> PathBuf {
        self.download_dir(&manifest.label())
    }

    /// Where an agreed release's artifact is written as it comes, beside the versions. What an
    /// earlier run was sent of it is there already.
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

    /// What came of every switch so far.
    pub fn journal(&self) -> Result<Journal, StorageError> {
        let path = self.journal_path();
        match self.disk.read(&path, MAX_JOURNAL_BYTES)? {
            Some(bytes) => Journal::parse(&bytes).ok_or(StorageError::Corrupt {
                path,
                remedy: "remove it: the present version and the older ones that are there then count as good",
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

    /// The highest sequence that proved good here: what is on trial does not count yet.
    pub fn floor(&self) -> Result<u64, StorageError> {
        let journal = self.journal()?;
        let on_trial = journal.trial.as_ref().map(|trial| &trial.release);
        let current = self.installed()?.filter(|current| Some(&current.release) != on_trial);
        Ok(journal.floor().max(current.map_or(0, |current| current.sequence)))
    }

    /// The versions that are there.
    pub(crate) fn versions(&self) -> Result<Vec<String>, StorageError> {
        let versions = self.directory.join("versions");
        let names = match self.disk.list_dir(&versions) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names.map_err(StorageError::at(&versions))?,
        };
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        Ok(names.filter(|name| Manifest::sequence_from_label(name).is_some()).collect())
    }

    /// The right to switch, for one process at a time.
    pub(crate) fn lock(&self) -> Result<Lock, InstallError> {
        let proofs = self.directory.join("proofs");
        let at = StorageError::at(&proofs);
        let lock =
            (self.disk.make_dir(&proofs, Mode::Public)).and_then(|()| self.disk.lock(&proofs));
        lock.map_err(at)?.ok_or_else(|| InstallError::Switching(self.directory.clone()))
    }

    /// Removes all versions but the present one and as many good ones, the latest first, as make
    /// [`HookSettings::keep`] with the one that is to come.
    pub(crate) fn remove_old_versions(&self, journal: &mut Journal) -> Result<(), StorageError> {
        let current = self.installed()?.map(|current| current.release);
        let earlier = journal.good.iter().rev().filter(|good| Some(*good) != current.as_ref());
        let spare = self.hooks.keep.saturating_sub(2);
        let kept: Vec<String> = earlier.take(spare).chain(&current).cloned().collect();
        let mut gone = self.versions()?;
        gone.retain(|release| !kept.contains(release));
        if gone.is_empty() {
            return Ok(());
        }
        // Nobody goes back to what is half gone.
        journal.good.retain(|good| kept.contains(good));
        self.save_journal(journal)?;
        for path in
            gone.iter().flat_map(|release| [self.version_dir(release), self.proof_path(release)])
        {
            self.disk.remove(&path).map_err(StorageError::at(&path))?;
        }
        Ok(())
    }

    /// What a version's own proof says was signed: nothing if the proof is gone.
    pub(crate) fn signed_artifacts(&self, release: &str) -> Result<Vec<Artifact>, StorageError> {
        let proof =
            self.disk.read(&self.proof_path(release), MAX_BUNDLE_BYTES)?.unwrap_or_default();
        let bundle = ProofBundle::parse(&String::from_utf8_lossy(&proof)).ok();
        let manifest = bundle.and_then(|bundle| bundle.claimed_manifest());
        let manifest = manifest.filter(|manifest| manifest.label() == release);
        Ok(manifest.map(|manifest| manifest.artifacts).unwrap_or_default())
    }

    /// Whether a version is there, with a proof that says what was signed, and, where that is one
    /// file, is it.
    pub(crate) fn is_intact(&self, release: &str) -> Result<bool, StorageError> {
        let directory = self.version_dir(release);
        let is_there = |target: &Artifact| match target.kind {
            ArtifactKind::File => {
                let file = self.disk.open(&directory.join(target.file.as_str()));
                file.is_ok_and(|file| verify_artifact(target, file).is_ok())
            }
            ArtifactKind::Archive { .. } => {
                self.disk.list_dir(&directory).is_ok_and(|names| !names.is_empty())
            }
        };
        Ok(self.signed_artifacts(release)?.iter().any(is_there))
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

    /// Points `current` at a version, in one step.
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

    /// Leaves nothing installed.
    pub(crate) fn clear_current(&self) -> Result<(), StorageError> {
        let current = self.directory.join("current");
        (self.disk.remove(&current).and_then(|()| self.disk.sync_dir(&self.directory)))
            .map_err(StorageError::at(&current))
    }

    /// Keeps the proof and names the version, durably; `current` stays as it is.
    pub(crate) fn add_version(
        &self,
        ready: PreparedVersion,
        proof: &str,
    ) -> Result<String, StorageError> {
        let at = |path: &Path| StorageError::at(path);
        let PreparedVersion { release, download_dir, tree, .. } = ready;
        let (directory, proof_path) = (self.version_dir(&release), self.proof_path(&release));
        (self.disk.write(&proof_path, proof.as_bytes(), Mode::Public)).map_err(at(&proof_path))?;
        // A version of this name was left by a switch that did not get as far as `current`.
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
