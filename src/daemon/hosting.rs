//! The daemon's onion services: one for peers and, if configured, one with artifacts for anyone.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use unanimity_client::ArtifactCache;
use unanimity_config::WEB_PORT;
use unanimity_net::file_server::{ServerLimits, serve_files};
use unanimity_report::redact;
use unanimity_storage::{Clock as _, Storage, SystemClock};
use unanimity_tor::{AuthorizedClients, artifact_service_settings, service_settings};

use crate::daemon::Daemon;
use crate::node::NodeError;

/// The limits of the artifact service, except for the rate, which the configuration sets. A client
/// whose connection is ended can continue its download.
const ARTIFACT_LIMITS: ServerLimits = ServerLimits {
    max_connections: 32,
    min_hold: Duration::from_secs(5),
    max_connection_age: Duration::from_secs(60 * 60),
    bytes_per_second: None,
};

impl Daemon {
    /// Hosts the peer service while at least one client may find it.
    pub(super) async fn host_peer_service(self: Arc<Self>) {
        let (Some(role), Some(serve)) = (&self.node.role, &self.node.config.serve) else {
            return pending().await;
        };
        let settings = service_settings(serve);
        loop {
            self.wait_connected().await;
            match self.authorized_clients() {
                Ok(None) => {
                    tracing::info!(
                        "no peer may find this node's onion service yet: `unanimity peers invite`"
                    );
                    self.listing_changed.notified().await;
                }
                Ok(Some(clients)) => match self.tor.launch_service(&settings, &clients) {
                    Ok(listener) => {
                        *self.lock_peer_service() = Some((listener.service().clone(), clients));
                        tracing::info!("hosting this node's onion service");
                        let (split, questions, file_requests) = listener.split_by_port(WEB_PORT);
                        let ended = async {
                            tokio::select! {
                                () = split => {}
                                () = role.witness.clone().serve_connections(questions) => {}
                                () = role.witness.clone().serve_files(file_requests) => {}
                            }
                        };
                        tokio::select! {
                            () = ended => {
                                tracing::error!("this node's onion service ended and is started again");
                            }
                            () = self.wait_until_unlisted() => {}
                        }
                        // Dropping the handle stops the service.
                        *self.lock_peer_service() = None;
                        sleep(Duration::from_secs(5)).await;
                    }
                    Err(error) => {
                        tracing::error!("{}", redact(error));
                        sleep(Duration::from_secs(30)).await;
                    }
                },
                Err(error) => {
                    tracing::error!("{}", redact(error));
                    sleep(Duration::from_secs(30)).await;
                }
            }
        }
    }

    /// Hosts the artifact service, if the configuration has `[serve.artifacts]`.
    ///
    /// The service is open to anyone, and has an address of its own. A peer that knows only the
    /// address of the peer service does not learn which releases this node has.
    pub(super) async fn host_artifacts(self: Arc<Self>) {
        let config = &self.node.config;
        let Some(settings) = config.serve.as_ref().and_then(|serve| serve.artifacts) else {
            return pending().await;
        };
        let artifacts = Arc::new(ArtifactCache::new(
            &config.cycle.state,
            settings.max_bytes,
            Storage::default(),
        ));
        let limits =
            ServerLimits { bytes_per_second: Some(settings.bytes_per_second), ..ARTIFACT_LIMITS };
        loop {
            self.wait_connected().await;
            match self.tor.launch_service(&artifact_service_settings(), &AuthorizedClients::Anyone)
            {
                Ok(listener) => {
                    tracing::info!("serving artifacts");
                    serve_files(artifacts.clone(), listener, limits).await;
                    tracing::error!("the artifact service ended and is started again");
                }
                Err(error) => tracing::error!("{}", redact(error)),
            }
            sleep(Duration::from_secs(30)).await;
        }
    }

    /// Completes once no client may find the peer service any more.
    async fn wait_until_unlisted(&self) {
        while !matches!(self.authorized_clients(), Ok(None)) {
            self.listing_changed.notified().await;
        }
    }

    /// Returns the clients that may find the peer service; `None` if there are none.
    pub(super) fn authorized_clients(&self) -> Result<Option<AuthorizedClients>, NodeError> {
        if self.node.config.serve.as_ref().is_some_and(|serve| !serve.client_auth) {
            return Ok(Some(AuthorizedClients::Anyone));
        }
        let listed = self.node.config.reload()?.peers.client_auth_keys(SystemClock.now());
        Ok((!listed.is_empty()).then(|| AuthorizedClients::Listed(listed.into_values().collect())))
    }
}
