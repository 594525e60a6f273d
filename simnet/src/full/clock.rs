//! The nodes' clock, which shows virtual time.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use unanimity_protocol::Timestamp;
use unanimity_storage::Clock;

use crate::Millis;
use crate::environment::EPOCH;

/// A clock of virtual time: in seconds for the nodes, and in milliseconds for the simulator.
#[derive(Clone, Copy)]
pub(super) struct VirtualClock {
    pub(super) began: Instant,
}

impl VirtualClock {
    pub(super) fn millis(self) -> Millis {
        (Instant::now() - self.began).as_millis() as Millis
    }

    pub(super) async fn wait_until(self, at: Millis) {
        sleep_until(self.began + Duration::from_millis(at)).await;
    }

    /// Waits until `at`, or for ever if `at` is `None`.
    pub(super) async fn wait_until_or_forever(self, at: Option<Millis>) {
        match at {
            Some(at) => self.wait_until(at).await,
            None => pending().await,
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(EPOCH + self.millis() / 1000)
    }
}
