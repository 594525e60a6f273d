//! Five peers and a client as processes over a private Tor network on loopback.
//!
//! [`PrivateTorNetwork`] is the network, [`OnionWorld`] has the files of the nodes, and
//! [`OnionBackend`] has the running nodes. The attacks are in `unanimity-testkit`.

mod onion;
mod tornet;

pub use onion::backend::OnionBackend;
pub use onion::mirror::OnionMirror;
pub use onion::process::{NodeProcess, ProcessResult};
pub use onion::script::run_onion_demo;
pub use onion::world::{OnionWorld, SETTLE};
pub use tornet::network::{POLL_INTERVAL, PrivateTorNetwork};
pub use tornet::package::{DebianPackage, ExternalPrograms};
