//! What the log crate promises, as tests: each is named for what it says.

mod log_writer;
mod site;
mod tiles;
