//! One cycle: decide, download, install.

use rand::Rng;
use unanimity_install::{PreparedVersion, VerifiedArtifact};
use unanimity_net::Transport;
use unanimity_state::LogForked;
use unanimity_storage::Clock;

use crate::client::Client;
use crate::cycle_report::{Outcome, Report};
use crate::error::{Failure, UpdateError};
use crate::fetch;
use crate::gather::Decided;
use crate::mode::Errand;

/// How often one cycle calls the roll again because a download took too long.
const MAX_ROLLS: usize = 3;

impl<T: Transport, C: Clock> Client<'_, T, C> {
    /// Runs one cycle.
    pub async fn run(
        &mut self,
        errand: Errand,
        rng: &mut impl Rng,
    ) -> (Report, Result<Outcome, Failure>) {
        let mut report = Report::default();
        self.begin_cycle();
        let ended = self.cycle(errand, &mut report, rng).await;
        let ended = self.end_cycle(ended);
        (report, ended)
    }

    /// Calls the roll and says whether a release can be installed. Installs nothing.
    pub async fn check(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        self.run(Errand::Check, rng).await
    }

    /// Calls the roll and fetches what can be installed, for a later [`Client::update`] to find, or,
    /// where there is a spool, for the installer: then with all that proves it.
    pub async fn stage(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        self.run(Errand::Stage, rng).await
    }

    /// Calls the roll and installs what was fetched before, if it is still what every peer confirms.
    /// What was not fetched is available.
    pub async fn switch(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        self.run(Errand::Switch, rng).await
    }

    /// Calls the roll and installs what every peer has confirmed for long enough.
    pub async fn update(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        self.run(Errand::Update, rng).await
    }

    async fn cycle(
        &mut self,
        errand: Errand,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Outcome, Failure> {
        // Where there is a spool, somebody else installs.
        let is_split = self.config.cycle.spool.is_some();
        if !is_split && matches!(errand, Errand::Update | Errand::Switch) {
            let root = self.root.clone().with_withdrawn(self.state.catalog.withdrawn());
            let undone = root.recover(self.clock.now()).await?;
            report.remarks.extend(undone);
        }
        let Some(decided) = self.decide(report, rng).await? else {
            return Ok(Outcome::UpToDate);
        };
        let (journal, release) = (self.root.journal()?, decided.agreed.manifest().label());
        // A trial that was interrupted is for whoever installs to end: it is woken by what is staged.
        if is_split {
            journal.check_backoff(&release, self.clock.now())?;
        } else {
            journal.check_can_install(&release, self.clock.now())?;
        }
        match errand {
            Errand::Check => Ok(decided.outcome()),
            Errand::Switch => match self.fetcher.fetched(&decided.agreed).await? {
                None => Ok(decided.outcome()),
                Some(_) if is_split => self.stage_decided(decided, report, rng).await,
                Some(staged) => {
                    let ready = fetch::unpack(staged).await?;
                    self.switch_to(decided, ready).await
                }
            },
            Errand::Update if !is_split => self.install(decided, report, rng).await,
            Errand::Stage | Errand::Update => self.stage_decided(decided, report, rng).await,
        }
    }

    async fn stage_decided(
        &mut self,
        mut decided: Decided,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Outcome, Failure> {
        self.fetch_decided(&decided, report, rng).await?;
        if let Some(spool) = &self.config.cycle.spool {
            // A long download may have outlived its roll, and the installer wants young views.
            if decided.agreed.check_not_expired(self.clock.now()).is_err() {
                match self.decide(report, rng).await? {
                    Some(again)
                        if again.agreed.log_entry().index == decided.agreed.log_entry().index =>
                    {
                        decided = again;
                    }
                    Some(again) => return Ok(again.outcome()),
                    None => return Ok(Outcome::UpToDate),
                }
            }
            self.fill_spool(&spool.directory, &decided, rng).await?;
        }
        Ok(decided.outcome())
    }

    /// Fetches what was decided on. Where that fails and every mirror shows an old world, that is why.
    async fn fetch_decided(
        &mut self,
        decided: &Decided,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<VerifiedArtifact, Failure> {
        let fetched = self.fetcher.fetch(&decided.agreed, report, rng).await;
        for (mirror, did_well) in self.fetcher.judged() {
            self.judge(mirror, did_well);
        }
        fetched.map_err(|failure| match (failure, &decided.stale) {
            (Failure::Error(UpdateError::Mirrors(_)), Some(stale)) => stale.clone().into(),
            (failure, _) => failure,
        })
    }

    /// The same, and unpacked if it is an archive.
    async fn ready(
        &mut self,
        decided: &Decided,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<PreparedVersion, Failure> {
        fetch::unpack(self.fetch_decided(decided, report, rng).await?).await
    }

    async fn install(
        &mut self,
        mut decided: Decided,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Outcome, Failure> {
        let mut ready = self.ready(&decided, report, rng).await?;
        // A long download may have outlived its roll: then the question is asked again, and the
        // answer may be a newer release.
        for _ in 0..MAX_ROLLS {
            if decided.agreed.check_not_expired(self.clock.now()).is_ok() {
                break;
            }
            let Some(again) = self.decide(report, rng).await? else {
                return Ok(Outcome::UpToDate);
            };
            decided = again;
            if !ready.belongs_to(decided.agreed.manifest()) {
                ready = self.ready(&decided, report, rng).await?;
            }
        }
        self.switch_to(decided, ready).await
    }

    async fn switch_to(
        &mut self,
        decided: Decided,
        ready: PreparedVersion,
    ) -> Result<Outcome, Failure> {
        let Decided { agreed, proof, withdrawn, .. } = decided;
        let root = self.root.clone().with_withdrawn(withdrawn);
        let begun = root.begin_switch(&agreed, self.clock, || self.may_still_switch()).await?;
        let proven = begun.finish(&agreed, ready, &proof.to_string(), self.clock).await?;
        let sequence = proven.installed.sequence;
        self.state.floor = sequence;
        self.state.catalog.remove_below(sequence);
        let saved = self.save();
        let installed = proven.on_success().await;
        saved?;
        Ok(Outcome::Installed(installed))
    }

    /// What may have changed while the artifact came.
    fn may_still_switch(&self) -> Result<(), Failure> {
        // The peer role may have found out in the meantime.
        if let Some(id) = self.evidence.latched()? {
            return Err(LogForked { id }.into());
        }
        // Somebody may have been counted, or been struck out.
        Ok(self.config.check_unchanged(self.clock.now())?)
    }
}
