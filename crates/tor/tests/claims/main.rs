//! The claims of the crate `unanimity-tor`, as tests. The name of a test is its claim.

mod tor_settings;
