//! The progress of a cycle, for display. It is plain data: no decision depends on it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

/// A step of a cycle. Each kind of step is reported at its start, before any work is done, and
/// again as the work advances. One cycle may start a kind of step several times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum CycleProgress {
    /// A round: the client asks every peer.
    Round {
        /// How many peers there are.
        peers: usize,
        /// How many peers have sent a well-formed answer, which may still prove invalid.
        answered: usize,
        /// How many peers were given up: unreachable, too slow, or with a malformed answer.
        silent: usize,
    },
    /// A reading of the log's new entries.
    Log {
        /// How many entries have been read.
        entries: u64,
        /// How many new entries there are.
        of: u64,
    },
    /// A download of an artifact from one mirror.
    Download {
        /// The artifact's file name.
        file: String,
        /// How many bytes of the artifact have arrived, with those from earlier connections.
        bytes: u64,
        /// The artifact's length in bytes.
        of: u64,
        /// The mirror's name.
        mirror: String,
        /// How many bytes had arrived before the present connection to this mirror.
        resumed: u64,
    },
}

impl CycleProgress {
    /// Whether the step has just started: no work is done yet.
    pub fn is_start(&self) -> bool {
        match *self {
            CycleProgress::Round { answered, silent, .. } => answered + silent == 0,
            CycleProgress::Log { entries, .. } => entries == 0,
            CycleProgress::Download { bytes, resumed, .. } => bytes == resumed,
        }
    }

    /// Whether all of the step is done.
    pub fn is_complete(&self) -> bool {
        match *self {
            CycleProgress::Round { peers, answered, silent } => answered + silent == peers,
            CycleProgress::Log { entries, of } => entries == of,
            CycleProgress::Download { bytes, of, .. } => bytes == of,
        }
    }
}

/// The receiver of a cycle's progress messages. The default sink drops all messages.
#[derive(Clone, Default)]
pub struct ProgressSink(Option<Arc<dyn Fn(CycleProgress) + Send + Sync>>);

impl ProgressSink {
    /// Makes a sink that passes every step to `watch`. The client calls `watch` in the middle of
    /// its work, up to thousands of times a second, so `watch` must never wait.
    pub fn new(watch: impl Fn(CycleProgress) + Send + Sync + 'static) -> ProgressSink {
        ProgressSink(Some(Arc::new(watch)))
    }

    /// Makes a step and sends it, if there is a receiver.
    pub(crate) fn report(&self, step: impl FnOnce() -> CycleProgress) {
        if let Some(watch) = &self.0 {
            watch(step());
        }
    }
}

impl fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ProgressSink(set)" } else { "ProgressSink(none)" })
    }
}

/// A counter of the answers in a round, which reports every new count.
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
