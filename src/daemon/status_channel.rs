//! The channel from cycles to alerts: each cycle's status, or a report that no cycle has finished.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use unanimity_protocol::Timestamp;
use unanimity_report::CycleStatus;
use unanimity_storage::Clock;

use crate::daemon::Alerts;

/// The most statuses that wait in the channel while the operator's command runs.
const MAX_PENDING_STATUSES: usize = 64;

/// The sending half of the channel. A message is the status after a cycle, and the time when that
/// cycle ended.
pub type StatusSender = mpsc::Sender<(CycleStatus, Timestamp)>;

/// The receiving half of the channel, for [`forward_statuses`].
pub type StatusReceiver = mpsc::Receiver<(CycleStatus, Timestamp)>;

/// Makes a channel from cycles to the alerts. The channel holds at most 64 statuses.
pub fn new_status_channel() -> (StatusSender, StatusReceiver) {
    mpsc::channel(MAX_PENDING_STATUSES)
}

/// Delivers every status to `alerts`, until all senders are gone.
///
/// If no status comes within `patience`, `alerts` gets a status which says that no cycle has
/// finished. That repeats after each further `patience`.
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
