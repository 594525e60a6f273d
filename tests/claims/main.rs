//! The claims of this project, as tests: each is named for what it says.

mod attacks;
mod circle;
mod command_line;
mod memory;
mod model;
mod peer;
mod roll;
mod update;
mod verify;
