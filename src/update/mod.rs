//! One cycle of the client: call the roll, join the heads, read the log, decide, and maybe install.
//!
//! The roll is called at every cycle, also when nothing is new: only the peers' larger heads
//! show that a mirror is frozen. Everything is read before anything is decided, and every
//! fact is stored only after the check it records.

mod answers;
mod ask;
mod decide;
mod fetch;
mod heads;
mod health;
mod hosts;
mod memory;
mod pour;
mod read;
mod spool;
mod step;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};
use crate::install::{InstallError, Installed, Ready, Root, Staged};
use crate::net::Transport;
use crate::store::{ClientState, ClientStore, EvidenceStore, StoreError};
use decide::Decided;
use unanimity_protocol::{Agreed, Head, Refusal, Silence, Timestamp, View};
use unanimity_storage::Clock;
use unanimity_storage::{Disk, DiskError};

pub use answers::{Answers, Sharing};
pub use ask::{Waits, ask_once, waits};
pub use fetch::Fetcher;
pub use step::{Step, Watcher};

/// How often one cycle calls the roll again because a download took too long.
const MAX_ROLLS: usize = 3;

/// We could not find out: nothing was decided, and a later run may succeed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// What the node remembers.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What it was told, such as a circle that is too small.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A command that belongs to installing cannot be run.
    #[error(transparent)]
    Command(InstallError),
    /// No mirror was of any use.
    #[error("no mirror serves what is needed:{}", list(.0))]
    Mirrors(Vec<String>),
    /// The clock stands before a time that was already verified.
    #[error("the clock shows {now}, and {newest} was verified before: check the clock")]
    Clock {
        /// What it shows.
        now: Timestamp,
        /// When the newest unanimous roll was closed.
        newest: Timestamp,
    },
    /// Nobody serves tiles that tie the log's newest head to the one we trust.
    #[error(
        "nobody serves tiles that tie the log's newest head to the one trusted here ({trusted}): try again later, or add a mirror"
    )]
    Untied {
        /// The stored or pinned head.
        trusted: Head,
    },
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Why a cycle did not end well: the world failed a check, or we could not find out.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A check failed.
    #[error(transparent)]
    Refused(Refusal),
    /// We could not find out.
    #[error(transparent)]
    Error(UpdateError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        match error {
            InstallError::Refused(refusal) => refusal.into(),
            InstallError::Disk(error) => error.into(),
            InstallError::Busy(path) | InstallError::Switching(path) => {
                StoreError::Busy(path).into()
            }
            error @ InstallError::Command { .. } => UpdateError::Command(error).into(),
            InstallError::Source(error) => UpdateError::Mirrors(vec![error.to_string()]).into(),
        }
    }
}

impl<E: Into<UpdateError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Error(error.into())
    }
}

/// A cycle that ended well.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every peer agrees, and nothing is new.
    UpToDate,
    /// Every peer has confirmed this release for long enough: it can be installed.
    Available(Box<Agreed>),
    /// It was.
    Installed(Installed),
}

/// What a cycle saw, whatever it came to. For people and programs; nothing decides on it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The log's head that was adopted for this cycle.
    pub head: Option<Head>,
    /// What each peer answered: its name and the view or why there is none.
    pub peers: Vec<(String, Result<View, Silence>)>,
    /// Each mirror and what it showed.
    pub mirrors: Vec<(String, Result<Head, String>)>,
    /// Entries of ours that were read and refused, by index; those seen for the first time.
    pub refused: Vec<(u64, Refusal)>,
    /// Entries of kinds that this version does not know.
    pub unknown_kinds: u64,
    /// What else an operator may want to know.
    pub remarks: Vec<String>,
}

/// What a cycle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errand {
    /// Only find out.
    Check,
    /// Fetch what can be installed, and keep it.
    Stage,
    /// Install it.
    Update,
    /// Install what was fetched before, and fetch nothing.
    Switch,
}

/// A client with its state open.
pub struct Client<'a, T, C> {
    config: &'a Config,
    fetcher: Fetcher<'a>,
    transport: &'a T,
    clock: &'a C,
    disk: Disk,
    /// Where versions are installed.
    root: Root,
    store: ClientStore,
    state: ClientState,
    /// Whether there may be more in `state` than is stored.
    unsaved: bool,
    judged: health::Judged,
    evidence: EvidenceStore,
    sharing: Sharing,
}

impl<'a, T: Transport, C: Clock> Client<'a, T, C> {
    /// Opens the node's state, as its only user.
    pub fn open(
        config: &'a Config,
        transport: &'a T,
        clock: &'a C,
        disk: Disk,
    ) -> Result<Self, UpdateError> {
        let directory = config.state.join("client");
        let (store, mut state) =
            ClientStore::open(&directory, &config.policy, &config.peers, disk.clone())?;
        let evidence = EvidenceStore::new(&config.state, &config.policy.log, disk.clone());
        let fetcher = Fetcher::new(config, transport, disk.clone());
        // A switch that was not followed by its bookkeeping still counts.
        let root = Root::new(&config.install_root, disk.clone()).with(config.procedure.clone());
        state.floor = state.floor.max(root.floor()?);
        let (unsaved, judged) = (true, health::Judged::default());
        Ok(Client {
            config,
            fetcher,
            transport,
            clock,
            disk,
            root,
            store,
            state,
            unsaved,
            judged,
            evidence,
            sharing: Sharing::default(),
        })
    }

    /// The same, with somebody who is told of every step.
    pub fn watched(mut self, watcher: Watcher) -> Self {
        self.fetcher.watcher = watcher;
        self
    }

    /// The same, beside the clients of other products.
    pub fn sharing(self, sharing: Sharing) -> Self {
        let evidence = match sharing.beside() {
            Some(beside) => self.evidence.beside(beside),
            None => self.evidence,
        };
        Client { sharing, evidence, ..self }
    }

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
        let is_split = self.config.spool.is_some();
        if !is_split && matches!(errand, Errand::Update | Errand::Switch) {
            let root = self.root.clone().knowing(self.state.catalog.withdrawn());
            let undone = root.recover(self.clock.now()).await?;
            report.remarks.extend(undone);
        }
        let Some(decided) = self.decide(report, rng).await? else {
            return Ok(Outcome::UpToDate);
        };
        let (journal, release) = (self.root.journal()?, decided.agreed.manifest().label());
        // A trial that was interrupted is for whoever installs to end: it is woken by what is staged.
        if is_split {
            journal.is_due(&release, self.clock.now())?;
        } else {
            journal.may_try(&release, self.clock.now())?;
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
        if let Some(spool) = &self.config.spool {
            // A long download may have outlived its roll, and the installer wants young views.
            if decided.agreed.still_good(self.clock.now()).is_err() {
                match self.decide(report, rng).await? {
                    Some(again) if again.agreed.entry().index == decided.agreed.entry().index => {
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
    ) -> Result<Staged, Failure> {
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
    ) -> Result<Ready, Failure> {
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
            if decided.agreed.still_good(self.clock.now()).is_ok() {
                break;
            }
            let Some(again) = self.decide(report, rng).await? else {
                return Ok(Outcome::UpToDate);
            };
            decided = again;
            if !ready.is_of(decided.agreed.manifest()) {
                ready = self.ready(&decided, report, rng).await?;
            }
        }
        self.switch_to(decided, ready).await
    }

    async fn switch_to(&mut self, decided: Decided, ready: Ready) -> Result<Outcome, Failure> {
        let Decided { agreed, proof, withdrawn, .. } = decided;
        let root = self.root.clone().knowing(withdrawn);
        let begun = root.begin(&agreed, self.clock, || self.may_still_switch()).await?;
        let proven = begun.finish(&agreed, ready, &proof.to_string(), self.clock).await?;
        let sequence = proven.installed.sequence;
        self.state.floor = sequence;
        self.state.catalog.forget_below(sequence);
        let saved = self.save();
        let installed = proven.when_good().await;
        saved?;
        Ok(Outcome::Installed(installed))
    }

    /// What may have changed while the artifact came.
    fn may_still_switch(&self) -> Result<(), Failure> {
        // The peer role may have found out in the meantime.
        if let Some(id) = self.evidence.latched()? {
            return Err(Refusal::Latched { id }.into());
        }
        // Somebody may have been counted, or been struck out.
        Ok(self.config.check_unchanged(self.clock.now())?)
    }
}
