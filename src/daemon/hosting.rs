//! Our onion services: the one that peers ask and read, and, if it was asked for, the one where anyone
//! fetches artifacts.

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

/// What those may take who fetch artifacts, but for the rate. Whoever is cut off goes on where they were.
const ARTIFACT_LIMITS: ServerLimits = ServerLimits {
    max_connections: 32,
    min_hold: Duration::from_secs(5),
    max_connection_age: Duration::from_secs(60 * 60),
    bytes_per_second: None,
};

impl Daemon {
    /// Hosts the service, once somebody is listed who may find it.
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
                        "nobody is listed who may find our service: `unanimity peers invite`"
                    );
                    self.listing_changed.notified().await;
                }
                Ok(Some(readers)) => match self.tor.launch_service(&settings, &readers) {
                    Ok(listener) => {
                        *self.lock_peer_service() = Some((listener.service().clone(), readers));
                        tracing::info!("hosting our onion service");
                        let (open, questions, readers) = listener.split_by_port(WEB_PORT);
                        let ended = async {
                            tokio::select! {
                                () = open => {}
                                () = role.witness.clone().serve_connections(questions) => {}
                                () = role.witness.clone().serve_files(readers) => {}
                            }
                        };
                        tokio::select! {
                            () = ended => {
                                tracing::error!("our onion service ended; it is started again");
                            }
                            () = self.wait_until_unlisted() => {}
                        }
                        // It runs while anybody has a hold on it.
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

    /// Serves the artifacts that are kept for others, if any are to be: to anyone, at an address of
    /// their own, so that no peer learns what those run who are listed with it.
    pub(super) async fn host_artifacts(self: Arc<Self>) {
        let config = &self.node.config;
        let Some(served) = config.serve.as_ref().and_then(|serve| serve.artifacts) else {
            return pending().await;
        };
        let artifacts =
            Arc::new(ArtifactCache::new(&config.cycle.state, served.max_bytes, Storage::default()));
        let bounds =
            ServerLimits { bytes_per_second: Some(served.bytes_per_second), ..ARTIFACT_LIMITS };
        loop {
            self.wait_connected().await;
            match self.tor.launch_service(&artifact_service_settings(), &AuthorizedClients::Anyone)
            {
                Ok(listener) => {
                    tracing::info!("serving artifacts");
                    serve_files(artifacts.clone(), listener, bounds).await;
                    tracing::error!("the service of artifacts ended; it is started again");
                }
                Err(error) => tracing::error!("{}", redact(error)),
            }
            sleep(Duration::from_secs(30)).await;
        }
    }

    /// Completes once nobody is listed any more.
    async fn wait_until_unlisted(&self) {
        while !matches!(self.authorized_clients(), Ok(None)) {
            self.listing_changed.notified().await;
        }
    }

    /// Who may find us; `None` if nobody is listed.
    pub(super) fn authorized_clients(&self) -> Result<Option<AuthorizedClients>, NodeError> {
        if self.node.config.serve.as_ref().is_some_and(|serve| !serve.client_auth) {
            return Ok(Some(AuthorizedClients::Anyone));
        }
        let listed = self.node.config.reload()?.peers.client_auth_keys(SystemClock.now());
        Ok((!listed.is_empty()).then(|| AuthorizedClients::Listed(listed.into_values().collect())))
    }
}
