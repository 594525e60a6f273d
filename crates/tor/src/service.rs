//! The onion services of this node. A service has the same address in every run. Client
//! authorization can limit the clients that find it.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use arti_client::config::Reconfigure;
use arti_client::config::onion_service::OnionServiceConfigBuilder;
use arti_client::{KeystoreSelector, TorClient as ArtiClient};
use data_encoding::HEXLOWER;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tor_cell::relaycell::msg::{Connected, End, EndReason};
use tor_hscrypto::pk::HsClientDescEncKey;
use tor_hsservice::config::restricted_discovery::HsClientNickname;
use tor_hsservice::{OnionServiceConfig, RunningOnionService, StreamRequest, handle_rend_requests};
use tor_proto::stream::IncomingStreamRequest;
use tor_rtcompat::PreferredRuntime;
use unanimity_config::{OnionAddress, TorSettings};
use unanimity_net::Listener;

use crate::arti_config::build_config;
use crate::authorized_clients::AuthorizedClients;
use crate::{TorClient, TorError, TorStream};

/// The most streams that one client may have open on one circuit to a service of this node.
pub const MAX_STREAMS_PER_CIRCUIT: u32 = 16;

/// The most time for confirming or rejecting a stream. Other clients wait meanwhile.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most requests that wait at a port of a service until there is room for a connection.
///
/// All other requests wait in arti, which takes them from the circuits in turn. So a client with
/// many requests on a few circuits is not served before clients with one request.
const MAX_WAITING_REQUESTS: usize = 1;

/// The settings of an onion service, without its authorized clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The name under which arti keeps the service's identity. Each service of a node has its own.
    pub nickname: String,
    /// The port of the service.
    pub port: u16,
    /// Whether clients need a proof of work while the service is flooded. Only in a build with the
    /// feature `pow`.
    pub proof_of_work: bool,
}

impl ServiceSettings {
    fn to_arti_config(&self, clients: &AuthorizedClients) -> Result<OnionServiceConfig, TorError> {
        let mut config = OnionServiceConfigBuilder::default();
        config.nickname(self.nickname.parse().map_err(service_error)?);
        config.max_concurrent_streams_per_circuit(MAX_STREAMS_PER_CIRCUIT);
        if self.proof_of_work {
            config.enable_pow(true);
        }
        if let AuthorizedClients::Listed(keys) = clients {
            if keys.is_empty() {
                return Err(service_error(
                    "no client is authorized, and client authorization is on",
                ));
            }
            let discovery = config.restricted_discovery();
            discovery.enabled(true);
            for key in keys {
                // The name of the client for arti, which does not accept all characters of the
                // names in the configuration.
                let name: HsClientNickname =
                    HEXLOWER.encode(&key.0).parse().map_err(service_error)?;
                let key: HsClientDescEncKey = key.to_string().parse().map_err(service_error)?;
                discovery.static_keys().access().push((name, key));
            }
        }
        config.build().map_err(service_error)
    }
}

fn service_error(error: impl fmt::Display) -> TorError {
    TorError::Service(error.to_string())
}

/// Reads the address of a service. Makes its identity if it has none yet.
///
/// Needs no network. No [`TorClient`] may be using the same state.
pub fn service_address(
    settings: &TorSettings,
    service_settings: &ServiceSettings,
) -> Result<OnionAddress, TorError> {
    let config = service_settings.to_arti_config(&AuthorizedClients::Anyone)?;
    let created =
        ArtiClient::<PreferredRuntime>::create_onion_service(&build_config(settings)?, config);
    let service = created.map_err(|error| TorError::Start(error.to_string()))?;
    let id = match service.onion_address() {
        Some(id) => id,
        None => service.generate_identity_key(KeystoreSelector::Primary).map_err(service_error)?,
    };
    Ok(OnionAddress { key: *id.as_ref(), port: service_settings.port })
}

impl TorClient {
    /// Starts an onion service. Its address is the same in every run.
    pub fn launch_service(
        &self,
        settings: &ServiceSettings,
        clients: &AuthorizedClients,
    ) -> Result<OnionListener, TorError> {
        let config = settings.to_arti_config(clients)?;
        let launched = self.client.launch_onion_service(config).map_err(service_error)?;
        let (running, requests) = launched.ok_or_else(|| service_error("it is disabled"))?;
        let id = running.onion_address().ok_or_else(|| service_error("it has no address"))?;
        let address = OnionAddress { key: *id.as_ref(), port: settings.port };
        let service = OnionService { running, settings: settings.clone() };
        Ok(OnionListener { service, requests: handle_rend_requests(requests).boxed(), address })
    }
}

/// A handle of a running onion service. The service ends when its last handle is dropped.
#[derive(Clone)]
pub struct OnionService {
    running: Arc<RunningOnionService>,
    settings: ServiceSettings,
}

impl fmt::Debug for OnionService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnionService(..)")
    }
}

impl OnionService {
    /// Replaces the clients that can find the service.
    ///
    /// A client that is removed may still reach the service for a while. Client authorization is a
    /// defence against floods, not a permission.
    pub fn set_authorized_clients(&self, clients: &AuthorizedClients) -> Result<(), TorError> {
        let config = self.settings.to_arti_config(clients)?;
        self.running.reconfigure(config, Reconfigure::AllOrNothing).map_err(service_error)
    }

    /// Whether the service is published and can be reached, as far as this node knows.
    pub fn is_reachable(&self) -> bool {
        self.running.status().state().is_fully_reachable()
    }

    /// Waits until the service is published and can be reached.
    pub async fn wait_until_reachable(&self) {
        let mut events = self.running.status_events();
        while let Some(status) = events.next().await {
            if status.state().is_fully_reachable() {
                return;
            }
        }
    }
}

/// An onion service of this node, with the requests of its clients.
pub struct OnionListener {
    service: OnionService,
    requests: BoxStream<'static, StreamRequest>,
    address: OnionAddress,
}

impl fmt::Debug for OnionListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnionListener(..)")
    }
}

impl OnionListener {
    /// The address of the service.
    pub fn address(&self) -> &OnionAddress {
        &self.address
    }

    /// A handle of the service.
    pub fn service(&self) -> &OnionService {
        &self.service
    }
}

impl OnionListener {
    /// Waits for the next request for one of these ports, and rejects all other requests. Returns
    /// the index of the port.
    async fn next_request(&mut self, ports: &[u16]) -> io::Result<(usize, StreamRequest)> {
        loop {
            let request = self.requests.next().await.ok_or_else(service_ended_error)?;
            let port = match request.request() {
                IncomingStreamRequest::Begin(begin) => Some(begin.port()),
                _ => None,
            };
            match ports.iter().position(|listened| Some(*listened) == port) {
                Some(index) => return Ok((index, request)),
                None => reject_request(request).await,
            }
        }
    }

    /// Splits the service into two listeners: at its own port, and at another port.
    ///
    /// The listeners get requests only while the returned future runs. The future completes when
    /// the service ends.
    pub fn split_by_port(
        mut self,
        port: u16,
    ) -> (impl Future<Output = ()>, PortListener, PortListener) {
        let [(first, first_requests), (second, second_requests)] =
            [0; 2].map(|_| mpsc::channel(MAX_WAITING_REQUESTS));
        let ports = [self.address.port, port];
        let forward_requests = async move {
            while let Ok((index, request)) = self.next_request(&ports).await {
                // A request for a port without room delays the requests for the other port, until
                // the oldest connection of the first port is closed.
                [&first, &second][index].send(request).await.ok();
            }
        };
        (forward_requests, PortListener(first_requests), PortListener(second_requests))
    }
}

impl Listener for OnionListener {
    type Stream = TorStream;

    async fn accept(&mut self) -> io::Result<TorStream> {
        let port = self.address.port;
        loop {
            let (_, request) = self.next_request(&[port]).await?;
            if let Some(stream) = accept_stream(request).await {
                return Ok(stream);
            }
        }
    }
}

fn service_ended_error() -> io::Error {
    io::Error::other("the onion service ended")
}

/// Accepts a request. `None` if the stream does not open, which affects no other client.
async fn accept_stream(request: StreamRequest) -> Option<TorStream> {
    let opened = timeout(ACCEPT_TIMEOUT, request.accept(Connected::new_empty())).await;
    let stream = opened.ok()?.ok()?;
    Some(TorStream { stream, failed: None })
}

async fn reject_request(request: StreamRequest) {
    let refused = request.reject(End::new_with_reason(EndReason::DONE));
    timeout(ACCEPT_TIMEOUT, refused).await.ok();
}

/// The connections to one port of an onion service.
pub struct PortListener(mpsc::Receiver<StreamRequest>);

impl fmt::Debug for PortListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PortListener(..)")
    }
}

impl Listener for PortListener {
    type Stream = TorStream;

    async fn accept(&mut self) -> io::Result<TorStream> {
        loop {
            let request = self.0.recv().await.ok_or_else(service_ended_error)?;
            if let Some(stream) = accept_stream(request).await {
                return Ok(stream);
            }
        }
    }
}
