//! Connections to hosts of files.

use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use unanimity_config::Site;

use crate::stream::Stream;

/// A way to hosts that are no peers of ours.
pub trait Web: Send + Sync {
    /// Connects to a site, TLS not included.
    fn connect<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, io::Result<Box<dyn Stream>>>;

    /// The same way, on circuits of its own.
    fn apart(&self) -> Arc<dyn Web>;
}

/// A network that is connected later: until then, nothing is reached over it.
#[derive(Default)]
pub struct Uplink(OnceLock<Arc<dyn Web>>);

impl Uplink {
    /// Says which network it is. Only the first time counts.
    pub fn connect_to(&self, web: Arc<dyn Web>) {
        self.0.set(web).ok();
    }
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uplink(connected: {})", self.0.get().is_some())
    }
}

/// The uplink of a node, with circuits of its own from the first connection on.
struct Circuits {
    uplink: Arc<Uplink>,
    web: OnceLock<Arc<dyn Web>>,
}

impl Circuits {
    fn over(uplink: Arc<Uplink>) -> Circuits {
        Circuits { uplink, web: OnceLock::new() }
    }
}

impl Web for Circuits {
    fn connect<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        match self.uplink.0.get() {
            Some(web) => self.web.get_or_init(|| web.apart()).connect(site),
            None => Box::pin(async { Err(not_connected()) }),
        }
    }

    fn apart(&self) -> Arc<dyn Web> {
        Arc::new(Circuits::over(self.uplink.clone()))
    }
}

/// The way to hosts over an uplink.
pub fn over(uplink: &Arc<Uplink>) -> Arc<dyn Web> {
    Arc::new(Circuits::over(uplink.clone()))
}

pub(crate) fn not_connected() -> io::Error {
    let why =
        "there is no Tor to reach it by: [tor] offline is set, or this program was built without";
    io::Error::new(io::ErrorKind::Unsupported, why)
}
