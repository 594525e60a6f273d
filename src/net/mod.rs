//! Reaching others: peers over byte streams, mirrors over files.
//!
//! The seam for tests and simulators is the byte stream, so framing, limits and codec run
//! there too. A deployment gets no stream but Tor's; there is deliberately no plain TCP.

pub mod address;
pub mod discovery;
mod hide;
pub mod memory;
pub mod mirror;
pub mod network;
pub(crate) mod places;
#[cfg(feature = "tor")]
pub mod tor;
pub mod wire;

pub use address::OnionAddress;
pub use discovery::{DiscoveryKey, DiscoverySecret};
pub use hide::hide;
pub use mirror::Mirror;
pub use network::{TorNetwork, TorSettings};

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use mirror::Web;

/// A way to reach peers by address.
pub trait Transport: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to a peer's onion service. Callers put a deadline around it.
    fn dial(&self, to: &OnionAddress) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The way to the files that peers serve, if there is one: each peer is dialled first.
    fn web(&self) -> Option<Arc<dyn Web>> {
        None
    }
}

/// No way to reach anybody: what a node has that is offline, or built without Tor. Every peer is
/// silent then, and silence is never consent.
#[derive(Clone, Copy, Debug)]
pub struct Absent;

impl Transport for Absent {
    type Stream = tokio::io::DuplexStream;

    async fn dial(&self, _: &OnionAddress) -> io::Result<Self::Stream> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "[tor] offline is set, or this program was built without Tor",
        ))
    }
}

/// A way to be reached.
pub trait Listener: Send {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// The next connection. An error ends the service.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}
