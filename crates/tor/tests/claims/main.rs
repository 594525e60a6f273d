//! What the tor crate promises, as tests: each is named for what it says.

mod tor_settings;
