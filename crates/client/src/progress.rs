//! How far a cycle has come, for whoever watches. Plain data: nothing decides on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// What a cycle is at. Each kind is told when it begins, with nothing done, and whenever some of it
/// is done; a cycle may come to the same kind again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum CycleProgress {
    /// Every peer is asked.
    Round {
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

impl CycleProgress {
    /// Whether nothing of it is done yet.
    pub fn is_start(&self) -> bool {
        match *self {
            CycleProgress::Round { answered, silent, .. } => answered + silent == 0,
            CycleProgress::Log { entries, .. } => entries == 0,
            CycleProgress::Download { bytes, resumed, .. } => bytes == resumed,
        }
    }

    /// Whether all of it is.
    pub fn is_complete(&self) -> bool {
        match *self {
            CycleProgress::Round { peers, answered, silent } => answered + silent == peers,
            CycleProgress::Log { entries, of } => entries == of,
            CycleProgress::Download { bytes, of, .. } => bytes == of,
        }
    }
}

/// Who is told of a cycle's steps: nobody, unless somebody wants to hear of them.
#[derive(Clone, Default)]
pub struct ProgressSink(Option<Arc<dyn Fn(CycleProgress) + Send + Sync>>);

impl ProgressSink {
    /// Somebody, who is called in the middle of the work, thousands of times a second, and must
    /// never wait.
    pub fn new(watch: impl Fn(CycleProgress) + Send + Sync + 'static) -> ProgressSink {
        ProgressSink(Some(Arc::new(watch)))
    }

    pub(crate) fn report(&self, step: impl FnOnce() -> CycleProgress) {
        if let Some(watch) = &self.0 {
            watch(step());
        }
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher(somebody)" } else { "Watcher(nobody)" })
    }
}

/// Counts the peers of a roll.
pub(crate) struct AnswerCounter<'a> {
    progress: &'a ProgressSink,
    peers: usize,
    answered: AtomicUsize,
    silent: AtomicUsize,
}

impl<'a> AnswerCounter<'a> {
    pub(crate) fn start(progress: &'a ProgressSink, peers: usize) -> AnswerCounter<'a> {
        let counter = AnswerCounter {
            progress,
            peers,
            answered: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
        };
        counter.report();
        counter
    }

    pub(crate) fn count_answer<T, E>(&self, answer: &Result<T, E>) {
        let which = if answer.is_ok() { &self.answered } else { &self.silent };
        which.fetch_add(1, Ordering::Relaxed);
        self.report();
    }

    fn report(&self) {
        let count = |which: &AtomicUsize| which.load(Ordering::Relaxed);
        self.progress.report(|| CycleProgress::Round {
            peers: self.peers,
            answered: count(&self.answered),
            silent: count(&self.silent),
        });
    }
}
