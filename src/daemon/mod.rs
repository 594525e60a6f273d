//! The daemon `serve`: its loops, its onion services, its control socket and its alerts.

mod alerts;
pub mod control_socket;
mod hosting;
mod run;
mod status_channel;

pub use alerts::{Alerts, COMMAND_TIMEOUT};
pub use run::{CycleTaskResult, Daemon, cycle_mode};
pub use status_channel::{StatusReceiver, StatusSender, forward_statuses, new_status_channel};
