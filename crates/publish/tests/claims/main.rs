//! The claims of the publish crate. The name of a test is the claim.

mod keys;
