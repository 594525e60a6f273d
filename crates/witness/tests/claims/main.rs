//! What the witness crate promises, as tests: each is named for what it says.

mod peer;
mod peer_disk;
mod peer_files;
