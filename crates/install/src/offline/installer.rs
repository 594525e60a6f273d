//! The offline installer: its state, and the installation of one release from a spool.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use unanimity_config::ClientConfig;
use unanimity_protocol::decision::admission::CLOCK_SKEW;
use unanimity_protocol::proof_bundle::MAX_BUNDLE_BYTES;
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Catalog, ConfirmedRelease, ProofBundle, Refusal, Timestamp};
use unanimity_state::{ClientState, ClientStore, EvidenceStore, LogForked};
use unanimity_storage::{Clock, Mode, Storage, StorageError};

use super::error::OfflineInstallError;
use super::replay::{ReplayedLog, replay, smallest_head};
use crate::runner::HookRunner;
use crate::spool::{PROOF_FILE, SpoolReader};
use crate::state_dirs::{installer_head_path, installer_state_dir};
use crate::{InstallError, InstallRoot, Installed, PartialDownload, ReplayMismatch, artifact_for};

/// Number of bytes of an artifact that are copied at once.
const COPY_CHUNK_BYTES: usize = 1 << 20;

/// An offline installer with its state open.
pub struct OfflineInstaller<'a> {
    config: &'a ClientConfig,
    disk: Storage,
    root: InstallRoot,
    store: ClientStore,
    state: ClientState,
    evidence: EvidenceStore,
}

impl<'a> OfflineInstaller<'a> {
    /// Opens the installer's state below the install root, and takes the lock of that state. The
    /// caller must have checked that no other user may write to the install root.
    ///
    /// # Errors
    ///
    /// Another process holds the lock, or the state cannot be read or written.
    pub fn open(
        config: &'a ClientConfig,
        disk: Storage,
    ) -> Result<OfflineInstaller<'a>, OfflineInstallError> {
        let root = InstallRoot::new(&config.cycle.install_root, disk.clone())
            .with_hooks(config.cycle.hooks.clone());
        let directory = installer_state_dir(&config.cycle.install_root);
        let parent = &config.cycle.install_root;
        disk.make_dir(parent, Mode::Public).map_err(StorageError::at(parent))?;
        let (store, mut state) =
            ClientStore::open(&directory, &config.cycle.policy, &config.peers, disk.clone())?;
        state.highest_installed = state.highest_installed.max(root.floor()?);
        let evidence = EvidenceStore::new(&directory, &config.cycle.policy.log, disk.clone());
        let installer = OfflineInstaller { config, disk, root, store, state, evidence };
        installer.publish_head()?;
        Ok(installer)
    }

    /// Sets the runner of the hooks.
    pub fn with_hook_runner(self, hook_runner: Arc<dyn HookRunner>) -> OfflineInstaller<'a> {
        OfflineInstaller { root: self.root.with_hook_runner(hook_runner), ..self }
    }

    /// Verifies and installs the release in the spool, with the hooks and the trial of a switch.
    ///
    /// `freshness` is the greatest age of every peer's latest cosignature, by `clock`.
    pub async fn install(
        &mut self,
        spool: &SpoolReader,
        freshness: Duration,
        clock: &impl Clock,
    ) -> Result<Installed, OfflineInstallError> {
        let now = clock.now();
        if let Some(id) = self.evidence.find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        let newest = self.state.latest_verified_time;
        if now.after(CLOCK_SKEW) < newest {
            return Err(OfflineInstallError::Clock { now, newest });
        }
        let text = spool.read(PROOF_FILE, MAX_BUNDLE_BYTES)?;
        let bundle = ProofBundle::parse(&String::from_utf8_lossy(&text))?;
        let (policy, config) = (&self.config.cycle.policy, self.config);
        let verified = bundle.verify(policy, &config.peers, &config.cycle.limits);
        let confirmed = match verified.and_then(|release| release.with_max_age(freshness, now)) {
            Err(Refusal::Fork(evidence)) => {
                self.evidence.add(&evidence)?;
                return Err(Refusal::Fork(evidence).into());
            }
            verified => verified?,
        };
        let (manifest, floor) = (confirmed.manifest().clone(), self.state.highest_installed);
        let replayed = replay(config, &self.state, &confirmed, spool);
        // Withdrawals are kept even if this release is refused.
        if let Ok(ReplayedLog { catalog_at_head, .. }) = &replayed
            && self.state.catalog.merge_withdrawals(catalog_at_head)
        {
            self.store.save(&self.state)?;
        }
        if manifest.sequence <= floor {
            return Err(Refusal::SequenceRollback { offered: manifest.sequence, floor }.into());
        }
        self.root.journal()?.check_can_install(&manifest.label(), now)?;
        let ReplayedLog { frontier, mut catalog, catalog_at_head } = replayed?;
        catalog.merge_withdrawals(&catalog_at_head);
        self.check_is_candidate(&confirmed, &catalog_at_head, now)?;

        let artifact = artifact_for(&manifest, &config.cycle.platform)?;
        let mut source = spool.open_file(&InstallRoot::download_path(&manifest, artifact))?;
        let mut download = self.root.open_download(&confirmed, &config.cycle.platform)?;
        // Bytes of an earlier run are of unknown origin, so they are not used.
        download.restart()?;
        let prepared = match copy_artifact(&mut source, &mut download) {
            Ok(()) => download.finish()?.unpack()?,
            Err(error) => {
                download.discard()?;
                return Err(error.into());
            }
        };
        // The operator may remove a peer while `pre_install` runs.
        let recheck = || Ok::<_, OfflineInstallError>(self.config.check_unchanged(clock.now())?);
        let root = self.root.clone().with_withdrawn(catalog_at_head.withdrawn());
        let switch = root.begin_switch(&confirmed, clock, recheck).await?;
        let committed = switch.finish(&confirmed, prepared, &bundle.to_string(), clock).await?;
        let saved = self.save_state(&confirmed, frontier, catalog);
        let installed = committed.on_success().await;
        saved?;
        Ok(installed)
    }

    /// Refuses a release that is not a candidate by the entries of its log, with the reason from
    /// the catalog.
    fn check_is_candidate(
        &self,
        confirmed: &ConfirmedRelease,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<(), OfflineInstallError> {
        let choice =
            catalog.select_candidates(&self.config.cycle.policy, self.state.highest_installed, now);
        let index = confirmed.log_entry().index;
        if !choice.candidates.iter().any(|signed| signed.index() == index) {
            let label = confirmed.manifest().label();
            let concerns_release = |(at, refusal): &(u64, Refusal)| match refusal {
                Refusal::DuplicateSequence { first, second, .. } => {
                    [*first, *second].contains(&index)
                }
                Refusal::Withdrawn { release, .. } => *release == label,
                _ => *at == index,
            };
            let refused =
                choice.refused.into_iter().find(concerns_release).map(|(_, refusal)| refusal);
            return Err(refused.map_or_else(
                || ReplayMismatch::NotOffered(label.clone()).into(),
                OfflineInstallError::Refused,
            ));
        }
        Ok(())
    }

    fn save_state(
        &mut self,
        confirmed: &ConfirmedRelease,
        frontier: Frontier,
        catalog: Catalog,
    ) -> Result<(), OfflineInstallError> {
        let [_, latest] = confirmed.rounds();
        self.state.head = smallest_head(latest).cloned();
        self.state.frontier = frontier;
        self.state.catalog = catalog;
        self.state.highest_installed = confirmed.manifest().sequence;
        self.state.catalog.remove_below(self.state.highest_installed);
        self.state.latest_verified_time = self.state.latest_verified_time.max(latest.closed_at());
        self.state.unanimous_at = Some(latest.closed_at());
        self.store.save(&self.state)?;
        self.publish_head()
    }

    /// Publishes the trusted head, from which the downloader collects entries. If the entries must
    /// be read again from the first one, or no head is trusted yet, removes the file.
    fn publish_head(&self) -> Result<(), OfflineInstallError> {
        let path = installer_head_path(&self.config.cycle.install_root);
        let read_to = self.state.frontier.size();
        let published = match self.state.head.as_ref().filter(|head| head.size() == read_to) {
            Some(head) => self.disk.write(&path, head.note().as_bytes(), Mode::Public),
            None => self.disk.remove(&path),
        };
        Ok(published.map_err(StorageError::at(&path))?)
    }
}

/// Copies an artifact into a download, and verifies the copied bytes.
fn copy_artifact(from: &mut impl io::Read, to: &mut PartialDownload) -> Result<(), InstallError> {
    loop {
        let mut chunk = vec![0; COPY_CHUNK_BYTES];
        match from.read(&mut chunk) {
            Ok(0) => return Ok(to.check()?),
            Ok(count) => {
                chunk.truncate(count);
                to.write(vec![chunk])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(InstallError::Source(error)),
        }
    }
}
