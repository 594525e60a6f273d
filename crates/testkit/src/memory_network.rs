//! A network in memory, for the demo, tests and simulations.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use unanimity_config::{MirrorHost, MirrorUrl, OnionAddress};
use unanimity_net::message::ANSWER_BYTES;
use unanimity_net::{ByteStream, Listener, Transport, WebConnector};

/// A network in memory: its listeners, by address. Clones share the network.
#[derive(Clone, Debug, Default)]
pub struct MemoryNetwork {
    listeners: Arc<Mutex<BTreeMap<OnionAddress, mpsc::Sender<DuplexStream>>>>,
}

/// Accepts connections to one address. When it is dropped, the address becomes unreachable.
#[derive(Debug)]
pub struct MemoryListener {
    incoming: mpsc::Receiver<DuplexStream>,
}

impl MemoryNetwork {
    /// Listens at an address. The new listener replaces an earlier one at this address.
    pub fn listen(&self, at: OnionAddress) -> MemoryListener {
        let (sender, incoming) = mpsc::channel(64);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).insert(at, sender);
        MemoryListener { incoming }
    }
}

impl Transport for MemoryNetwork {
    type Stream = DuplexStream;

    async fn dial(&self, to: &OnionAddress) -> io::Result<DuplexStream> {
        let listener =
            self.listeners.lock().unwrap_or_else(PoisonError::into_inner).get(to).cloned();
        let refused =
            || io::Error::new(io::ErrorKind::ConnectionRefused, "no listener at this address");
        let (ours, theirs) = tokio::io::duplex(2 * ANSWER_BYTES);
        listener.ok_or_else(refused)?.send(theirs).await.map_err(|_| refused())?;
        Ok(ours)
    }

    fn web_connector(&self) -> Option<Arc<dyn WebConnector>> {
        Some(Arc::new(self.clone()))
    }
}

/// Connects to onion services only, because the network in memory has no other hosts.
impl WebConnector for MemoryNetwork {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(async move {
            let MirrorHost::Onion(key) = site.host else {
                return Err(io::ErrorKind::ConnectionRefused.into());
            };
            let stream = self.dial(&OnionAddress { key, port: site.port }).await?;
            Ok(Box::new(stream) as Box<dyn ByteStream>)
        })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(self.clone())
    }
}

impl Listener for MemoryListener {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        let closed = || io::Error::new(io::ErrorKind::NotConnected, "the network has ended");
        self.incoming.recv().await.ok_or_else(closed)
    }
}
