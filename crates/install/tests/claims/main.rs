//! Claims about installing, as tests. Each test is named after its claim.

mod install;
mod process;
mod program;
mod staged;
mod trial;
mod unpack_install;
mod vectors;
