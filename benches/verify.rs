//! Verification against the bare work it contains.
fn main() {}
