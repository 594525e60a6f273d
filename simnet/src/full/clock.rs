//! Virtual time, as the nodes' clock.

use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use unanimity_protocol::Timestamp;
use unanimity_storage::Clock;

use crate::Millis;
use crate::environment::EPOCH;

/// Virtual time, as the nodes' clock and in milliseconds.
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

    /// Never, if there is no such time.
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
