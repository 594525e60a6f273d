//! What surrounds the nodes: who asks whom, who is up, how long Tor takes, what a mirror shows to
//! whom. A pure function of scenario and seed, the same for both tiers.
//!
//! What is modelled is asking. Mirrors and tiles cost no time: a cycle is over when its roll closes.

mod adversary;
mod connect;
mod distributions;
mod faults;
mod log;
mod model;
mod service;
mod tor_conditions;
mod waits;

pub use connect::ConnectOutcome;
pub use model::{EPOCH, Environment};
pub use service::ServiceSchedule;
