//! What the client crate promises, as tests: each is named for what it says.

mod artifacts;
mod health;
mod hook_threads;
mod hostile;
mod interrupted;
mod memory;
mod model;
mod progress;
mod roll;
mod update;
mod withdrawn;
