//! How cycles end, on the way to the alarm; and that none does, which nobody else would tell.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use unanimity_protocol::Timestamp;
use unanimity_report::CycleStatus;
use unanimity_storage::Clock;

use crate::daemon::Alarms;

/// How many cycles may end while the operator's command is at work.
const MAX_UNHEARD: usize = 64;

/// Where the ends of cycles are told.
pub type Told = mpsc::Sender<(CycleStatus, Timestamp)>;

/// Ends of cycles, for the alarm.
pub type Ends = mpsc::Receiver<(CycleStatus, Timestamp)>;

/// A way from cycles to the alarm.
pub fn ends() -> (Told, Ends) {
    mpsc::channel(MAX_UNHEARD)
}

/// Has the alarm hear of every end, until there can be no more. When none comes for `patience`, it
/// hears of that, and again each time that long.
pub async fn hear_all(
    alarms: &mut Alarms,
    ends: &mut Ends,
    patience: Duration,
    clock: &impl Clock,
) {
    let mut last = clock.now();
    loop {
        match timeout(patience, ends.recv()).await {
            Ok(Some((seen, at))) => {
                last = at;
                alarms.hear(&seen, at).await;
            }
            Ok(None) => return,
            Err(_) => {
                let why =
                    format!("no cycle has ended since {last}: restart the daemon if none does");
                alarms.hear(&CycleStatus::no_cycle_finished(&why), clock.now()).await;
            }
        }
    }
}
