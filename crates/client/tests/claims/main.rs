//! The claims of the client crate. The name of each test is the claim.

mod artifacts;
mod client_state;
mod health;
mod hook_threads;
mod hostile;
mod interrupted;
mod model;
mod progress;
mod round;
mod update;
mod withdrawn;
