//! The claims of the archive crate. The name of a test is the claim.

mod unpack;
mod unpack_bounds;
