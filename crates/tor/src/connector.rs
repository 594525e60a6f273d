//! Connections to mirrors over Tor. An exit relay looks up the names of mirrors. This machine never
//! does.

use std::io;
use std::sync::Arc;

use arti_client::config::BoolOrAuto;
use arti_client::{IsolationToken, StreamPrefs};
use futures_util::future::BoxFuture;
use unanimity_config::MirrorUrl;
use unanimity_net::{ByteStream, WebConnector};

use crate::client::{TorClient, describe_error};

/// A connector whose streams share circuits with each other, and with no other traffic.
struct IsolatedTor {
    tor: TorClient,
    isolation: IsolationToken,
}

impl WebConnector for TorClient {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(connect(self, site, IsolationToken::new()))
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(IsolatedTor { tor: self.clone(), isolation: IsolationToken::new() })
    }
}

impl WebConnector for IsolatedTor {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        Box::pin(connect(&self.tor, site, self.isolation))
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        self.tor.isolated()
    }
}

async fn connect(
    tor: &TorClient,
    site: &MirrorUrl,
    isolation: IsolationToken,
) -> io::Result<Box<dyn ByteStream>> {
    tor.check_connected()?;
    let mut prefs = StreamPrefs::new();
    prefs.connect_to_onion_services(BoolOrAuto::Explicit(true)).set_isolation(isolation);
    let stream = tor.client.connect_with_prefs((site.host.to_string(), site.port), &prefs);
    let stream =
        Box::pin(stream).await.map_err(|error| io::Error::other(describe_error(&error)))?;
    Ok(Box::new(stream))
}
