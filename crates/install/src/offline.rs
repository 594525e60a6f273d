//! Installing by somebody who has no network, what somebody else fetched who is not believed.
//!
//! The installer has its own memory ([`Installer::open`]), its own list of peers, its own clock, and
//! the files of a [`Spool`]. From these it finds out again all that a cycle of the client would:
//!
//! 1. the proof bundle verifies: the publisher's threshold, the log, every peer in both rolls;
//! 2. every peer's latest cosignature is younger than `freshness`, and none is from the future;
//! 3. every entry from its own stored head to the bundle's is there, hashes to that head, comes past
//!    the pinned one, and leaves the release standing: no conflict, nothing newer in a format that it
//!    cannot read;
//! 4. the release is newer than what is installed;
//! 5. the artifact, copied to where only the installer writes, has the signed length and digest.
//!
//! Whoever fetches can therefore hold a release back for as long as `freshness`, and no longer without
//! being refused; whether there is a newer one, nobody can know who has no network.

use std::io::BufReader;
use std::io::{self};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use unanimity_config::{Config, ConfigError};
use unanimity_protocol::decision::admission::CLOCK_SKEW;
use unanimity_protocol::proof_bundle::{BundleError, MAX_BUNDLE_BYTES};
use unanimity_protocol::tree::Frontier;
use unanimity_protocol::{Agreed, Bundle, Catalog, Hash, Head, Refusal, Roll, Timestamp};
use unanimity_report::{Classify, Exit};
use unanimity_state::{ClientState, ClientStore, EvidenceStore, LogForked, StoreError};
use unanimity_storage::{Clock, Disk, DiskError, Mode};

use crate::runner::HookRunner;
use crate::spool::{ENTRIES, PROOF, Spool, SpoolError, read_entries};
use crate::{InstallError, InstallRefusal, Installed, ReplayMismatch, Root, Staging, target_of};

/// The installer's own directory, below the install root.
const STATE: &str = "installer";
/// The head that it trusts, for whoever fetches to begin from. Anybody may read it.
const HEAD: &str = "head";
/// Bytes of an artifact that are copied at once.
const PIECE: usize = 1 << 20;

/// Why nothing was installed from a spool.
#[derive(Debug, thiserror::Error)]
pub enum StagedError {
    /// A check failed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A check of installing failed.
    #[error(transparent)]
    Install(#[from] InstallRefusal),
    /// The spool's entries do not lead to its proof.
    #[error(transparent)]
    Replay(#[from] ReplayMismatch),
    /// Evidence of a fork is not acknowledged.
    #[error(transparent)]
    Latched(#[from] LogForked),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// Its proof is none.
    #[error("the spool's proof: {0}")]
    Proof(#[from] BundleError),
    /// The installer's own files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What the installer was told is something else by now.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A command that belongs to installing cannot be run.
    #[error(transparent)]
    Command(InstallError),
    /// Another process is installing.
    #[error("another unanimity is installing to {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// The clock stands before a time that was already verified.
    #[error("the clock shows {now}, and {newest} was verified before: check the clock")]
    Clock {
        /// What it shows.
        now: Timestamp,
        /// When the newest roll was that an install rested on.
        newest: Timestamp,
    },
    /// What was fetched was fetched for a head that the installer no longer has.
    #[error(
        "the spool's entries begin at {first}, and the installer's head is of size {held}: run `unanimity update --stage` again"
    )]
    Gap {
        /// The first entry in it.
        first: u64,
        /// How many the installer has read.
        held: u64,
    },
}

impl From<InstallError> for StagedError {
    fn from(error: InstallError) -> StagedError {
        match error {
            InstallError::Refused(refusal) => refusal.into(),
            InstallError::Install(refusal) => refusal.into(),
            InstallError::Disk(error) => error.into(),
            InstallError::Busy(path) | InstallError::Switching(path) => StagedError::Busy(path),
            error @ InstallError::Command { .. } => StagedError::Command(error),
            InstallError::Source(source) => {
                SpoolError::Io { path: PathBuf::from("the artifact"), source }.into()
            }
        }
    }
}

/// Where the installer remembers: its own head, evidence.
pub fn installer_state(install_root: &Path) -> PathBuf {
    install_root.join(STATE)
}

/// Where the installer publishes the head that it trusts.
pub fn published_head(install_root: &Path) -> PathBuf {
    install_root.join(HEAD)
}

/// An installer with its memory open.
pub struct Installer<'a> {
    config: &'a Config,
    disk: Disk,
    root: Root,
    store: ClientStore,
    state: ClientState,
    evidence: EvidenceStore,
}

impl<'a> Installer<'a> {
    /// Opens its memory, below the install root, as its only user. The root has to be its own.
    pub fn open(config: &'a Config, disk: Disk) -> Result<Installer<'a>, StagedError> {
        let root = Root::new(&config.install_root, disk.clone()).with(config.procedure.clone());
        let directory = installer_state(&config.install_root);
        let above = &config.install_root;
        disk.make_dir(above, Mode::Public).map_err(DiskError::at(above))?;
        let (store, mut state) =
            ClientStore::open(&directory, &config.policy, &config.peers, disk.clone())?;
        state.floor = state.floor.max(root.floor()?);
        let evidence = EvidenceStore::new(&directory, &config.policy.log, disk.clone());
        let installer = Installer { config, disk, root, store, state, evidence };
        installer.publish()?;
        Ok(installer)
    }

    /// The same installer, whose commands are run by `hooks`.
    pub fn hooks_run_by(self, hooks: Arc<dyn HookRunner>) -> Installer<'a> {
        Installer { root: self.root.hooks_run_by(hooks), ..self }
    }

    /// Installs what is in the spool, if all of it holds by the clock.
    pub async fn install(
        &mut self,
        spool: &Spool,
        freshness: Duration,
        clock: &impl Clock,
    ) -> Result<Installed, StagedError> {
        let now = clock.now();
        if let Some(id) = self.evidence.latched()? {
            return Err(LogForked { id }.into());
        }
        let newest = self.state.newest;
        if now.after(CLOCK_SKEW) < newest {
            return Err(StagedError::Clock { now, newest });
        }
        let text = spool.read(PROOF, MAX_BUNDLE_BYTES)?;
        let bundle = Bundle::parse(&String::from_utf8_lossy(&text))?;
        let (policy, config) = (&self.config.policy, self.config);
        let verified = bundle.verify(policy, &config.peers, &config.limits);
        let agreed = match verified.and_then(|agreed| agreed.fresh(freshness, now)) {
            Err(Refusal::Fork(evidence)) => {
                self.evidence.add(&evidence)?;
                return Err(Refusal::Fork(evidence).into());
            }
            verified => verified?,
        };
        let (manifest, floor) = (agreed.manifest().clone(), self.state.floor);
        let replayed = self.replay(&agreed, spool);
        // Whatever becomes of this release.
        if let Ok(Replayed { all, .. }) = &replayed
            && self.state.catalog.learn_withdrawals(all)
        {
            self.store.save(&self.state)?;
        }
        if manifest.sequence <= floor {
            return Err(Refusal::Rollback { offered: manifest.sequence, floor }.into());
        }
        self.root.journal()?.may_try(&manifest.label(), now)?;
        let Replayed { frontier, mut catalog, all } = replayed?;
        catalog.learn_withdrawals(&all);
        self.check_standing(&agreed, &all, now)?;

        let target = target_of(&manifest, &config.platform)?;
        let mut source = spool.file(&Root::packed(&manifest, target))?;
        let mut staging = self.root.stage(&agreed, &config.platform)?;
        // Never what an earlier run left: nothing tells whose bytes those were.
        staging.restart()?;
        let ready = match copy(&mut source, &mut staging) {
            Ok(()) => staging.finish()?.unpack()?,
            Err(error) => {
                staging.discard()?;
                return Err(error.into());
            }
        };
        // Somebody may be struck out while `pre_install` runs.
        let may_still = || Ok::<_, StagedError>(self.config.check_unchanged(clock.now())?);
        let root = self.root.clone().knowing(all.withdrawn());
        let begun = root.begin(&agreed, clock, may_still).await?;
        let proven = begun.finish(&agreed, ready, &bundle.to_string(), clock).await?;
        let remembered = self.remember(&agreed, frontier, catalog);
        let installed = proven.when_good().await;
        remembered?;
        Ok(installed)
    }

    /// Reads every entry from our own head to the bundle's, or from the first if other publishers are
    /// configured than were when it was read. Every head that is trusted here has to be on the way.
    fn replay(&self, agreed: &Agreed, spool: &Spool) -> Result<Replayed, StagedError> {
        let (policy, head) = (&self.config.policy, agreed.head());
        let (mut frontier, mut catalog) = (self.state.frontier.clone(), self.state.catalog.clone());
        let held = frontier.size();
        let [_, latest] = agreed.rolls();
        let common = smallest(latest).map_or(0, Head::size);
        let known = self.state.head.as_ref().map_or(0, Head::size);
        if common < known {
            return Err(ReplayMismatch::Behind { proven: common, known }.into());
        }
        let is_elsewhere = |head: &Head, frontier: &Frontier| {
            head.size() != frontier.size() || *head.root() != frontier.root()
        };
        let mut unmet: Vec<&Head> = (self.state.head.iter().chain(&self.config.pinned))
            .filter(|trusted| trusted.size() >= held && is_elsewhere(trusted, &frontier))
            .collect();
        let mut edge = (common == held).then(|| (frontier.clone(), catalog.clone()));
        let mut first = None;
        let read = read_entries(BufReader::new(spool.file(ENTRIES)?), |index, entry| {
            if *first.get_or_insert(index) > held {
                return false;
            }
            if index < held {
                return true;
            }
            frontier.push(Hash::leaf(entry));
            catalog.read(index, entry, policy);
            unmet.retain(|trusted| is_elsewhere(trusted, &frontier));
            if frontier.size() == common {
                edge = Some((frontier.clone(), catalog.clone()));
            }
            frontier.size() < head.size()
        });
        read.map_err(|source| SpoolError::Io { path: PathBuf::from(ENTRIES), source })?;
        if let Some(first) = first.filter(|first| *first > held) {
            return Err(StagedError::Gap { first, held });
        }
        if (frontier.size(), frontier.root()) != (head.size(), *head.root()) {
            return Err(ReplayMismatch::Entries { held, head: head.clone() }.into());
        }
        if let Some(trusted) = unmet.first() {
            let (head, trusted) = (Box::new(head.clone()), Box::new((*trusted).clone()));
            return Err(ReplayMismatch::OtherLog { head, trusted }.into());
        }
        // The views are prefixes of the head, so the smallest is passed on the way to it.
        let (frontier, edge) = edge.ok_or(ReplayMismatch::NotPassed)?;
        Ok(Replayed { frontier, catalog: edge, all: catalog })
    }

    /// Refuses a release that something speaks against in the log that it is in.
    fn check_standing(
        &self,
        agreed: &Agreed,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<(), StagedError> {
        let choice = catalog.choose(&self.config.policy, self.state.floor, now);
        let index = agreed.entry().index;
        if !choice.candidates.iter().any(|signed| signed.index() == index) {
            let label = agreed.manifest().label();
            let speaks = |(at, refusal): &(u64, Refusal)| match refusal {
                Refusal::Conflict { first, second, .. } => [*first, *second].contains(&index),
                Refusal::Withdrawn { release, .. } => *release == label,
                _ => *at == index,
            };
            let refused = choice.refused.into_iter().find(speaks).map(|(_, refusal)| refusal);
            return Err(refused.map_or_else(
                || ReplayMismatch::NotOffered(label.clone()).into(),
                StagedError::Refused,
            ));
        }
        Ok(())
    }

    fn remember(
        &mut self,
        agreed: &Agreed,
        frontier: Frontier,
        catalog: Catalog,
    ) -> Result<(), StagedError> {
        let [_, latest] = agreed.rolls();
        self.state.head = smallest(latest).cloned();
        self.state.frontier = frontier;
        self.state.catalog = catalog;
        self.state.floor = agreed.manifest().sequence;
        self.state.catalog.forget_below(self.state.floor);
        self.state.newest = self.state.newest.max(latest.at());
        self.state.unanimous_at = Some(latest.at());
        self.store.save(&self.state)?;
        self.publish()
    }

    /// Says where to begin reading, for whoever fetches: at our head, or else at the first entry.
    fn publish(&self) -> Result<(), StagedError> {
        let path = published_head(&self.config.install_root);
        let read_to = self.state.frontier.size();
        let published = match self.state.head.as_ref().filter(|head| head.size() == read_to) {
            Some(head) => self.disk.write(&path, head.note().as_bytes(), Mode::Public),
            None => self.disk.remove(&path),
        };
        Ok(published.map_err(DiskError::at(&path))?)
    }
}

/// What the entries up to a bundle's head came to.
struct Replayed {
    /// The tree's edge where every peer confirmed it.
    frontier: Frontier,
    /// The releases below that.
    catalog: Catalog,
    /// The same up to the head itself.
    all: Catalog,
}

/// Copies an artifact, and measures what was copied.
fn copy(from: &mut impl io::Read, to: &mut Staging) -> Result<(), InstallError> {
    loop {
        let mut piece = vec![0; PIECE];
        match from.read(&mut piece) {
            Ok(0) => return Ok(to.check()?),
            Ok(count) => {
                piece.truncate(count);
                to.write(vec![piece])?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(InstallError::Source(error)),
        }
    }
}

/// What every peer of a roll confirmed.
fn smallest(roll: &Roll) -> Option<&Head> {
    roll.views().map(|view| view.head()).min_by_key(|head| head.size())
}

impl Classify for SpoolError {
    fn exit(&self) -> Exit {
        Exit::Disk
    }
}

impl Classify for StagedError {
    fn exit(&self) -> Exit {
        match self {
            StagedError::Refused(refusal) => refusal.exit(),
            StagedError::Install(refusal) => refusal.exit(),
            StagedError::Replay(mismatch) => mismatch.exit(),
            StagedError::Latched(forked) => forked.exit(),
            StagedError::Proof(_) => Exit::BadProof,
            StagedError::Gap { .. } => Exit::BadInput,
            StagedError::Clock { .. } => Exit::Clock,
            StagedError::Config(_) | StagedError::Command(_) => Exit::Configuration,
            StagedError::Spool(_)
            | StagedError::Store(_)
            | StagedError::Disk(_)
            | StagedError::Busy(_) => Exit::Disk,
        }
    }
}
