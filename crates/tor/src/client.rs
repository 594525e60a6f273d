//! The client of the Tor network.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use arti_client::config::BoolOrAuto;
use arti_client::{
    BootstrapBehavior, ErrorKind, HasKind as _, IsolationToken, KeystoreSelector, StreamPrefs,
    TorClient as ArtiClient,
};
use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};
use tor_hscrypto::pk::{HsClientDescEncKey, HsClientDescEncSecretKey, HsId};
use tor_llcrypto::pk::curve25519::StaticSecret;
use tor_proto::ClientTunnel;
use tor_proto::client::stream::{ClientStreamCtrl as _, DataStream, StreamParameters};
use tor_rtcompat::PreferredRuntime;
use unanimity_config::{ClientAuthSecret, OnionAddress, TorNetwork, TorSettings};
use unanimity_net::{Transport, WebConnector};

use crate::arti_config::build_config;
use crate::error::TorError;

/// A client of the Tor network, and a host of onion services. Clones share one connection to the
/// network.
#[derive(Clone)]
pub struct TorClient {
    pub(crate) client: Arc<ArtiClient<PreferredRuntime>>,
    client_auth: Option<ClientAuthSecret>,
    connected: Arc<AtomicBool>,
    circuits: Arc<Mutex<BTreeMap<OnionAddress, Circuit>>>,
}

/// How long an unused circuit is kept: as long as arti keeps its own.
const CIRCUIT_IDLE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// How long opening a stream on a kept circuit may take before the circuit counts as dead. On the
/// public network, one round trip in a thousand takes longer than 8.6 s.
const WARM_TIMEOUT: Duration = Duration::from_secs(10);

/// The circuit to one peer, and whether the circuit has failed.
#[derive(Clone)]
struct Circuit {
    tunnel: Arc<ClientTunnel>,
    failed: Arc<AtomicBool>,
    last_used: Instant,
}

impl Circuit {
    /// Opens a stream on the circuit. `None` if the circuit is dead.
    async fn open_stream(&self, port: u16) -> Option<DataStream> {
        // Only the port is sent to an onion service (rend-spec-v3), as arti does.
        let mut parameters = StreamParameters::default();
        parameters.suppress_hostname().suppress_begin_flags();
        timeout(WARM_TIMEOUT, self.tunnel.begin_stream("", port, Some(parameters))).await.ok()?.ok()
    }
}

impl fmt::Debug for TorClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TorClient")
    }
}

impl TorClient {
    /// Opens arti's state without any connection. The client can find services that list the public
    /// half of `client_auth`. Must be called inside a tokio runtime.
    pub fn new(
        settings: &TorSettings,
        client_auth: Option<ClientAuthSecret>,
    ) -> Result<TorClient, TorError> {
        if settings.network == TorNetwork::Offline {
            let why = "offline is set: this node can neither reach peers nor serve them";
            return Err(TorError::Settings(why.to_owned()));
        }
        let config = build_config(settings)?;
        // Fails only if the process has a provider already, which is fine.
        rustls::crypto::ring::default_provider().install_default().ok();
        let builder = ArtiClient::builder().config(config);
        let client = builder.bootstrap_behavior(BootstrapBehavior::Manual);
        let client =
            client.create_unbootstrapped().map_err(|error| TorError::Start(error.to_string()))?;
        Ok(TorClient { client, client_auth, connected: Arc::default(), circuits: Arc::default() })
    }

    /// Connects to the network. Reports every step to `progress`, as a fraction from 0 to 1 and in
    /// words.
    pub async fn bootstrap(&self, mut progress: impl FnMut(f32, String)) -> Result<(), TorError> {
        let mut events = self.client.bootstrap_events();
        let done = self.client.bootstrap();
        tokio::pin!(done);
        loop {
            tokio::select! {
                biased;
                result = &mut done => {
                    result.map_err(|error| TorError::Bootstrap(error.to_string()))?;
                    self.connected.store(true, Ordering::Relaxed);
                    // With a fresh cache there may be no other event.
                    progress(1.0, "connected".to_owned());
                    return Ok(());
                }
                Some(status) = events.next() => progress(status.as_frac(), status.to_string()),
            }
        }
    }
}

impl TorClient {
    /// Fails if the bootstrap is not done yet. arti would wait until the deadline instead, and hide
    /// the reason.
    pub(crate) fn check_connected(&self) -> io::Result<()> {
        if self.connected.load(Ordering::Relaxed) {
            return Ok(());
        }
        let status = self.client.bootstrap_status();
        Err(io::Error::other(format!("{NOT_CONNECTED} ({status})")))
    }

    /// Registers this node's client authorization key with arti for a service. The keystore changes
    /// only at the first dial of a peer, and after this node's key was replaced.
    fn register_client_auth_key(&self, to: &OnionAddress) -> Result<(), arti_client::Error> {
        let Some(secret) = &self.client_auth else { return Ok(()) };
        let (id, store) = (HsId::from(to.key), KeystoreSelector::Primary);
        let key = StaticSecret::from(*secret.as_bytes());
        let key = HsClientDescEncSecretKey::from(key);
        let known = self.client.get_service_discovery_key(id)?;
        if known.as_ref() == Some(&HsClientDescEncKey::from(&key)) {
            return Ok(());
        }
        if known.is_some() {
            self.client.remove_service_discovery_key(store, id)?;
        }
        self.client.insert_service_discovery_key(store, id, key)?;
        Ok(())
    }

    /// Takes the kept circuit to a peer, if the peer answered on it last time.
    fn reuse_circuit(&self, to: &OnionAddress) -> Option<Circuit> {
        let mut circuits = self.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        circuits.retain(|_, circuit| circuit.last_used.elapsed() < CIRCUIT_IDLE_TIMEOUT);
        let circuit = circuits.get_mut(to)?;
        // Until the peer has answered, the circuit counts as failed: a caller's deadline drops the
        // stream without an error.
        if circuit.failed.swap(true, Ordering::Relaxed) || circuit.tunnel.is_closed() {
            circuits.remove(to);
            return None;
        }
        circuit.last_used = Instant::now();
        Some(circuit.clone())
    }
}

impl Transport for TorClient {
    type Stream = TorStream;

    async fn dial(&self, to: &OnionAddress) -> io::Result<TorStream> {
        self.check_connected()?;
        self.register_client_auth_key(to)
            .map_err(|error| io::Error::other(describe_error(&error)))?;
        if let Some(circuit) = self.reuse_circuit(to)
            && let Some(stream) = circuit.open_stream(to.port).await
        {
            return Ok(TorStream { stream, failed: Some(circuit.failed) });
        }
        let mut prefs = StreamPrefs::new();
        let isolation = IsolationToken::new();
        prefs.connect_to_onion_services(BoolOrAuto::Explicit(true)).set_isolation(isolation);
        let stream = self.client.connect_with_prefs((to.host(), to.port), &prefs);
        let stream = Box::pin(stream).await;
        let stream = stream.map_err(|error| io::Error::other(describe_error(&error)))?;
        let failed = Arc::new(AtomicBool::new(true));
        if let Some(tunnel) = stream.client_stream_ctrl().and_then(|control| control.tunnel()) {
            let circuit = Circuit { tunnel, failed: failed.clone(), last_used: Instant::now() };
            let mut circuits = self.circuits.lock().unwrap_or_else(PoisonError::into_inner);
            circuits.insert(to.clone(), circuit);
        }
        Ok(TorStream { stream, failed: Some(failed) })
    }

    /// The connector for the files that peers serve. It reaches a peer only after a dial, which
    /// gives arti this node's key for the peer.
    fn web_connector(&self) -> Option<Arc<dyn WebConnector>> {
        Some(Arc::new(self.clone()))
    }
}

const NOT_CONNECTED: &str = "bootstrap: Tor is not connected yet";

/// Describes an error on the way to a service: the step that failed, and its likely reason.
pub(crate) fn describe_error(error: &arti_client::Error) -> String {
    let step = match error.kind() {
        ErrorKind::OnionServiceNotFound => {
            "descriptor: the service is not published, or does not list this node's client authorization key"
        }
        ErrorKind::OnionServiceMissingClientAuth | ErrorKind::OnionServiceWrongClientAuth => {
            "descriptor: the service does not list this node's client authorization key"
        }
        ErrorKind::OnionServiceNotRunning => "introduction: the service has stopped",
        ErrorKind::OnionServiceConnectionFailed | ErrorKind::OnionServiceProtocolViolation => {
            "rendezvous: the service did not connect"
        }
        ErrorKind::RemoteNetworkTimeout
        | ErrorKind::RemoteStreamClosed
        | ErrorKind::RemoteStreamReset
        | ErrorKind::RemoteStreamError
        | ErrorKind::RemoteConnectionRefused => "stream: the service does not answer",
        ErrorKind::BootstrapRequired => NOT_CONNECTED,
        ErrorKind::LocalNetworkError => "network: this machine's own network failed",
        _ => "Tor",
    };
    format!("{step} ({error})")
}

/// A stream to or from a peer. A read of at least one byte proves that the circuit is alive.
#[derive(Debug)]
pub struct TorStream {
    pub(crate) stream: DataStream,
    pub(crate) failed: Option<Arc<AtomicBool>>,
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
