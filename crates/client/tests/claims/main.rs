//! What the client crate promises, as tests: each is named for what it says.

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
