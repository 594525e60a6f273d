//! The witness: its head, its polls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng, RngExt as _, SeedableRng as _};
use tokio::sync::Notify;
use tokio::time::sleep;
use unanimity_config::PollingSettings;
use unanimity_log::{PendingGrowth, TileReader, TileStore, hedged_after};
use unanimity_net::{Listener, Mirror};
use unanimity_protocol::decision::admission::CLOCK_SKEW;
use unanimity_protocol::note::MAX_NOTE_BYTES;
use unanimity_protocol::{CosignatureSigningKey, Evidence, Hash, Log, Timestamp, TreeHead, tree};
use unanimity_report::redact;
use unanimity_state::EvidenceStore;
use unanimity_storage::{Clock, Lock, Mode, Storage, StorageError};

use crate::entry_files;

/// How long one mirror has to itself in a poll: what is new of a log comes in a fraction of that.
const POLL_PATIENCE: Duration = Duration::from_secs(60);

/// Who we are and what we follow.
#[derive(Debug)]
pub struct WitnessConfig {
    /// The log.
    pub log: Log,
    /// What our views are cosigned with.
    pub signing_key: CosignatureSigningKey,
    /// Our own mirrors of it.
    pub mirrors: Vec<Mirror>,
    /// When we look at them.
    pub polling: PollingSettings,
}

/// A peer, ready to poll and to answer.
#[derive(Debug)]
pub struct Witness<C> {
    pub(crate) config: WitnessConfig,
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    pub(crate) clock: C,
    pub(crate) evidence: EvidenceStore,
    fork_found: Notify,
    /// A mirror has shown our head: what we do not hold of its entries can be had.
    head_shown: Notify,
    state: Mutex<WitnessState>,
    _lock: Lock,
}

#[derive(Debug)]
pub(crate) struct WitnessState {
    /// The largest head whose tree our mirrors served and we hold. Durable.
    pub(crate) head: Option<TreeHead>,
    /// That tree.
    pub(crate) tiles: TileStore,
    /// When a mirror last showed a head at least that large; before that, when we started.
    pub(crate) last_shown_at: Timestamp,
    /// Whether a mirror has shown us anything since we started.
    shown_since_start: bool,
    /// How many entries we hold for others, from the first on. Never more than the tree's leaves.
    pub(crate) entries: u64,
}

impl WitnessState {
    pub(crate) fn is_fresh(&self, now: Timestamp, polling: &PollingSettings) -> bool {
        // A poll that is yet to come was noted by a clock that was wrong.
        let since = self.last_shown_at <= now.after(CLOCK_SKEW);
        self.shown_since_start && since && now <= self.last_shown_at.after(polling.max_age)
    }
}

/// The peer cannot go on, or a mirror is of no use.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Our own disk.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another process is this peer.
    #[error("another unanimity is using {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// What one mirror served is of no use; the next is tried.
    #[error("{mirror}: {why}")]
    Mirror {
        /// Which.
        mirror: String,
        /// What is wrong with it.
        why: String,
    },
    /// The entries below our head cannot be kept for others.
    #[error("no mirror serves the entries below our head:{}", indent_lines(.0))]
    Entries(Vec<String>),
}

fn indent_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// What a poll came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// A mirror showed a head at least as large as ours, and ours is that now.
    Fresh(TreeHead),
    /// No mirror showed as much as we hold, or none could be read.
    NoFreshHead,
    /// The log has forked; the evidence is stored.
    Fork(Box<Evidence>),
}

/// Where a head that somebody else showed stands beside ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadRelation {
    /// Ours grew out of it.
    Ancestor,
    /// It is larger than what our own mirrors have shown us so far.
    Ahead,
    /// The log has forked; the evidence is stored.
    Fork(Box<Evidence>),
}

impl<C: Clock> Witness<C> {
    /// Opens the peer's own head and tree in `state/peer`. Takes the lock there.
    pub fn open(
        config: WitnessConfig,
        state: &Path,
        disk: Storage,
        clock: C,
    ) -> Result<Witness<C>, WitnessError> {
        let directory = state.join("peer");
        disk.make_dir(&directory, Mode::Private).map_err(StorageError::at(&directory))?;
        let lock = disk.lock(&directory).map_err(StorageError::at(&directory))?;
        let lock = lock.ok_or_else(|| WitnessError::Busy(directory.clone()))?;
        let path = directory.join("head");
        let damaged = || StorageError::Corrupt {
            path: path.clone(),
            remedy: "restore the peer's directory from a backup; a peer that forgot its head must not cosign with its old key",
        };
        // A run that was killed may have named a head and not come to sync the name.
        disk.sync_dir(&directory).map_err(StorageError::at(&directory))?;
        let head = match disk.read(&path, MAX_NOTE_BYTES)? {
            Some(bytes) => Some(TreeHead::verify(&bytes, &config.log).map_err(|_| damaged())?),
            None => None,
        };
        let size = head.as_ref().map_or(0, TreeHead::size);
        let tiles = TileStore::open(&directory, size, Mode::Private, disk.clone())?;
        if head.as_ref().is_some_and(|head| tiles.root() != *head.root()) {
            return Err(damaged().into());
        }
        let evidence = EvidenceStore::new(state, &config.log, disk.clone());
        let entries = entry_files::count_held_entries(&directory, size, &disk)?;
        let state = WitnessState {
            head,
            tiles,
            last_shown_at: clock.now(),
            shown_since_start: false,
            entries,
        };
        let state = Mutex::new(state);
        Ok(Witness {
            config,
            directory,
            disk,
            clock,
            evidence,
            fork_found: Notify::new(),
            head_shown: Notify::new(),
            state,
            _lock: lock,
        })
    }

    /// Our head.
    pub fn head(&self) -> Option<TreeHead> {
        self.state().head.clone()
    }

    /// Whether a mirror has shown that head lately, so that we vouch for it.
    pub fn is_fresh(&self) -> bool {
        self.state().is_fresh(self.clock.now(), &self.config.polling)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, WitnessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the mirrors, in an order drawn anew, until one shows a head at least as large as ours.
    /// One that takes its time has the next looked at beside it.
    pub async fn poll(&self, rng: &mut impl Rng) -> Result<PollOutcome, WitnessError> {
        let mirrors = self.shuffled_mirrors(rng);
        let polled = hedged_after(POLL_PATIENCE, &mirrors, |mirror| {
            let polled = self.poll_mirror(mirror).map(|polled| match polled {
                Ok(PollOutcome::NoFreshHead) => Err(()),
                Err(error @ WitnessError::Mirror { .. }) => {
                    tracing::warn!("poll: {}", redact(error));
                    Err(())
                }
                polled => Ok(polled),
            });
            polled.boxed()
        });
        polled.await.unwrap_or(Ok(PollOutcome::NoFreshHead))
    }

    /// Our own mirrors, in an order drawn anew, each on circuits of its own.
    pub(crate) fn shuffled_mirrors(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut mirrors: Vec<Mirror> = self.config.mirrors.iter().map(Mirror::isolated).collect();
        mirrors.shuffle(rng);
        mirrors
    }

    async fn poll_mirror(&self, mirror: &Mirror) -> Result<PollOutcome, WitnessError> {
        let useless = |why: String| WitnessError::Mirror { mirror: mirror.to_string(), why };
        let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
        let bytes = bytes.map_err(|error| useless(error.to_string()))?;
        let shown = TreeHead::verify(&bytes, &self.config.log)
            .map_err(|error| useless(error.to_string()))?;
        let ours = self.head();
        let size = ours.as_ref().map_or(0, TreeHead::size);
        if shown.size() <= size
            && let Some(ours) = &ours
        {
            return self.compare_mirror_head(ours, &shown);
        }
        let source = TileReader::new(mirror);
        let leaves = unanimity_log::read_leaves(&mirror, size..shown.size()).await;
        let leaves = leaves.map_err(|error| useless(error.to_string()))?;
        let growth = self.state().tiles.grow(leaves);
        if growth.size() == shown.size() && growth.root() == *shown.root() {
            return self.advance(ours.as_ref(), shown, growth);
        }
        // Either the mirror's tiles are bad, or the log forked below our head: its own tiles tell.
        if let Some(ours) = &ours
            && let Ok(path) = source.consistency_path(ours.size(), &shown).await
            && let Some(evidence) = Evidence::from_heads(ours, &shown, &path)
        {
            return self.latch(evidence).map(PollOutcome::Fork);
        }
        Err(useless("its tiles do not hash up to its checkpoint".to_owned()))
    }

    /// A head of our own mirror's that is not larger than ours.
    fn compare_mirror_head(
        &self,
        ours: &TreeHead,
        shown: &TreeHead,
    ) -> Result<PollOutcome, WitnessError> {
        if shown == ours {
            let mut state = self.state();
            if state.head.as_ref() != Some(ours) {
                return Ok(PollOutcome::NoFreshHead);
            }
            (state.last_shown_at, state.shown_since_start) = (self.clock.now(), true);
            return Ok(PollOutcome::Fresh(shown.clone()));
        }
        match self.compare_head(shown)? {
            HeadRelation::Fork(evidence) => Ok(PollOutcome::Fork(evidence)),
            HeadRelation::Ancestor | HeadRelation::Ahead => Ok(PollOutcome::NoFreshHead),
        }
    }

    /// Holds a head that anybody showed against our own tree. It is compared, never adopted.
    pub fn compare_head(&self, head: &TreeHead) -> Result<HeadRelation, WitnessError> {
        let state = self.state();
        let Some(ours) = state.head.clone().filter(|ours| head.size() <= ours.size()) else {
            return Ok(HeadRelation::Ahead);
        };
        let path = state.tiles.range_roots(&tree::consistency_ranges(head.size(), ours.size()))?;
        drop(state);
        match Evidence::from_heads(head, &ours, &path) {
            Some(evidence) => self.latch(evidence).map(HeadRelation::Fork),
            None => Ok(HeadRelation::Ancestor),
        }
    }

    /// The root that our tree had when it was smaller. `None` if it is not that large yet.
    pub fn root_at(&self, size: u64) -> Result<Option<Hash>, StorageError> {
        let state = self.state();
        if size > state.tiles.size() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(Hash::empty_root()));
        }
        Ok(state.tiles.range_roots(std::slice::from_ref(&(0..size)))?.pop())
    }

    /// Compare-and-swap: moves the head if it is still the one that the growth was hashed onto.
    fn advance(
        &self,
        from: Option<&TreeHead>,
        to: TreeHead,
        growth: PendingGrowth,
    ) -> Result<PollOutcome, WitnessError> {
        let mut state = self.state();
        if state.head.as_ref() != from {
            return Ok(PollOutcome::NoFreshHead);
        }
        // Head and tree move together: a tree ahead of its head could not be grown onto.
        let mut tiles = state.tiles.clone();
        tiles.commit(growth)?;
        let path = self.directory.join("head");
        (self.disk.write(&path, to.note().as_bytes(), Mode::Private))
            .map_err(StorageError::at(&path))?;
        (state.head, state.tiles) = (Some(to.clone()), tiles);
        (state.last_shown_at, state.shown_since_start) = (self.clock.now(), true);
        Ok(PollOutcome::Fresh(to))
    }

    /// Completes once evidence of a fork was found here that was not known before; one call hears of
    /// all that was found since the last.
    pub async fn wait_for_fork(&self) {
        self.fork_found.notified().await;
    }

    fn latch(&self, evidence: Evidence) -> Result<Box<Evidence>, WitnessError> {
        let is_new = !self.evidence.contains(&evidence.id());
        let id = self.evidence.add(&evidence)?;
        // Those who forked the log may go on showing it at every poll.
        if is_new {
            tracing::error!(%id, "the log has forked; from now on this peer answers with the evidence");
            self.fork_found.notify_one();
        }
        Ok(Box::new(evidence))
    }

    /// Polls at random times, for ever, and fetches what it keeps for others between them: a mirror
    /// that is slow with entries does not hold up the next poll.
    pub async fn poll_loop(&self, mut rng: impl Rng) {
        let PollingSettings { min, max, .. } = self.config.polling;
        let mut entries_rng = StdRng::from_rng(&mut rng);
        let polls = async {
            loop {
                match self.poll(&mut rng).await {
                    Ok(PollOutcome::Fresh(_)) => self.head_shown.notify_one(),
                    Ok(_) => {}
                    Err(error) => tracing::error!("poll: {}", redact(error)),
                }
                sleep(rng.random_range(min..=max)).await;
            }
        };
        let fills = async {
            loop {
                self.head_shown.notified().await;
                if let Err(error) = self.fetch_entries(&mut entries_rng).await {
                    tracing::warn!("{}", redact(error));
                }
            }
        };
        tokio::join!(polls, fills);
    }

    /// Polls and answers until `shutdown` completes or the listener ends.
    pub async fn run(
        self: Arc<Self>,
        listener: impl Listener,
        rng: impl Rng,
        shutdown: impl Future<Output = ()>,
    ) where
        C: 'static,
    {
        tokio::select! {
            biased;
            () = shutdown => {}
            () = self.clone().serve_connections(listener) => {}
            () = self.poll_loop(rng) => {}
        }
    }
}
