//! What is claimed of installing, as tests: each is named for what it says.

mod install;
mod process;
mod program;
mod staged;
mod trial;
mod unpack_install;
mod vectors;
