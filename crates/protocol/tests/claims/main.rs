//! What the protocol crate promises, as tests: each is named for what it says.

mod head_choice;
