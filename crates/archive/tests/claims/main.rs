//! What the archive crate promises, as tests: each is named for what it says.

mod unpack;
mod unpack_bounds;
