//! The testkit's group of peers as processes over a private Tor network on loopback.
//!
//! The attacks are the testkit's.

mod onion;
mod tornet;

pub use onion::backend::OnionBackend;
pub use onion::mirror::OnionMirror;
pub use onion::process::{NodeProcess, ProcessResult};
pub use onion::script::run_onion_demo;
pub use onion::world::{OnionWorld, SETTLE};
pub use tornet::network::{POLL_INTERVAL, PrivateTorNetwork};
pub use tornet::package::{DebianPackage, ExternalPrograms};
