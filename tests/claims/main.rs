//! The claims of this project, as tests: each is named for what it says.

mod log_writer;
mod logs;
mod tiles;
