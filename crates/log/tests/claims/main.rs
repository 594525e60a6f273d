//! The claims of the crate `unanimity-log`, as tests. The name of a test is its claim.

mod log_writer;
mod site;
mod tiles;
