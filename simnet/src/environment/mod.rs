//! The environment of the nodes: peers, availability, Tor, mirrors and faults. It is a pure
//! function of scenario and seed, and both tiers use it.
//!
//! Only questions for cosigned heads take time. Reads of mirrors and of peers' tiles take no time,
//! so a cycle ends when its round closes.

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
