//! Our onion service: hosted at the same address in every run, found only by who is listed.

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

use crate::arti_config::configuration;
use crate::readers::Readers;
use crate::{Tor, TorError, TorStream};

/// Streams that one client may have open on one circuit to our service.
pub const MAX_STREAMS_PER_CIRCUIT: u32 = 16;

/// How long it may take to tell somebody that their stream is open: others wait behind them.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests that wait at a door of ours until there is a place for them. None of them is a stream yet,
/// and all others wait in arti, which takes them from every circuit in turn: whoever has many of them on
/// a few circuits is not served before those who have one.
const MAX_WAITING: usize = 1;

/// What a service is like, but for who finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosting {
    /// Under which name its identity is kept, beside others of this node.
    pub nickname: String,
    /// Its port.
    pub port: u16,
    /// Whether clients have to work before they reach it, while it is flooded. Only in a build
    /// with the feature `pow`.
    pub proof_of_work: bool,
}

impl Hosting {
    fn config(&self, readers: &Readers) -> Result<OnionServiceConfig, TorError> {
        let mut config = OnionServiceConfigBuilder::default();
        config.nickname(self.nickname.parse().map_err(bad)?);
        config.max_concurrent_streams_per_circuit(MAX_STREAMS_PER_CIRCUIT);
        if self.proof_of_work {
            config.enable_pow(true);
        }
        if let Readers::Listed(keys) = readers {
            if keys.is_empty() {
                return Err(bad("nobody is listed who may find it"));
            }
            let discovery = config.restricted_discovery();
            discovery.enabled(true);
            for key in keys {
                // arti's name for it; ours may have characters that it does not take.
                let name: HsClientNickname = HEXLOWER.encode(&key.0).parse().map_err(bad)?;
                let key: HsClientDescEncKey = key.to_string().parse().map_err(bad)?;
                discovery.static_keys().access().push((name, key));
            }
        }
        config.build().map_err(bad)
    }
}

fn bad(error: impl fmt::Display) -> TorError {
    TorError::Service(error.to_string())
}

/// The address that a service has, or will have: its identity is made now if there is none
/// yet. Needs no network, and no [`Tor`] at work on the same state.
pub fn address_of(settings: &TorSettings, hosting: &Hosting) -> Result<OnionAddress, TorError> {
    let config = hosting.config(&Readers::Anyone)?;
    let created =
        ArtiClient::<PreferredRuntime>::create_onion_service(&configuration(settings)?, config);
    let service = created.map_err(|error| TorError::Start(error.to_string()))?;
    let id = match service.onion_address() {
        Some(id) => id,
        None => service.generate_identity_key(KeystoreSelector::Primary).map_err(bad)?,
    };
    Ok(OnionAddress { key: *id.as_ref(), port: hosting.port })
}

impl Tor {
    /// Hosts an onion service, at the same address in every run.
    pub fn host(&self, hosting: &Hosting, readers: &Readers) -> Result<OnionListener, TorError> {
        let config = hosting.config(readers)?;
        let launched = self.client.launch_onion_service(config).map_err(bad)?;
        let (running, requests) = launched.ok_or_else(|| bad("it is disabled"))?;
        let id = running.onion_address().ok_or_else(|| bad("it has no address"))?;
        let address = OnionAddress { key: *id.as_ref(), port: hosting.port };
        let service = Service { running, hosting: hosting.clone() };
        Ok(OnionListener { service, requests: handle_rend_requests(requests).boxed(), address })
    }
}

/// A hold on a service of ours, which runs while one of its holds lives.
#[derive(Clone)]
pub struct Service {
    running: Arc<RunningOnionService>,
    hosting: Hosting,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service(..)")
    }
}

impl Service {
    /// Lets others find it from now on. Whoever is listed no more may still know the way for a
    /// while: being listed is no permission, only a defence against floods.
    pub fn list(&self, readers: &Readers) -> Result<(), TorError> {
        let config = self.hosting.config(readers)?;
        self.running.reconfigure(config, Reconfigure::AllOrNothing).map_err(bad)
    }

    /// Whether it is published and can be reached, as far as we know.
    pub fn is_reachable(&self) -> bool {
        self.running.status().state().is_fully_reachable()
    }

    /// Completes once it is published and can be reached.
    pub async fn reachable(&self) {
        let mut events = self.running.status_events();
        while let Some(status) = events.next().await {
            if status.state().is_fully_reachable() {
                return;
            }
        }
    }
}

/// An onion service of ours, and who connects to it.
pub struct OnionListener {
    service: Service,
    requests: BoxStream<'static, StreamRequest>,
    address: OnionAddress,
}

impl fmt::Debug for OnionListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnionListener(..)")
    }
}

impl OnionListener {
    /// Where it is reached.
    pub fn address(&self) -> &OnionAddress {
        &self.address
    }

    /// The service itself.
    pub fn service(&self) -> &Service {
        &self.service
    }
}

impl OnionListener {
    /// The next request for one of these ports, and which.
    async fn request_at(&mut self, ports: &[u16]) -> io::Result<(usize, StreamRequest)> {
        loop {
            let request = self.requests.next().await.ok_or_else(ended)?;
            let port = match request.request() {
                IncomingStreamRequest::Begin(begin) => Some(begin.port()),
                _ => None,
            };
            match ports.iter().position(|door| Some(*door) == port) {
                Some(door) => return Ok((door, request)),
                None => turn_away(request).await,
            }
        }
    }

    /// Two doors of one service: at its own port, and at another. Both are open while the future is
    /// at work; it completes when the service ends.
    pub fn with_second(mut self, port: u16) -> (impl Future<Output = ()>, Door, Door) {
        let [(first, one), (second, other)] = [0; 2].map(|_| mpsc::channel(MAX_WAITING));
        let ports = [self.address.port, port];
        let open = async move {
            while let Ok((door, request)) = self.request_at(&ports).await {
                // Whoever is in front of a door that is full holds up the other door too: until the
                // oldest behind it has had its time.
                [&first, &second][door].send(request).await.ok();
            }
        };
        (open, Door(one), Door(other))
    }
}

impl Listener for OnionListener {
    type Stream = TorStream;

    async fn accept(&mut self) -> io::Result<TorStream> {
        let port = self.address.port;
        loop {
            let (_, request) = self.request_at(&[port]).await?;
            if let Some(stream) = open(request).await {
                return Ok(stream);
            }
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("the onion service ended")
}

/// A stream that does not open, or that is refused, concerns nobody but who asked for it.
async fn open(request: StreamRequest) -> Option<TorStream> {
    let opened = timeout(ACCEPT_TIMEOUT, request.accept(Connected::new_empty())).await;
    let stream = opened.ok()?.ok()?;
    Some(TorStream { stream, failed: None })
}

async fn turn_away(request: StreamRequest) {
    let refused = request.reject(End::new_with_reason(EndReason::DONE));
    timeout(ACCEPT_TIMEOUT, refused).await.ok();
}

/// Where those arrive who connect to one port of a service.
pub struct Door(mpsc::Receiver<StreamRequest>);

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door(..)")
    }
}

impl Listener for Door {
    type Stream = TorStream;

    async fn accept(&mut self) -> io::Result<TorStream> {
        loop {
            let request = self.0.recv().await.ok_or_else(ended)?;
            if let Some(stream) = open(request).await {
                return Ok(stream);
            }
        }
    }
}
