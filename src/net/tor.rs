//! Peers over Tor, with arti on both sides. The one place that names arti.
//!
//! A peer is dialled on a circuit of its own that is shared with nobody else's questions. The
//! circuit stays in use while it answers; after any failure the next dial takes a new one, because
//! a circuit to a service that restarted is dead without saying so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arti_client::config::onion_service::OnionServiceConfigBuilder;
use arti_client::config::{BoolOrAuto, CfgPath, TorClientConfigBuilder};
use arti_client::{
    BootstrapBehavior, ErrorKind, HasKind as _, IsolationToken, KeystoreSelector, StreamPrefs,
    TorClient, TorClientConfig,
};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tor_cell::relaycell::msg::{Connected, End, EndReason};
use tor_hscrypto::pk::{HsClientDescEncKey, HsId};
use tor_hsservice::config::restricted_discovery::HsClientNickname;
use tor_hsservice::{OnionServiceConfig, RunningOnionService, StreamRequest, handle_rend_requests};
use tor_linkspec::HasAddrs as _;
use tor_proto::client::stream::DataStream;
use tor_proto::stream::IncomingStreamRequest;
use tor_rtcompat::PreferredRuntime;

use super::{DiscoveryKey, Listener, OnionAddress, Transport};

/// Streams that one client may have open on one circuit to our service.
pub const MAX_STREAMS_PER_CIRCUIT: u32 = 16;

/// How this node takes part in Tor.
#[derive(Clone, Debug)]
pub struct TorSettings {
    /// Keys of our services, guards. Only its owner may read it.
    pub state: PathBuf,
    /// What the network looks like; can be fetched again.
    pub cache: PathBuf,
    /// Which network.
    pub network: TorNetwork,
}

/// The network to take part in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TorNetwork {
    /// The one that everybody uses.
    Public,
    /// Another one, described by a fragment of arti's own configuration. All of its authorities
    /// and first hops must be on loopback: this is for tests and research on one machine.
    Private(String),
}

/// Why Tor cannot be used, in words that never read like a peer's disagreement.
#[derive(Debug, thiserror::Error)]
pub enum TorError {
    /// The settings do not make a configuration.
    #[error("[tor] {0}")]
    Settings(String),
    /// A private network that is not private.
    #[error("[tor] the private network names {0}, which is not on loopback: nothing was started")]
    NotPrivate(String),
    /// arti refused: locks, permissions, keys.
    #[error("Tor cannot start: {0}")]
    Start(arti_client::Error),
    /// No view of the network.
    #[error("Tor cannot be reached (bootstrap): {0}")]
    Bootstrap(arti_client::Error),
    /// Our own service.
    #[error("our onion service cannot start: {0}")]
    Service(String),
}

/// A client of the Tor network, and a host of onion services. Clones share it.
#[derive(Clone)]
pub struct Tor {
    client: Arc<TorClient<PreferredRuntime>>,
    circuits: Arc<Mutex<BTreeMap<OnionAddress, Circuit>>>,
}

/// The isolation of one peer's circuit, and whether it failed us.
#[derive(Clone)]
struct Circuit {
    token: IsolationToken,
    failed: Arc<AtomicBool>,
}

impl Circuit {
    fn new() -> Circuit {
        Circuit { token: IsolationToken::new(), failed: Arc::default() }
    }
}

impl fmt::Debug for Tor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tor")
    }
}

impl TorSettings {
    /// The address that the service of a nickname has, or will have: its identity is made now if
    /// there is none yet. Needs no network, and no [`Tor`] at work on the same state.
    pub fn address_of(&self, nickname: &str, port: u16) -> Result<OnionAddress, TorError> {
        let bad = |error: &dyn fmt::Display| TorError::Service(error.to_string());
        let config = service(nickname, &BTreeMap::new())?;
        let created =
            TorClient::<PreferredRuntime>::create_onion_service(&self.configuration()?, config);
        let service = created.map_err(TorError::Start)?;
        let id = match service.onion_address() {
            Some(id) => id,
            None => (service.generate_identity_key(KeystoreSelector::Primary))
                .map_err(|error| bad(&error))?,
        };
        Ok(OnionAddress { key: *id.as_ref(), port })
    }

    fn configuration(&self) -> Result<TorClientConfig, TorError> {
        let settings = |error: &dyn fmt::Display| TorError::Settings(error.to_string());
        let mut builder = match &self.network {
            TorNetwork::Public => TorClientConfigBuilder::default(),
            TorNetwork::Private(text) => private(text)?,
        };
        let storage = builder.storage();
        storage.state_dir(CfgPath::new_literal(&self.state));
        storage.cache_dir(CfgPath::new_literal(&self.cache));
        builder.address_filter().allow_onion_addrs(true);
        let config = builder.build().map_err(|error| settings(&error))?;
        if self.network != TorNetwork::Public {
            let places = config.dir_mgr_config().map_err(|error| settings(&error))?;
            let authorities = places.authorities();
            let authorities = [authorities.uploads(), authorities.downloads(), authorities.votes()];
            let first_hops = places.fallbacks().iter().flat_map(|relay| relay.addrs());
            let all = authorities.into_iter().flatten().flatten().copied().chain(first_hops);
            if let Some(outside) = all.into_iter().find(|address| !address.ip().is_loopback()) {
                return Err(TorError::NotPrivate(outside.to_string()));
            }
        }
        Ok(config)
    }
}

/// A private network's configuration: it names its own authorities and first hops, and reaches
/// nothing but loopback.
fn private(text: &str) -> Result<TorClientConfigBuilder, TorError> {
    let settings = |error: &dyn fmt::Display| TorError::Settings(error.to_string());
    let mut builder: TorClientConfigBuilder =
        toml::from_str(text).map_err(|error| settings(&error))?;
    let network = builder.tor_network();
    let caches = network.opt_fallback_caches().as_ref().map_or(0, Vec::len);
    let authorities = network.authorities().opt_v3idents().as_ref().map_or(0, Vec::len);
    if caches == 0 || authorities == 0 {
        return Err(TorError::Settings(
            "a private network has to name its own fallback_caches and authorities".to_owned(),
        ));
    }
    let loopback = "127.0.0.1:*".parse().map_err(|error| settings(&error))?;
    builder.path_rules().set_reachable_addrs(vec![loopback]);
    Ok(builder)
}

/// The configuration of a service of ours that only `readers` can find.
fn service(
    nickname: &str,
    readers: &BTreeMap<String, DiscoveryKey>,
) -> Result<OnionServiceConfig, TorError> {
    let bad = |error: &dyn fmt::Display| TorError::Service(error.to_string());
    let mut config = OnionServiceConfigBuilder::default();
    config.nickname(nickname.parse().map_err(|error| bad(&error))?);
    config.max_concurrent_streams_per_circuit(MAX_STREAMS_PER_CIRCUIT);
    let discovery = config.restricted_discovery();
    discovery.enabled(!readers.is_empty());
    for (name, key) in readers {
        let name: HsClientNickname = name.parse().map_err(|error| bad(&error))?;
        let key: HsClientDescEncKey = key.to_string().parse().map_err(|error| bad(&error))?;
        discovery.static_keys().access().push((name, key));
    }
    config.build().map_err(|error| bad(&error))
}

impl Tor {
    /// Opens arti's state, without any connection. Call it inside a tokio runtime.
    pub fn new(settings: &TorSettings) -> Result<Tor, TorError> {
        let config = settings.configuration()?;
        // Fails only if the process has chosen already, which is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let builder = TorClient::builder().config(config);
        let client = builder.bootstrap_behavior(BootstrapBehavior::Manual);
        let client = client.create_unbootstrapped().map_err(TorError::Start)?;
        Ok(Tor { client, circuits: Arc::default() })
    }

    /// Learns what the network looks like. `progress` hears of every step, as a fraction and in words.
    pub async fn bootstrap(&self, mut progress: impl FnMut(f32, String)) -> Result<(), TorError> {
        let mut events = self.client.bootstrap_events();
        let done = self.client.bootstrap();
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                ended = &mut done => return ended.map_err(TorError::Bootstrap),
                Some(status) = events.next() => progress(status.as_frac(), status.to_string()),
            }
        }
    }

    /// The key that makes us able to find a peer's service, once they list it. Made at the first
    /// call and kept.
    pub fn discovery_key(&self, peer: &OnionAddress) -> Result<DiscoveryKey, TorError> {
        let id = HsId::from(peer.key);
        let known = self.client.get_service_discovery_key(id).map_err(TorError::Start)?;
        let key = match known {
            Some(key) => key,
            None => (self.client.generate_service_discovery_key(KeystoreSelector::Primary, id))
                .map_err(TorError::Start)?,
        };
        key.to_string()
            .parse()
            .map_err(|_| TorError::Service("a discovery key in an unknown form".to_owned()))
    }

    /// Hosts the onion service of a nickname, at the same address in every run. Only who holds
    /// one of the `readers`' keys can find it. At least one reader.
    pub fn host(
        &self,
        nickname: &str,
        port: u16,
        readers: &BTreeMap<String, DiscoveryKey>,
    ) -> Result<OnionListener, TorError> {
        let bad = |error: &dyn fmt::Display| TorError::Service(error.to_string());
        if readers.is_empty() {
            return Err(bad(&"nobody is listed who may find it"));
        }
        let config = service(nickname, readers)?;
        let launched = self.client.launch_onion_service(config).map_err(|error| bad(&error))?;
        let (service, requests) = launched.ok_or_else(|| bad(&"it is disabled"))?;
        let id = service.onion_address().ok_or_else(|| bad(&"it has no address"))?;
        let address = OnionAddress { key: *id.as_ref(), port };
        Ok(OnionListener { service, requests: handle_rend_requests(requests).boxed(), address })
    }
}

impl Transport for Tor {
    type Stream = TorStream;

    async fn dial(&self, to: &OnionAddress) -> io::Result<TorStream> {
        let circuit = {
            let mut circuits = self.circuits.lock().unwrap_or_else(PoisonError::into_inner);
            let circuit = circuits.entry(to.clone()).or_insert_with(Circuit::new);
            if circuit.failed.load(Ordering::Relaxed) {
                *circuit = Circuit::new();
            }
            circuit.clone()
        };
        // Until it has answered, it counts as failed: a caller's deadline drops it without a word.
        circuit.failed.store(true, Ordering::Relaxed);
        let mut prefs = StreamPrefs::new();
        prefs.connect_to_onion_services(BoolOrAuto::Explicit(true)).set_isolation(circuit.token);
        let host = to.to_string();
        let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
        let stream = self.client.connect_with_prefs((host, to.port), &prefs).await;
        let stream = stream.map_err(|error| io::Error::other(words(&error)))?;
        Ok(TorStream { stream, failed: Some(circuit.failed) })
    }
}

/// What went wrong on the way to a service: where, and what that may mean.
fn words(error: &arti_client::Error) -> String {
    let place = match error.kind() {
        ErrorKind::OnionServiceNotFound => {
            "descriptor: the service is not published, or does not list us"
        }
        ErrorKind::OnionServiceMissingClientAuth | ErrorKind::OnionServiceWrongClientAuth => {
            "descriptor: the service does not list our discovery key"
        }
        ErrorKind::OnionServiceNotRunning => "introduction: the service has stopped",
        ErrorKind::OnionServiceConnectionFailed | ErrorKind::OnionServiceProtocolViolation => {
            "rendezvous: the service did not come"
        }
        ErrorKind::RemoteNetworkTimeout
        | ErrorKind::RemoteStreamClosed
        | ErrorKind::RemoteStreamReset
        | ErrorKind::RemoteStreamError
        | ErrorKind::RemoteConnectionRefused => "stream: the service does not answer",
        ErrorKind::BootstrapRequired => "bootstrap: Tor is not connected yet",
        ErrorKind::LocalNetworkError => "this machine's own network",
        _ => "Tor",
    };
    format!("{place} ({error})")
}

/// A stream to or from a peer. Reading from it proves that its circuit is alive.
#[derive(Debug)]
pub struct TorStream {
    stream: DataStream,
    failed: Option<Arc<AtomicBool>>,
}

impl AsyncRead for TorStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = AsyncRead::poll_read(Pin::new(&mut self.stream), cx, buf);
        if let (Poll::Ready(read), Some(failed)) = (&polled, &self.failed) {
            failed.store(read.is_err() || buf.filled().len() == before, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for TorStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), cx)
    }
}

/// An onion service of ours, running while this lives.
pub struct OnionListener {
    service: Arc<RunningOnionService>,
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

    /// Completes once the service is published and can be reached.
    pub async fn reachable(&self) {
        let mut events = self.service.status_events();
        while let Some(status) = events.next().await {
            if status.state().is_fully_reachable() {
                return;
            }
        }
    }
}

impl Listener for OnionListener {
    type Stream = TorStream;

    async fn accept(&mut self) -> io::Result<TorStream> {
        loop {
            let request = self.requests.next().await;
            let request = request.ok_or_else(|| io::Error::other("the onion service ended"))?;
            let ours = matches!(request.request(), IncomingStreamRequest::Begin(begin) if begin.port() == self.address.port);
            if !ours {
                // A refused stream concerns nobody but who asked for it.
                request.reject(End::new_with_reason(EndReason::DONE)).await.ok();
                continue;
            }
            if let Ok(stream) = request.accept(Connected::new_empty()).await {
                return Ok(TorStream { stream, failed: None });
            }
        }
    }
}
