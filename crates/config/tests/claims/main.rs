//! The claims of the crate `unanimity-config`, as tests. The name of a test is its claim.

mod addresses;
mod cases;
mod config;
mod invites;
mod peers_file;
mod vectors;
