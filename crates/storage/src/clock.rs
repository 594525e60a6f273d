//! Clocks that are passed as arguments: the machine's clock, and a clock that tests set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use unanimity_protocol::Timestamp;

/// A source of the current time, for code with side effects. Pure code takes a [`Timestamp`].
pub trait Clock: Send + Sync {
    /// The current time, in whole seconds since 1970.
    fn now(&self) -> Timestamp;
}

/// The machine's clock. A time before 1970 counts as 0.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Timestamp(since.map_or(0, |since| since.as_secs()))
    }
}

/// A clock that moves only when a caller advances or sets it. Clones share one time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Makes a clock that shows the time `now`.
    pub fn at(now: Timestamp) -> Self {
        ManualClock(Arc::new(AtomicU64::new(now.0)))
    }

    /// Moves the clock forward by the whole seconds of `by`.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// Sets the clock, forward or back.
    pub fn set(&self, to: Timestamp) {
        self.0.store(to.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}
