//! The witness: its durable head and tree, its polls, and the evidence of a fork.

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

/// Time after which a poll queries the next mirror in parallel. New entries usually arrive in a
/// fraction of this time.
const POLL_PATIENCE: Duration = Duration::from_secs(60);

/// Settings of a witness: its log, its key, its mirrors, and when it polls.
#[derive(Debug)]
pub struct WitnessConfig {
    /// The log that the witness follows.
    pub log: Log,
    /// The key that signs the witness's cosigned heads.
    pub signing_key: CosignatureSigningKey,
    /// The witness's own mirrors of the log.
    pub mirrors: Vec<Mirror>,
    /// Times between polls, and the age from which the last poll is too old.
    pub polling: PollingSettings,
}

/// A witness with its state open, ready to poll and to answer. `C` is its clock.
#[derive(Debug)]
pub struct Witness<C> {
    pub(crate) config: WitnessConfig,
    pub(crate) directory: PathBuf,
    pub(crate) disk: Storage,
    pub(crate) clock: C,
    pub(crate) evidence: EvidenceStore,
    /// Signals new evidence of a fork.
    fork_found: Notify,
    /// Signals that a mirror has shown the head, so that missing entries can be fetched.
    head_shown: Notify,
    state: Mutex<WitnessState>,
    _lock: Lock,
}

#[derive(Debug)]
pub(crate) struct WitnessState {
    /// The largest head whose tree the mirrors served and the witness has stored. Durable.
    pub(crate) head: Option<TreeHead>,
    /// The tree of the head.
    pub(crate) tiles: TileStore,
    /// Time of the last poll in which a mirror showed this head. Before the first such poll, the
    /// time at which the witness was opened.
    pub(crate) last_shown_at: Timestamp,
    /// Whether a mirror has shown the head since the start.
    shown_since_start: bool,
    /// Number of stored entries, from the first on. Never more than the leaves of the tree.
    pub(crate) entries: u64,
}

impl WitnessState {
    pub(crate) fn is_fresh(&self, now: Timestamp, polling: &PollingSettings) -> bool {
        // A last poll in the future was recorded by a wrong clock.
        let since = self.last_shown_at <= now.after(CLOCK_SKEW);
        self.shown_since_start && since && now <= self.last_shown_at.after(polling.max_age)
    }
}

/// Why a witness cannot open its state, poll its mirrors, or fetch entries.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The witness's own storage failed.
    #[error(transparent)]
    Disk(#[from] StorageError),
    /// Another process has opened the state of this witness.
    #[error("another unanimity is using {}: wait for it to end", .0.display())]
    Busy(PathBuf),
    /// One mirror cannot be read, or serves invalid data. The poll tries the next mirror.
    #[error("{mirror}: {why}")]
    Mirror {
        /// The mirror.
        mirror: String,
        /// What is wrong with its answers.
        why: String,
    },
    /// No mirror serves the missing entries. One line for each mirror.
    #[error("no mirror serves the entries below this witness's head:{}", indent_lines(.0))]
    Entries(Vec<String>),
}

fn indent_lines(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Result of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollOutcome {
    /// A mirror showed this head, which is now the head of the witness. It is the previous head or
    /// a larger one.
    Fresh(TreeHead),
    /// No mirror showed the witness's head, or a larger head with a tree that extends it.
    NoFreshHead,
    /// The log has forked; the evidence is stored.
    Fork(Box<Evidence>),
}

/// Relation of another head to the head of the witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadRelation {
    /// The witness's head equals the other head or extends it.
    Ancestor,
    /// The other head is larger than the witness's head, or the witness has no head yet.
    Ahead,
    /// The log has forked; the evidence is stored.
    Fork(Box<Evidence>),
}

impl<C: Clock> Witness<C> {
    /// Opens the witness's head and tree in `state/peer`, and takes the lock there.
    ///
    /// # Errors
    ///
    /// [`WitnessError::Busy`] if another process holds the lock. [`StorageError::Corrupt`] if the
    /// head does not verify, or if the stored tree has another root than the head.
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
        let corrupt = || StorageError::Corrupt {
            path: path.clone(),
            remedy: "restore the peer's directory from a backup; a witness that forgot its head must not cosign with its old key",
        };
        // A killed run may have named a head without syncing the directory.
        disk.sync_dir(&directory).map_err(StorageError::at(&directory))?;
        let head = match disk.read(&path, MAX_NOTE_BYTES)? {
            Some(bytes) => Some(TreeHead::verify(&bytes, &config.log).map_err(|_| corrupt())?),
            None => None,
        };
        let size = head.as_ref().map_or(0, TreeHead::size);
        let tiles = TileStore::open(&directory, size, Mode::Private, disk.clone())?;
        if head.as_ref().is_some_and(|head| tiles.root() != *head.root()) {
            return Err(corrupt().into());
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

    /// The largest head that the witness has verified from its own mirrors.
    pub fn head(&self) -> Option<TreeHead> {
        self.state().head.clone()
    }

    /// Whether a mirror has shown the head recently, so that the witness cosigns it.
    pub fn is_fresh(&self) -> bool {
        self.state().is_fresh(self.clock.now(), &self.config.polling)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, WitnessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries the mirrors in random order until one shows the witness's head, shows a larger head
    /// that extends it, or proves a fork.
    ///
    /// If a mirror exceeds `POLL_PATIENCE`, the next mirror is queried in parallel.
    ///
    /// # Errors
    ///
    /// The witness's own storage failed. Errors of mirrors are logged only.
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

    /// The witness's mirrors in random order, each on Tor circuits of its own.
    pub(crate) fn shuffled_mirrors(&self, rng: &mut impl Rng) -> Vec<Mirror> {
        let mut mirrors: Vec<Mirror> = self.config.mirrors.iter().map(Mirror::isolated).collect();
        mirrors.shuffle(rng);
        mirrors
    }

    async fn poll_mirror(&self, mirror: &Mirror) -> Result<PollOutcome, WitnessError> {
        let mirror_error = |why: String| WitnessError::Mirror { mirror: mirror.to_string(), why };
        let bytes = mirror.read("checkpoint", MAX_NOTE_BYTES as u64).await;
        let bytes = bytes.map_err(|error| mirror_error(error.to_string()))?;
        let shown = TreeHead::verify(&bytes, &self.config.log)
            .map_err(|error| mirror_error(error.to_string()))?;
        let own = self.head();
        let size = own.as_ref().map_or(0, TreeHead::size);
        if shown.size() <= size
            && let Some(own) = &own
        {
            return self.compare_mirror_head(own, &shown);
        }
        let source = TileReader::new(mirror);
        let leaves = unanimity_log::read_leaves(&mirror, size..shown.size()).await;
        let leaves = leaves.map_err(|error| mirror_error(error.to_string()))?;
        let growth = self.state().tiles.grow(leaves);
        if growth.size() == shown.size() && growth.root() == *shown.root() {
            return self.advance(own.as_ref(), shown, growth);
        }
        // Either the mirror's tiles are bad, or the log forked below the witness's head. The
        // mirror's tiles decide.
        if let Some(own) = &own
            && let Ok(path) = source.consistency_path(own.size(), &shown).await
            && let Some(evidence) = Evidence::from_heads(own, &shown, &path)
        {
            return self.latch(evidence).map(PollOutcome::Fork);
        }
        Err(mirror_error("its tiles do not hash up to its checkpoint".to_owned()))
    }

    /// Handles a head of a mirror that is not larger than the witness's head.
    fn compare_mirror_head(
        &self,
        own: &TreeHead,
        shown: &TreeHead,
    ) -> Result<PollOutcome, WitnessError> {
        if shown == own {
            let mut state = self.state();
            if state.head.as_ref() != Some(own) {
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

    /// Compares a head from any source with the witness's own tree. Never adopts it.
    ///
    /// If the two heads contradict each other, the evidence is stored and the fork latches.
    pub fn compare_head(&self, head: &TreeHead) -> Result<HeadRelation, WitnessError> {
        let state = self.state();
        let Some(own) = state.head.clone().filter(|own| head.size() <= own.size()) else {
            return Ok(HeadRelation::Ahead);
        };
        let path = state.tiles.range_roots(&tree::consistency_ranges(head.size(), own.size()))?;
        drop(state);
        match Evidence::from_heads(head, &own, &path) {
            Some(evidence) => self.latch(evidence).map(HeadRelation::Fork),
            None => Ok(HeadRelation::Ancestor),
        }
    }

    /// The root of the tree at an earlier size. `None` if the tree is smaller than `size`.
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

    /// Moves the head to `to`, if the head is still `from`. `growth` holds the new leaves, hashed
    /// onto the tree of `from`.
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
        // Head and tree change together: a tree larger than its head could not grow any more.
        let mut tiles = state.tiles.clone();
        tiles.commit(growth)?;
        let path = self.directory.join("head");
        (self.disk.write(&path, to.note().as_bytes(), Mode::Private))
            .map_err(StorageError::at(&path))?;
        (state.head, state.tiles) = (Some(to.clone()), tiles);
        (state.last_shown_at, state.shown_since_start) = (self.clock.now(), true);
        Ok(PollOutcome::Fresh(to))
    }

    /// Waits for evidence of a fork that this witness did not know before. One call covers all
    /// evidence since the last call.
    pub async fn wait_for_fork(&self) {
        self.fork_found.notified().await;
    }

    fn latch(&self, evidence: Evidence) -> Result<Box<Evidence>, WitnessError> {
        let is_new = !self.evidence.contains(&evidence.id());
        let id = self.evidence.add(&evidence)?;
        // A mirror may show the same fork at every poll.
        if is_new {
            tracing::error!(%id, "the log has forked; from now on this witness answers with the evidence");
            self.fork_found.notify_one();
        }
        Ok(Box::new(evidence))
    }

    /// Polls at random times, for ever. Fetches missing entries in parallel, so that a mirror with
    /// slow entries does not delay the next poll.
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
