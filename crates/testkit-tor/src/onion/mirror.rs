//! A mirror behind an onion service that anybody finds.

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
use crate::tornet::network::PrivateTorNetwork as Tornet;

/// Files of a directory, served while this value lives.
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
    /// Publishes the service, whose keys are kept in `state`, and waits until it can be found. Call it
    /// inside a tokio runtime, which has to outlive it.
    pub async fn start(
        network: &Tornet,
        state: &Path,
        shown: PathBuf,
    ) -> Result<OnionMirror, TestError> {
        let disk = Storage::default();
        let place = |name: &str| {
            let place = state.join(name);
            disk.make_dir(&place, Mode::Private).map_err(StorageError::at(&place))?;
            Ok::<_, StorageError>(place)
        };
        let network = TorNetwork::Private(network.arti_config());
        let settings = TorSettings { state: place("state")?, cache: place("cache")?, network };
        let tor = TorClient::new(&settings, None)?;
        timeout(PROCESS_TIMEOUT, tor.bootstrap(|_, _| {})).await??;
        let hosting =
            ServiceSettings { nickname: "mirror".into(), port: WEB_PORT, proof_of_work: false };
        let listener = tor.launch_service(&hosting, &AuthorizedClients::Anyone)?;
        timeout(PROCESS_TIMEOUT, listener.service().wait_until_reachable()).await?;
        let (site, folder) =
            (MirrorUrl::from_onion_key(listener.address().key), StaticFiles::new(shown));
        let files = Arc::new(folder.clone());
        let serving = tokio::spawn(async move {
            serve_files(files, listener, SERVER_LIMITS).await;
            drop(tor);
        });
        Ok(OnionMirror { url: site, files: folder, server: serving.abort_handle() })
    }

    /// Where it is.
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
