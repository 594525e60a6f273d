//! What is claimed of installing, as tests: each is named for what it says.

mod process;
mod program;
