//! One cycle: decide, download, install.

use rand::Rng;
use unanimity_install::{PreparedVersion, VerifiedArtifact};
use unanimity_net::Transport;
use unanimity_state::LogForked;
use unanimity_storage::Clock;

use crate::client::Client;
use crate::cycle_mode::CycleMode;
use crate::cycle_report::{CycleOutcome, CycleReport};
use crate::decide::InstallPlan;
use crate::downloader;
use crate::error::{ClientError, CycleError};

/// The most times that one cycle asks the peers again before it installs, if a download takes so
/// long that the round's cosignatures are too old.
const MAX_ROUNDS: usize = 3;

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Runs one cycle. Returns its report, and its outcome or error.
    pub async fn run(
        &mut self,
        mode: CycleMode,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let mut report = CycleReport::default();
        self.begin_cycle();
        let result = self.run_cycle(mode, &mut report, rng).await;
        let result = self.end_cycle(result);
        (report, result)
    }

    /// Asks every peer, and returns [`CycleOutcome::Available`] if a release can be installed.
    /// Downloads and installs nothing.
    pub async fn check(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::Check, rng).await
    }

    /// Asks every peer and downloads the release that can be installed.
    ///
    /// Without a spool, a later [`Client::update`] finds the download. With a spool, the download
    /// is for the installer, and the spool also gets the proof bundle and the log's entries.
    pub async fn download(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::Download, rng).await
    }

    /// Asks every peer, and installs the confirmed release if an earlier cycle downloaded it.
    ///
    /// The outcome is [`CycleOutcome::Available`] if the release was not downloaded. With a spool,
    /// the client installs nothing: it fills the spool again with the downloaded release.
    pub async fn install_downloaded(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::InstallDownloaded, rng).await
    }

    /// Asks every peer, downloads the release that every peer has confirmed for long enough, and
    /// installs that release. With a spool, the client only fills the spool, and the installer
    /// installs the release.
    pub async fn update(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::Update, rng).await
    }

    async fn run_cycle(
        &mut self,
        mode: CycleMode,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<CycleOutcome, CycleError> {
        // With a spool, the installer installs, and ends interrupted trials.
        let is_split = self.config.cycle.spool.is_some();
        if !is_split && matches!(mode, CycleMode::Update | CycleMode::InstallDownloaded) {
            let root = self.root.clone().with_withdrawn(self.state.catalog.withdrawn());
            let recovered = root.recover(self.clock.now()).await?;
            report.remarks.extend(recovered);
        }
        let Some(plan) = self.decide(report, rng).await? else {
            return Ok(CycleOutcome::UpToDate);
        };
        let (journal, release) = (self.root.journal()?, plan.release.manifest().label());
        // With a spool, the installer ends an interrupted trial. New files in the spool start the
        // installer.
        if is_split {
            journal.check_backoff(&release, self.clock.now())?;
        } else {
            journal.check_can_install(&release, self.clock.now())?;
        }
        match mode {
            CycleMode::Check => Ok(plan.into_outcome()),
            CycleMode::InstallDownloaded => {
                match self.downloader.find_downloaded(&plan.release).await? {
                    None => Ok(plan.into_outcome()),
                    Some(_) if is_split => self.download_planned(plan, report, rng).await,
                    Some(verified) => {
                        let prepared = downloader::unpack(verified).await?;
                        self.switch_to(plan, prepared).await
                    }
                }
            }
            CycleMode::Update if !is_split => self.install(plan, report, rng).await,
            CycleMode::Download | CycleMode::Update => {
                self.download_planned(plan, report, rng).await
            }
        }
    }

    async fn download_planned(
        &mut self,
        mut plan: InstallPlan,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<CycleOutcome, CycleError> {
        self.download_artifact(&plan, report, rng).await?;
        if let Some(spool) = &self.config.cycle.spool {
            // The round's cosignatures may have become too old during the download, and the
            // installer needs recent ones.
            if plan.release.check_not_expired(self.clock.now()).is_err() {
                match self.decide(report, rng).await? {
                    Some(new)
                        if new.release.log_entry().index == plan.release.log_entry().index =>
                    {
                        plan = new;
                    }
                    Some(new) => return Ok(new.into_outcome()),
                    None => return Ok(CycleOutcome::UpToDate),
                }
            }
            self.fill_spool(&spool.directory, &plan, rng).await?;
        }
        Ok(plan.into_outcome())
    }

    /// Downloads the planned artifact. If no host serves it and every mirror is stale, the error
    /// says that the mirrors are stale.
    async fn download_artifact(
        &mut self,
        plan: &InstallPlan,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<VerifiedArtifact, CycleError> {
        let downloaded = self.downloader.download(&plan.release, report, rng).await;
        for (mirror, succeeded) in self.downloader.take_results() {
            self.record_mirror_result(mirror, succeeded);
        }
        downloaded.map_err(|failure| match (failure, &plan.stale) {
            (CycleError::Client(ClientError::Mirrors(_)), Some(stale)) => stale.clone().into(),
            (failure, _) => failure,
        })
    }

    /// Downloads the planned artifact, and unpacks it if it is an archive.
    async fn download_and_unpack(
        &mut self,
        plan: &InstallPlan,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<PreparedVersion, CycleError> {
        downloader::unpack(self.download_artifact(plan, report, rng).await?).await
    }

    async fn install(
        &mut self,
        mut plan: InstallPlan,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<CycleOutcome, CycleError> {
        let mut prepared = self.download_and_unpack(&plan, report, rng).await?;
        // If the round's cosignatures became too old during the download, every peer is asked
        // again. The new plan may have a newer release.
        for _ in 0..MAX_ROUNDS {
            if plan.release.check_not_expired(self.clock.now()).is_ok() {
                break;
            }
            let Some(new) = self.decide(report, rng).await? else {
                return Ok(CycleOutcome::UpToDate);
            };
            plan = new;
            if !prepared.belongs_to(plan.release.manifest()) {
                prepared = self.download_and_unpack(&plan, report, rng).await?;
            }
        }
        self.switch_to(plan, prepared).await
    }

    async fn switch_to(
        &mut self,
        plan: InstallPlan,
        prepared: PreparedVersion,
    ) -> Result<CycleOutcome, CycleError> {
        let InstallPlan { release, proof, withdrawn, .. } = plan;
        let root = self.root.clone().with_withdrawn(withdrawn);
        let switch = root.begin_switch(&release, self.clock, || self.check_can_switch()).await?;
        let committed = switch.finish(&release, prepared, &proof.to_string(), self.clock).await?;
        let sequence = committed.installed.sequence;
        self.state.highest_installed = sequence;
        self.state.catalog.remove_below(sequence);
        let saved = self.save();
        let installed = committed.on_success().await;
        saved?;
        Ok(CycleOutcome::Installed(installed))
    }

    /// Checks again what may have changed during the download: fork evidence and the configuration.
    fn check_can_switch(&self) -> Result<(), CycleError> {
        // The witness role may have stored evidence since the decision.
        if let Some(id) = self.evidence.find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        // The operator may have added or removed a peer since the decision.
        Ok(self.config.check_unchanged(self.clock.now())?)
    }
}
