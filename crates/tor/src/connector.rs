//! Hosts that are no peers, over Tor: names go to an exit relay, which looks them up; nobody on
//! this machine does.

use std::io;
use std::sync::Arc;

use arti_client::config::BoolOrAuto;
use arti_client::{IsolationToken, StreamPrefs};
use futures_util::future::BoxFuture;
use unanimity_config::Site;
use unanimity_net::{Stream, Web};

use crate::client::{Tor, words};

/// The network, for streams that share their circuits with each other and nobody else's.
struct Apart {
    tor: Tor,
    circuits: IsolationToken,
}

impl Web for Tor {
    fn connect<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(connect(self, site, IsolationToken::new()))
    }

    fn apart(&self) -> Arc<dyn Web> {
        Arc::new(Apart { tor: self.clone(), circuits: IsolationToken::new() })
    }
}

impl Web for Apart {
    fn connect<'a>(&'a self, site: &'a Site) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        Box::pin(connect(&self.tor, site, self.circuits))
    }

    fn apart(&self) -> Arc<dyn Web> {
        self.tor.apart()
    }
}

async fn connect(tor: &Tor, site: &Site, circuits: IsolationToken) -> io::Result<Box<dyn Stream>> {
    tor.check_connected()?;
    let mut prefs = StreamPrefs::new();
    prefs.connect_to_onion_services(BoolOrAuto::Explicit(true)).set_isolation(circuits);
    let stream = tor.client.connect_with_prefs((site.host.to_string(), site.port), &prefs);
    let stream = Box::pin(stream).await.map_err(|error| io::Error::other(words(&error)))?;
    Ok(Box::new(stream))
}
