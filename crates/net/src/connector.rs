//! Connections to hosts of files.

use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use unanimity_config::MirrorUrl;

use crate::stream::ByteStream;

/// A way to hosts that are no peers of ours.
pub trait WebConnector: Send + Sync {
    /// Connects to a site, TLS not included.
    fn connect<'a>(&'a self, site: &'a MirrorUrl)
    -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>>;

    /// The same way, on circuits of its own.
    fn isolated(&self) -> Arc<dyn WebConnector>;
}

/// A network that is connected later: until then, nothing is reached over it.
#[derive(Default)]
pub struct DeferredConnector(OnceLock<Arc<dyn WebConnector>>);

impl DeferredConnector {
    /// Says which network it is. Only the first time counts.
    pub fn set_connector(&self, connector: Arc<dyn WebConnector>) {
        self.0.set(connector).ok();
    }
}

impl fmt::Debug for DeferredConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uplink(connected: {})", self.0.get().is_some())
    }
}

/// The uplink of a node, with circuits of its own from the first connection on.
struct IsolatedConnector {
    uplink: Arc<DeferredConnector>,
    web: OnceLock<Arc<dyn WebConnector>>,
}

impl IsolatedConnector {
    fn new(uplink: Arc<DeferredConnector>) -> IsolatedConnector {
        IsolatedConnector { uplink, web: OnceLock::new() }
    }
}

impl WebConnector for IsolatedConnector {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        match self.uplink.0.get() {
            Some(web) => self.web.get_or_init(|| web.isolated()).connect(site),
            None => Box::pin(async { Err(no_tor_error()) }),
        }
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(IsolatedConnector::new(self.uplink.clone()))
    }
}

/// The way to hosts over an uplink.
pub fn isolated_connector(uplink: &Arc<DeferredConnector>) -> Arc<dyn WebConnector> {
    Arc::new(IsolatedConnector::new(uplink.clone()))
}

pub(crate) fn no_tor_error() -> io::Error {
    let why =
        "there is no Tor to reach it by: [tor] offline is set, or this program was built without";
    io::Error::new(io::ErrorKind::Unsupported, why)
}
