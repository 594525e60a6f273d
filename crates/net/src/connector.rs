//! Connections to mirrors, over a network that may be connected later.

use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use unanimity_config::MirrorUrl;

use crate::stream::ByteStream;

/// A way to connect to mirrors.
pub trait WebConnector: Send + Sync {
    /// Connects to a mirror. The caller adds TLS.
    fn connect<'a>(&'a self, site: &'a MirrorUrl)
    -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>>;

    /// A connector whose connections use circuits of their own.
    fn isolated(&self) -> Arc<dyn WebConnector>;
}

/// A connector whose network is set later. Until then every connection fails.
#[derive(Default)]
pub struct DeferredConnector(OnceLock<Arc<dyn WebConnector>>);

impl DeferredConnector {
    /// Sets the network. Only the first call has an effect.
    pub fn set_connector(&self, connector: Arc<dyn WebConnector>) {
        self.0.set(connector).ok();
    }
}

impl fmt::Debug for DeferredConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeferredConnector(connected: {})", self.0.get().is_some())
    }
}

/// A deferred connector with circuits of its own, which are chosen at the first connection.
struct IsolatedConnector {
    deferred: Arc<DeferredConnector>,
    web: OnceLock<Arc<dyn WebConnector>>,
}

impl IsolatedConnector {
    fn new(deferred: Arc<DeferredConnector>) -> IsolatedConnector {
        IsolatedConnector { deferred, web: OnceLock::new() }
    }
}

impl WebConnector for IsolatedConnector {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        match self.deferred.0.get() {
            Some(web) => self.web.get_or_init(|| web.isolated()).connect(site),
            None => Box::pin(async { Err(no_tor_error("[tor] offline is set")) }),
        }
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(IsolatedConnector::new(self.deferred.clone()))
    }
}

/// Makes a connector over `deferred`, with circuits of its own.
pub fn isolated_connector(deferred: &Arc<DeferredConnector>) -> Arc<dyn WebConnector> {
    Arc::new(IsolatedConnector::new(deferred.clone()))
}

pub(crate) fn no_tor_error(why: &str) -> io::Error {
    let text = format!("the mirror needs Tor, which is not available: {why}");
    io::Error::new(io::ErrorKind::Unsupported, text)
}
