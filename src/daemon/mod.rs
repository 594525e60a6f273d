//! The daemon: what a node does by itself, and how its operator talks to it.

mod alerts;
pub mod control_socket;
mod hosting;
mod run;
mod status_channel;

pub use alerts::{Alarms, COMMAND_TIMEOUT};
pub use run::{Cycle, Daemon, errand_of};
pub use status_channel::{Ends, Told, ends, hear_all};
