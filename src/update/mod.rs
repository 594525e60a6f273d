//! One cycle of the client: call the roll, join the heads, read the log, decide, and maybe install.
//!
//! The roll is called at every cycle, also when nothing is new: only the peers' larger heads
//! show that a mirror is frozen. Everything is read before anything is decided, and every
//! fact is stored only after the check it records.

mod ask;
mod fetch;
mod heads;
mod memory;
mod read;

use rand::Rng;
use rand::seq::SliceRandom as _;

use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::durable::{Disk, DiskError};
use crate::install::{InstallError, Installed, Root};
use crate::net::{Mirror, Transport};
use crate::store::{ClientState, ClientStore, EvidenceStore, StoreError};
use crate::verify::{Agreed, Bundle, Head, Refusal, Roll, Silence, Timestamp, View};
pub use ask::{Waits, ask_once, waits};
use heads::Sources;

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

/// A client with its state open.
pub struct Client<'a, T, C> {
    config: &'a Config,
    /// On circuits that nothing else of this node shares.
    mirrors: Vec<Mirror>,
    transport: &'a T,
    clock: &'a C,
    store: ClientStore,
    state: ClientState,
    /// Whether there may be more in `state` than is stored.
    unsaved: bool,
    evidence: EvidenceStore,
    root: Root,
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
        let root = Root::new(&config.install_root, disk);
        // A switch that was not followed by its bookkeeping still counts.
        let installed = root.installed()?.map_or(0, |installed| installed.sequence);
        state.floor = state.floor.max(installed);
        let mirrors = config.mirrors.iter().map(Mirror::anew).collect();
        let unsaved = true;
        Ok(Client { config, mirrors, transport, clock, store, state, unsaved, evidence, root })
    }

    /// Calls the roll and says whether a release can be installed. Installs nothing.
    pub async fn check(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        let mut report = Report::default();
        let outcome = self.decide(&mut report, rng).await;
        (report, outcome.map(|decided| decided.map_or(Outcome::UpToDate, Decided::outcome)))
    }

    /// Calls the roll and fetches what can be installed, for a later [`Client::update`] to find.
    pub async fn stage(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        let mut report = Report::default();
        let outcome = match self.decide(&mut report, rng).await {
            Ok(None) => Ok(Outcome::UpToDate),
            Ok(Some(decided)) => {
                let staged = self.fetch(&decided.agreed, &mut report, rng).await;
                staged.map(|_| decided.outcome())
            }
            Err(failure) => Err(failure),
        };
        (report, outcome)
    }

    /// Calls the roll and installs what every peer has confirmed for long enough.
    pub async fn update(&mut self, rng: &mut impl Rng) -> (Report, Result<Outcome, Failure>) {
        let mut report = Report::default();
        let outcome = self.install(&mut report, rng).await;
        (report, outcome)
    }

    async fn install(
        &mut self,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Outcome, Failure> {
        let Some(mut decided) = self.decide(report, rng).await? else {
            return Ok(Outcome::UpToDate);
        };
        let mut staged = self.fetch(&decided.agreed, report, rng).await?;
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
            if !staged.is_of(decided.agreed.manifest()) {
                staged = self.fetch(&decided.agreed, report, rng).await?;
            }
        }
        // The peer role may have found out in the meantime.
        if let Some(id) = self.evidence.latched()? {
            return Err(Refusal::Latched { id }.into());
        }
        // Somebody may have been counted, or been struck out, while the artifact came.
        self.config.check_unchanged(self.clock.now())?;
        let Decided { agreed, proof } = decided;
        let installed = (self.root.switch(&agreed, staged, &proof.to_string(), self.clock.now()))
            .map_err(install_failure)?;
        self.state.floor = installed.sequence;
        self.state.catalog.forget_below(installed.sequence);
        self.save()?;
        Ok(Outcome::Installed(installed))
    }

    fn mirrors_in_any_order(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut mirrors = self.mirrors.clone();
        mirrors.shuffle(rng);
        mirrors
    }

    /// The whole cycle up to the decision. `None`: everybody agrees that nothing is new.
    async fn decide(
        &mut self,
        report: &mut Report,
        rng: &mut impl Rng,
    ) -> Result<Option<Decided>, Failure> {
        // Called a second time in one cycle, it adds to what the first found worth telling.
        let Report { remarks, refused: told, .. } = std::mem::take(report);
        *report = Report { remarks, refused: told.clone(), ..Report::default() };
        if let Some(id) = self.evidence.latched()? {
            return Err(Refusal::Latched { id }.into());
        }
        self.check_clock()?;
        let config = self.config;
        let called = ask::call(config, self.transport, self.clock, &self.state.largest, rng).await;
        report.peers = (called.roll.answers().iter())
            .map(|(peer, answer)| (peer.name.to_string(), answer.clone()))
            .collect();
        if let Some(evidence) = called.evidence {
            return Err(self.latch(*evidence)?.into());
        }
        self.remember(&called)?;
        let roll = called.roll;

        let mirrors = self.mirrors_in_any_order(rng);
        let mirrors: Vec<&Mirror> = mirrors.iter().collect();
        let shown = read::checkpoints(&mirrors, &config.policy.log).await;
        report.mirrors =
            (shown.iter()).map(|(mirror, head)| (mirror.to_string(), head.clone())).collect();
        let sources = Sources::new(config, self.transport, &mirrors);
        let mut heard = self.known_heads()?;
        heard.extend(called.heads);
        heard.extend(shown.iter().filter_map(|(_, head)| head.clone().ok()));
        let trusted: Vec<Head> = self.trusted_heads().cloned().collect();
        // The rolls that a release waits with are worth tying as well: else it would settle anew.
        let rolls = self.state.rolls.iter().chain([&roll]);
        let views: Vec<Head> =
            rolls.flat_map(Roll::views).map(|view| view.head().clone()).collect();
        let read = loop {
            let joined = match heads::join(heard.clone(), &trusted, &views, &sources).await {
                Ok(Some(joined)) => joined,
                Ok(None) => break None,
                Err(evidence) => return Err(self.latch(*evidence)?.into()),
            };
            let head = joined.chain.head().clone();
            let common = roll.common_size(&config.peers, &joined.chain);
            let tiles = sources.starting_with(joined.source);
            let reading =
                read::entries(&shown, tiles, &self.state, &config.policy, &head, common).await;
            match reading {
                // What no peer vouches for, and nobody can read, must not hold back what all confirm.
                Err(why) if !trusted.contains(&head) && !views.contains(&head) => {
                    let why = format!("left out, as no peer vouches for it: {head} ({why})");
                    report.remarks.push(why);
                    heard.retain(|other| *other != head);
                }
                reading => break Some((joined, common, reading)),
            }
        };
        self.check_mirrors(&shown, read.as_ref().map(|(joined, ..)| joined.chain.head()))?;
        let Some((heads::Joined { chain, source, untied }, common, reading)) = read else {
            let why = |(mirror, head): &(&Mirror, Result<Head, String>)| match head {
                Ok(head) => format!("{mirror}: serves no tiles that hash up to its {head}"),
                Err(why) => format!("{mirror}: {why}"),
            };
            return Err(UpdateError::Mirrors(shown.iter().map(why).collect()).into());
        };
        report.remarks.extend(untied.iter().map(|head| {
            format!("a head signed by the log could not be tied to the others: {head}")
        }));
        report.head = Some(chain.head().clone());
        for trusted in self.trusted_heads() {
            if !chain.holds(trusted) {
                return Err(UpdateError::Untied { trusted: trusted.clone() }.into());
            }
        }

        let reading = reading?;
        report.unknown_kinds = reading.unknown_kinds;
        let choice = reading.catalog.choose(&config.policy, self.state.floor, self.clock.now());
        let mut refused = reading.refused;
        for (index, refusal) in choice.refused {
            if !refused.iter().any(|(known, _)| *known == index) {
                refused.push((index, refusal));
            }
        }
        refused.retain(|(index, refusal)| self.is_news(*index, refusal));
        refused.retain(|(index, _)| !told.iter().any(|(known, _)| known == index));
        refused.extend(told);
        refused.sort_by_key(|(index, _)| *index);
        report.refused = refused;

        let Some(common) = common else {
            let missing = roll.missing(&config.peers, &chain, None);
            return Err(Refusal::Incomplete(self.since(missing)).into());
        };
        // Everybody agrees on the log up to `common`: now, and only now, that is remembered.
        let candidates = choice.candidates;
        // Entries beyond it are told again: a mirror alone must not be able to hush anything up.
        self.state.reported = self.state.reported.max(common);
        self.adopt(&chain, &roll, common, reading.at_common, &candidates)?;

        let mut best: Option<Failure> = None;
        for signed in candidates {
            let index = signed.index();
            let hosts = || sources.starting_with(source);
            let logged = heads::logged(&signed, &chain, self.state.head.as_ref(), hosts()).await?;
            let earlier = self.earliest_roll(&chain, index);
            match logged.agreed(&chain, &config.peers, &config.limits, earlier, &roll) {
                Ok(agreed) => {
                    let proof = heads::bundle(&agreed, config, hosts()).await?;
                    let agreed = Box::new(agreed);
                    return Ok(Some(Decided { agreed, proof }));
                }
                // The newest release's state is the one worth telling.
                Err(refusal) => {
                    let refusal = match refusal {
                        Refusal::Incomplete(missing) => Refusal::Incomplete(self.since(missing)),
                        other => other,
                    };
                    best.get_or_insert(refusal.into());
                }
            }
        }
        if let Some(failure) = best {
            return Err(failure);
        }
        let first = report.refused.first().map(|(_, refusal)| refusal.clone());
        first.map_or(Ok(None), |refusal| Err(refusal.into()))
    }

    /// Names the mirrors when all of them show less than others have: a rollback below what we
    /// trust, or a frozen world.
    fn check_mirrors(
        &self,
        shown: &[(&Mirror, Result<Head, String>)],
        newest: Option<&Head>,
    ) -> Result<(), Refusal> {
        let best = shown
            .iter()
            .filter_map(|(mirror, head)| Some((mirror, head.as_ref().ok()?.size())))
            .max_by_key(|(_, size)| *size);
        let Some((mirror, shown)) = best else { return Ok(()) };
        let mirror = mirror.to_string();
        let trusted = self.trusted_heads().map(Head::size).max().unwrap_or(0);
        let newest = newest.map_or(0, Head::size);
        if shown < trusted {
            Err(Refusal::MirrorRollback { mirror, shown, known: trusted })
        } else if shown < newest {
            Err(Refusal::Stale { mirror, shown, known: newest })
        } else {
            Ok(())
        }
    }
}

struct Decided {
    agreed: Box<Agreed>,
    proof: Bundle,
}

impl Decided {
    fn outcome(self) -> Outcome {
        Outcome::Available(self.agreed)
    }
}

fn install_failure(error: InstallError) -> Failure {
    match error {
        InstallError::Refused(refusal) => refusal.into(),
        InstallError::Disk(error) => error.into(),
        InstallError::Source(error) => UpdateError::Mirrors(vec![error.to_string()]).into(),
    }
}
