//! The claims of this project, as tests: each is named for what it says.

mod addresses;
mod config;
mod durable;
mod install;
mod keys;
mod log_writer;
mod logs;
mod mirrors;
mod peer_disk;
mod tiles;
mod wire;
