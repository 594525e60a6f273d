//! How fast bytes must come.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// Over which time a host's speed is measured.
pub const FLOOR_WINDOW: Duration = Duration::from_secs(30);
/// The least bytes a second: a hundredth of what Tor usually carries.
pub const FLOOR: u64 = 4096;

/// A floor under the speed of a host.
pub(crate) struct Pace {
    /// Bytes a second.
    floor: u64,
    until: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(floor: u64) -> Pace {
        Pace { floor, until: Instant::now() + FLOOR_WINDOW, bytes: 0 }
    }

    /// Waits for what comes next, while enough has come.
    pub(crate) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> io::Result<T> {
        tokio::pin!(next);
        loop {
            match timeout_at(self.until, &mut next).await {
                Ok(done) => return Ok(done),
                Err(_) => self.next_window()?,
            }
        }
    }

    pub(crate) fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.bytes += bytes as u64;
        if Instant::now() < self.until { Ok(()) } else { self.next_window() }
    }

    fn next_window(&mut self) -> io::Result<()> {
        if self.bytes < self.floor * FLOOR_WINDOW.as_secs() {
            let why = format!("too slow: {} bytes in {FLOOR_WINDOW:?}", self.bytes);
            return Err(io::Error::new(io::ErrorKind::TimedOut, why));
        }
        *self = Pace::new(self.floor);
        Ok(())
    }
}
