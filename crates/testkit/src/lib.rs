//! Fixtures for tests and the demo: a publisher, a log, honest and hostile mirrors, five peers and
//! a client in one process, and every attack of the threat model.
//!
//! [`Fixture`] holds the keys and files of a test. [`DemoBackend`] is the interface to five peers
//! and a client, and every attack runs through it. Two types implement this interface:
//!
//! - [`World`] runs in one process, over streams in memory, with a clock that the caller moves.
//! - `OnionBackend` in `unanimity-testkit-tor` runs processes over a private Tor network.
//!
//! Both types run the code that ships, and `unanimity demo` and the tests use both.

pub mod archives;
pub mod attacks;
mod backend;
pub mod block_on;
mod config_files;
mod error;
mod fixture;
pub mod hostile_mirror;
mod keys;
mod memory_network;
pub mod power_cut;
pub mod power_loss_fs;
pub mod rfc6962;
pub mod sample_artifact;
pub mod sample_log;
pub mod scratch_dir;
pub mod script;
pub mod signed_heads;
pub mod split_install;
pub mod stalling_mirror;
mod static_files;
pub mod storage_hooks;
pub mod test_world;
pub mod trial;
pub mod vectors;
mod world;

pub use attacks::{Attack, AttackResult};
pub use backend::{CycleSummary, DemoBackend, relay_answers};
pub use error::TestError;
pub use fixture::{Fixture, ReleaseSpec, copy_tree, overwrite};
pub use keys::{FixtureKeys, PEER_NAMES, PEERS, parse_name};
pub use memory_network::{MemoryListener, MemoryNetwork};
pub use static_files::StaticFiles;
pub use world::{MirrorAccess, World};
