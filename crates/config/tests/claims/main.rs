//! What the config crate promises, as tests: each is named for what it says.

mod addresses;
mod cases;
mod config;
mod invites;
mod peers_file;
mod vectors;
