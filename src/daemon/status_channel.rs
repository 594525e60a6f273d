//! Forwards the status after every cycle to the alerts, and reports if no cycle finishes in time.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use unanimity_protocol::Timestamp;
use unanimity_report::CycleStatus;
use unanimity_storage::Clock;

use crate::daemon::Alerts;

/// How many cycles may end while the operator's command runs.
const MAX_PENDING_STATUSES: usize = 64;

/// The sending half: the status after each cycle, and the time when the cycle ended.
pub type StatusSender = mpsc::Sender<(CycleStatus, Timestamp)>;

/// The receiving half, for [`forward_statuses`].
pub type StatusReceiver = mpsc::Receiver<(CycleStatus, Timestamp)>;

/// Makes a channel from cycles to the alerts. It holds at most 64 statuses.
pub fn new_status_channel() -> (StatusSender, StatusReceiver) {
    mpsc::channel(MAX_PENDING_STATUSES)
}

/// Delivers every status to `alerts`, until all senders are gone.
///
/// If no status comes within `patience`, it reports that no cycle has finished. It repeats that
/// report after each further `patience`.
pub async fn forward_statuses(
    alerts: &mut Alerts,
    statuses: &mut StatusReceiver,
    patience: Duration,
    clock: &impl Clock,
) {
    let mut last = clock.now();
    loop {
        match timeout(patience, statuses.recv()).await {
            Ok(Some((status, at))) => {
                last = at;
                alerts.deliver(&status, at).await;
            }
            Ok(None) => return,
            Err(_) => {
                let why = format!("no cycle has finished since {last}. Restart the daemon");
                alerts.deliver(&CycleStatus::no_cycle_finished(&why), clock.now()).await;
            }
        }
    }
}
