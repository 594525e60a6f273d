//! What the publish crate promises, as tests: each is named for what it says.

mod keys;
