//! The minimum rate at which a host has to send.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The time over which a host's rate is measured.
pub const RATE_WINDOW: Duration = Duration::from_secs(30);
/// The minimum rate in bytes per second: a hundredth of the usual rate through Tor.
pub const MIN_RATE: u64 = 4096;

/// Measures the rate of one transfer, and fails if it is below the minimum.
pub(crate) struct RateMonitor {
    /// The minimum, in bytes per second.
    min_rate: u64,
    window_end: Instant,
    bytes: u64,
}

impl RateMonitor {
    pub(crate) fn new(min_rate: u64) -> RateMonitor {
        RateMonitor { min_rate, window_end: Instant::now() + RATE_WINDOW, bytes: 0 }
    }

    /// Waits for the next bytes, as long as the rate is high enough.
    pub(crate) async fn wait_for<T>(&mut self, next: impl Future<Output = T>) -> io::Result<T> {
        tokio::pin!(next);
        loop {
            match timeout_at(self.window_end, &mut next).await {
                Ok(done) => return Ok(done),
                Err(_) => self.end_window()?,
            }
        }
    }

    pub(crate) fn count_bytes(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes as u64;
        if Instant::now() < self.window_end { Ok(()) } else { self.end_window() }
    }

    fn end_window(&mut self) -> io::Result<()> {
        if self.bytes < self.min_rate * RATE_WINDOW.as_secs() {
            let why = format!("the mirror is too slow: {} bytes in {RATE_WINDOW:?}", self.bytes);
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        *self = RateMonitor::new(self.min_rate);
        Ok(())
    }
}
