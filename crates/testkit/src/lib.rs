//! For tests and the demo: a publisher, a log, mirrors honest and hostile, five peers and a client in one process, and
//! every attack.
//!
//! [`Download`] holds the keys and files of a test. [`Cast`] is the interface to five peers and a client; every
//! attack runs through it. [`World`] implements it in one process, over streams in memory, with a clock that
//! the caller moves. `Daemons` in `unanimity-testkit-tor` implements it with processes over a private Tor
//! network. Both run the code that ships; `unanimity demo` and the tests use both.

pub mod archives;
pub mod attacks;
mod backend;
pub mod block_on;
pub mod circle;
mod config_files;
mod error;
mod fixture;
pub mod hostile_mirror;
mod keys;
mod memory_network;
pub mod power;
pub mod power_loss_fs;
pub mod rfc6962;
pub mod sample_log;
pub mod scratch_dir;
pub mod script;
pub mod signed_heads;
pub mod split_install;
pub mod stalling_mirror;
mod static_files;
pub mod targets;
pub mod trial;
pub mod watched_disk;
mod world;

pub use attacks::{Attack, Attacked};
pub use backend::{Cast, Cycle, echo};
pub use error::Broken;
pub use fixture::{Draft, Stage, copy_tree, overwrite};
pub use keys::{Circle, PEER_NAMES, PEERS, name};
pub use memory_network::{MemoryListener, Network};
pub use static_files::Folder;
pub use world::{Reads, World};
