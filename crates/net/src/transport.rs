//! The seam to the network: connections to peers, connections from peers.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use unanimity_config::OnionAddress;

use crate::connector::WebConnector;

/// A way to reach peers by address.
pub trait Transport: Send + Sync {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to a peer's onion service. Callers put a deadline around it.
    fn dial(&self, to: &OnionAddress) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The way to the files that peers serve, if there is one: each peer is dialled first.
    fn web_connector(&self) -> Option<Arc<dyn WebConnector>> {
        None
    }
}

/// No way to reach anybody: what a node has that is offline, or built without Tor. Every peer is
/// silent then, and silence is never consent.
#[derive(Clone, Copy, Debug)]
pub struct NoTransport;

impl Transport for NoTransport {
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
