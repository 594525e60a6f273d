//! A mirror behind a public onion service.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::timeout;
use unanimity_config::{MirrorUrl, TorNetwork, TorSettings, WEB_PORT};
use unanimity_net::file_server::{ServerLimits, serve_files};
use unanimity_storage::{Mode, Storage, StorageError};
use unanimity_testkit::{StaticFiles, TestError};
use unanimity_tor::{AuthorizedClients, ServiceSettings, TorClient};

use crate::onion::process::PROCESS_TIMEOUT;
use crate::tornet::network::PrivateTorNetwork;

/// A mirror that serves the files of a directory at an onion service, until this value is dropped.
pub struct OnionMirror {
    url: MirrorUrl,
    files: StaticFiles,
    server: AbortHandle,
}

const SERVER_LIMITS: ServerLimits = ServerLimits {
    max_connections: 64,
    min_hold: Duration::from_secs(5),
    max_connection_age: Duration::from_secs(600),
    bytes_per_second: None,
};

impl OnionMirror {
    /// Publishes an onion service that serves the directory `served`, with its keys in `state`.
    /// Waits until the service is reachable.
    ///
    /// Call this inside a tokio runtime, which must outlive the returned value.
    pub async fn start(
        network: &PrivateTorNetwork,
        state: &Path,
        served: PathBuf,
    ) -> Result<OnionMirror, TestError> {
        let disk = Storage::default();
        let make_dir = |name: &str| {
            let path = state.join(name);
            disk.make_dir(&path, Mode::Private).map_err(StorageError::at(&path))?;
            Ok::<_, StorageError>(path)
        };
        let network = TorNetwork::Private(network.arti_config());
        let settings =
            TorSettings { state: make_dir("state")?, cache: make_dir("cache")?, network };
        let tor = TorClient::new(&settings, None)?;
        timeout(PROCESS_TIMEOUT, tor.bootstrap(|_, _| {})).await??;
        let service =
            ServiceSettings { nickname: "mirror".into(), port: WEB_PORT, proof_of_work: false };
        let listener = tor.launch_service(&service, &AuthorizedClients::Anyone)?;
        timeout(PROCESS_TIMEOUT, listener.service().wait_until_reachable()).await?;
        let (url, files) =
            (MirrorUrl::from_onion_key(listener.address().key), StaticFiles::new(served));
        let store = Arc::new(files.clone());
        let server = tokio::spawn(async move {
            serve_files(store, listener, SERVER_LIMITS).await;
            drop(tor);
        });
        Ok(OnionMirror { url, files, server: server.abort_handle() })
    }

    /// Returns the mirror's URL.
    pub fn url(&self) -> &MirrorUrl {
        &self.url
    }

    /// Serves another directory from now on.
    pub fn set_directory(&self, directory: PathBuf) {
        self.files.set_directory(directory);
    }
}

impl Drop for OnionMirror {
    fn drop(&mut self) {
        self.server.abort();
    }
}
