//! The interface to the network: connections to peers, and connections from peers.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use unanimity_config::OnionAddress;

use crate::connector::WebConnector;

/// A way to connect to peers by address.
pub trait Transport: Send + Sync {
    /// The byte stream of a connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Connects to a peer's onion service. The caller sets a deadline.
    fn dial(&self, to: &OnionAddress) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The connector for the files that peers serve, if there is one. The caller dials a peer
    /// before it uses the connector.
    fn web_connector(&self) -> Option<Arc<dyn WebConnector>> {
        None
    }
}

/// The transport of a node that is offline or built without Tor: every connection fails. So no peer
/// answers, and silence is never consent.
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

/// A source of connections from peers and clients.
pub trait Listener: Send {
    /// The byte stream of a connection.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection. An error means that the service has ended.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}
