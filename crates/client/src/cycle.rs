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

/// How often one cycle calls the roll again because a download took too long.
const MAX_ROUNDS: usize = 3;

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Runs one cycle.
    pub async fn run(
        &mut self,
        mode: CycleMode,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let mut report = CycleReport::default();
        self.begin_cycle();
        let ended = self.run_cycle(mode, &mut report, rng).await;
        let ended = self.end_cycle(ended);
        (report, ended)
    }

    /// Calls the roll and says whether a release can be installed. Installs nothing.
    pub async fn check(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::Check, rng).await
    }

    /// Calls the roll and fetches what can be installed, for a later [`SimulatedClient::update`] to find, or,
    /// where there is a spool, for the installer: then with all that proves it.
    pub async fn download(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::Download, rng).await
    }

    /// Calls the roll and installs what was fetched before, if it is still what every peer confirms.
    /// What was not fetched is available.
    pub async fn install_downloaded(
        &mut self,
        rng: &mut impl Rng,
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        self.run(CycleMode::InstallDownloaded, rng).await
    }

    /// Calls the roll and installs what every peer has confirmed for long enough.
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
        // Where there is a spool, somebody else installs.
        let is_split = self.config.cycle.spool.is_some();
        if !is_split && matches!(mode, CycleMode::Update | CycleMode::InstallDownloaded) {
            let root = self.root.clone().with_withdrawn(self.state.catalog.withdrawn());
            let undone = root.recover(self.clock.now()).await?;
            report.remarks.extend(undone);
        }
        let Some(plan) = self.decide(report, rng).await? else {
            return Ok(CycleOutcome::UpToDate);
        };
        let (journal, release) = (self.root.journal()?, plan.release.manifest().label());
        // A trial that was interrupted is for whoever installs to end: it is woken by what is staged.
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
                    Some(staged) => {
                        let ready = downloader::unpack(staged).await?;
                        self.switch_to(plan, ready).await
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
            // A long download may have outlived its roll, and the installer wants young views.
            if plan.release.check_not_expired(self.clock.now()).is_err() {
                match self.decide(report, rng).await? {
                    Some(again)
                        if again.release.log_entry().index == plan.release.log_entry().index =>
                    {
                        plan = again;
                    }
                    Some(again) => return Ok(again.into_outcome()),
                    None => return Ok(CycleOutcome::UpToDate),
                }
            }
            self.fill_spool(&spool.directory, &plan, rng).await?;
        }
        Ok(plan.into_outcome())
    }

    /// Fetches what was decided on. Where that fails and every mirror shows an old world, that is why.
    async fn download_artifact(
        &mut self,
        plan: &InstallPlan,
        report: &mut CycleReport,
        rng: &mut impl Rng,
    ) -> Result<VerifiedArtifact, CycleError> {
        let fetched = self.downloader.download(&plan.release, report, rng).await;
        for (mirror, did_well) in self.downloader.take_results() {
            self.record_mirror_result(mirror, did_well);
        }
        fetched.map_err(|failure| match (failure, &plan.stale) {
            (CycleError::Client(ClientError::Mirrors(_)), Some(stale)) => stale.clone().into(),
            (failure, _) => failure,
        })
    }

    /// The same, and unpacked if it is an archive.
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
        let mut ready = self.download_and_unpack(&plan, report, rng).await?;
        // A long download may have outlived its roll: then the question is asked again, and the
        // answer may be a newer release.
        for _ in 0..MAX_ROUNDS {
            if plan.release.check_not_expired(self.clock.now()).is_ok() {
                break;
            }
            let Some(again) = self.decide(report, rng).await? else {
                return Ok(CycleOutcome::UpToDate);
            };
            plan = again;
            if !ready.belongs_to(plan.release.manifest()) {
                ready = self.download_and_unpack(&plan, report, rng).await?;
            }
        }
        self.switch_to(plan, ready).await
    }

    async fn switch_to(
        &mut self,
        decided: InstallPlan,
        ready: PreparedVersion,
    ) -> Result<CycleOutcome, CycleError> {
        let InstallPlan { release: agreed, proof, withdrawn, .. } = decided;
        let root = self.root.clone().with_withdrawn(withdrawn);
        let begun = root.begin_switch(&agreed, self.clock, || self.check_can_switch()).await?;
        let proven = begun.finish(&agreed, ready, &proof.to_string(), self.clock).await?;
        let sequence = proven.installed.sequence;
        self.state.highest_installed = sequence;
        self.state.catalog.remove_below(sequence);
        let saved = self.save();
        let installed = proven.on_success().await;
        saved?;
        Ok(CycleOutcome::Installed(installed))
    }

    /// What may have changed while the artifact came.
    fn check_can_switch(&self) -> Result<(), CycleError> {
        // The peer role may have found out in the meantime.
        if let Some(id) = self.evidence.find_unacknowledged()? {
            return Err(LogForked { id }.into());
        }
        // Somebody may have been counted, or been struck out.
        Ok(self.config.check_unchanged(self.clock.now())?)
    }
}
