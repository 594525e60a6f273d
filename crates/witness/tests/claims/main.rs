//! Claims about the witness, as tests. Each test is named after its claim.

mod peer;
mod peer_disk;
mod peer_files;
