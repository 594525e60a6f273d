//! How far a cycle has come, for whoever watches. Plain data: nothing decides on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// What a cycle is at. Each kind is told when it begins, with nothing done, and whenever some of it
/// is done; a cycle may come to the same kind again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Step {
    /// Every peer is asked.
    Roll {
        /// How many there are.
        peers: usize,
        /// How many have said something, whatever it was.
        answered: usize,
        /// How many were given up.
        silent: usize,
    },
    /// The log's new entries are read.
    Log {
        /// How many have been.
        entries: u64,
        /// Of how many.
        of: u64,
    },
    /// An artifact comes from a mirror.
    Download {
        /// Its file's name.
        file: String,
        /// How many bytes of it are here.
        bytes: u64,
        /// Of how many.
        of: u64,
        /// Who sends it.
        mirror: String,
        /// How many were here before this mirror was asked.
        resumed: u64,
    },
}

impl Step {
    /// Whether nothing of it is done yet.
    pub fn begins(&self) -> bool {
        match *self {
            Step::Roll { answered, silent, .. } => answered + silent == 0,
            Step::Log { entries, .. } => entries == 0,
            Step::Download { bytes, resumed, .. } => bytes == resumed,
        }
    }

    /// Whether all of it is.
    pub fn ends(&self) -> bool {
        match *self {
            Step::Roll { peers, answered, silent } => answered + silent == peers,
            Step::Log { entries, of } => entries == of,
            Step::Download { bytes, of, .. } => bytes == of,
        }
    }
}

/// Who is told of a cycle's steps: nobody, unless somebody wants to hear of them.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<dyn Fn(Step) + Send + Sync>>);

impl Watcher {
    /// Somebody, who is called in the middle of the work, thousands of times a second, and must
    /// never wait.
    pub fn new(watch: impl Fn(Step) + Send + Sync + 'static) -> Watcher {
        Watcher(Some(Arc::new(watch)))
    }

    pub(crate) fn tell(&self, step: impl FnOnce() -> Step) {
        if let Some(watch) = &self.0 {
            watch(step());
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher(somebody)" } else { "Watcher(nobody)" })
    }
}

/// Counts the peers of a roll.
pub(crate) struct Counted<'a> {
    watcher: &'a Watcher,
    peers: usize,
    answered: AtomicUsize,
    silent: AtomicUsize,
}

impl<'a> Counted<'a> {
    pub(crate) fn begin(watcher: &'a Watcher, peers: usize) -> Counted<'a> {
        let counted =
            Counted { watcher, peers, answered: AtomicUsize::new(0), silent: AtomicUsize::new(0) };
        counted.tell();
        counted
    }

    pub(crate) fn one<T, E>(&self, answer: &Result<T, E>) {
        let which = if answer.is_ok() { &self.answered } else { &self.silent };
        which.fetch_add(1, Ordering::Relaxed);
        self.tell();
    }

    fn tell(&self) {
        let count = |which: &AtomicUsize| which.load(Ordering::Relaxed);
        self.watcher.tell(|| Step::Roll {
            peers: self.peers,
            answered: count(&self.answered),
            silent: count(&self.silent),
        });
    }
}
