//! How cycles end, on the way to the alarm; and that none does, which nobody else would tell.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use unanimity_protocol::Timestamp;
use unanimity_report::CycleStatus;
use unanimity_storage::Clock;

use crate::daemon::Alerts;

/// How many cycles may end while the operator's command is at work.
const MAX_PENDING_STATUSES: usize = 64;

/// Where the ends of cycles are told.
pub type StatusSender = mpsc::Sender<(CycleStatus, Timestamp)>;

/// Ends of cycles, for the alarm.
pub type StatusReceiver = mpsc::Receiver<(CycleStatus, Timestamp)>;

/// A way from cycles to the alarm.
pub fn new_status_channel() -> (StatusSender, StatusReceiver) {
    mpsc::channel(MAX_PENDING_STATUSES)
}

/// Has the alarm hear of every end, until there can be no more. When none comes for `patience`, it
/// hears of that, and again each time that long.
pub async fn forward_statuses(
    alarms: &mut Alerts,
    ends: &mut StatusReceiver,
    patience: Duration,
    clock: &impl Clock,
) {
    let mut last = clock.now();
    loop {
        match timeout(patience, ends.recv()).await {
            Ok(Some((seen, at))) => {
                last = at;
                alarms.deliver(&seen, at).await;
            }
            Ok(None) => return,
            Err(_) => {
                let why =
                    format!("no cycle has ended since {last}: restart the daemon if none does");
                alarms.deliver(&CycleStatus::no_cycle_finished(&why), clock.now()).await;
            }
        }
    }
}
