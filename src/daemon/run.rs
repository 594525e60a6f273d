//! The running daemon: a witness and a client on one connection to Tor.
//!
//! The daemon hosts the onion services, polls the mirrors, runs cycles at random times, keeps the
//! circuits to all peers open, and delivers alerts. No other process uses the state meanwhile.
//! Commands reach the daemon through [`control_socket`].

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex as FairMutex, Notify, broadcast, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use unanimity_client::{
    CycleError, CycleMode, CycleOutcome, CycleProgress, CycleReport, ProgressSink,
};
use unanimity_config::{Membership, MirrorSpec, PeerEntry, ServePolicy};
use unanimity_net::WebConnector;
use unanimity_protocol::ConfirmedRelease;
use unanimity_report::{CycleStatus, redact};
use unanimity_storage::{Clock as _, SystemClock};
use unanimity_tor::{AuthorizedClients, OnionService, TorClient};

use crate::advice;
use crate::daemon::status_channel::{
    StatusReceiver, StatusSender, forward_statuses, new_status_channel,
};
use crate::daemon::{Alerts, control_socket};
use crate::node::{NodeError, NodeRuntime, PeerTest};

/// The shortest and the longest time between two questions to every peer, outside rounds. The
/// questions keep the circuits open: Tor closes a circuit that is unused for ten minutes.
const WARM_INTERVAL: [Duration; 2] = [Duration::from_secs(4 * 60), Duration::from_secs(8 * 60)];
/// The shortest and the longest time between two questions to joining peers. These times are short,
/// because the operator of a joining peer may be waiting.
const JOINING_INTERVAL: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(30)];

/// The time that a cycle may take besides its round before an alert, such as for long reads.
const CYCLE_MARGIN: Duration = Duration::from_secs(60 * 60);

/// The most progress messages that wait for a slow subscriber.
const MAX_QUEUED_PROGRESS: usize = 64;

/// The result of a cycle. The outer error means that the cycle panicked.
pub type CycleTaskResult = Result<(CycleReport, Result<CycleOutcome, CycleError>), JoinError>;

/// The daemon's state, shared by its tasks and by the commands that it serves.
#[derive(Debug)]
pub struct Daemon {
    /// The node that this daemon runs.
    pub node: NodeRuntime<SystemClock>,
    pub(crate) tor: TorClient,
    /// The lock that the running cycle holds. One cycle runs at a time.
    cycle_lock: Arc<FairMutex<()>>,
    /// The channel for the status after each cycle, for the alerts. A cycle does not wait for the
    /// operator's command.
    statuses: StatusSender,
    progress: broadcast::Sender<CycleProgress>,
    /// The lock of the task that asks the peers outside a round. One task does so at a time.
    test_lock: FairMutex<()>,
    connected: watch::Sender<bool>,
    peer_service: Mutex<Option<(OnionService, AuthorizedClients)>>,
    pub(crate) listing_changed: Notify,
    round_requested: Notify,
    /// The confirmed release that is to be downloaded next.
    download_wanted: watch::Sender<Option<Box<ConfirmedRelease>>>,
    /// The release whose last download failed, and the reason.
    failed_download: Mutex<Option<(String, String)>>,
    /// The notification of a possible change of `peers.toml`.
    peers_edited: Notify,
}

impl Daemon {
    /// Makes a daemon that does not run yet. The receiver gets the status after each cycle. Pass
    /// the receiver to [`Daemon::run`].
    pub fn new(
        mut node: NodeRuntime<SystemClock>,
        tor: TorClient,
    ) -> (Arc<Daemon>, StatusReceiver) {
        let (statuses, receiver) = new_status_channel();
        let progress = broadcast::Sender::new(MAX_QUEUED_PROGRESS);
        let sender = progress.clone();
        // Without a subscriber, sending fails. That is the usual case.
        node.progress = ProgressSink::new(move |step| drop(sender.send(step)));
        let daemon = Daemon {
            node,
            tor,
            cycle_lock: Arc::default(),
            statuses,
            progress,
            test_lock: FairMutex::default(),
            connected: watch::Sender::new(false),
            peer_service: Mutex::default(),
            listing_changed: Notify::new(),
            round_requested: Notify::new(),
            download_wanted: watch::Sender::new(None),
            failed_download: Mutex::default(),
            peers_edited: Notify::new(),
        };
        (Arc::new(daemon), receiver)
    }

    /// Whether the peer service is published, according to Tor. Listed peers can then find it.
    pub fn is_reachable(&self) -> bool {
        self.lock_peer_service().as_ref().is_some_and(|(service, _)| service.is_reachable())
    }

    /// Whether Tor is connected.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Subscribes to the progress of all cycles from now on. A slow subscriber misses messages.
    pub fn subscribe_progress(&self) -> broadcast::Receiver<CycleProgress> {
        self.progress.subscribe()
    }

    pub(crate) fn lock_peer_service(
        &self,
    ) -> MutexGuard<'_, Option<(OnionService, AuthorizedClients)>> {
        self.peer_service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the connection to Tor, at most for the configured time. Without a connection,
    /// every peer is silent.
    pub(crate) async fn wait_connected(&self) {
        let mut connected = self.connected.subscribe();
        timeout(self.node.config.bootstrap_timeout, connected.wait_for(|connected| *connected))
            .await
            .ok();
    }

    /// Runs one cycle, and sends its status to the alerts.
    ///
    /// A call that waits for another cycle then runs a cycle of its own. A cycle that has begun
    /// runs to its end even if the returned future is dropped.
    ///
    /// # Errors
    ///
    /// The outer error means that the cycle panicked.
    pub async fn run_cycle(self: &Arc<Self>, mode: CycleMode) -> CycleTaskResult {
        self.wait_connected().await;
        self.reload_authorized_clients();
        let guard = self.cycle_lock.clone().lock_owned().await;
        let daemon = self.clone();
        // A task holds the lock, runs the cycle and sends the status, so that no caller can drop
        // the cycle halfway.
        let task = tokio::spawn(async move {
            let _guard = guard;
            let working = daemon.clone();
            let cycle = tokio::spawn(async move {
                let mut rng = StdRng::from_rng(&mut rand::rng());
                working.node.run_cycle(&working.tor, mode, &mut rng).await
            });
            let cycle = cycle.await;
            let status = match &cycle {
                Ok((_, result)) => daemon.status_after(mode, result.as_ref()),
                Err(panic) => CycleStatus::no_cycle_finished(&format!("a cycle panicked: {panic}")),
            };
            // This fails only if the daemon is about to end.
            daemon.statuses.send((status, SystemClock.now())).await.ok();
            cycle
        });
        task.await?
    }

    /// Runs one cycle of one more product of the node; see [`NodeRuntime::open_extra_product`]. The
    /// cycle causes no alert.
    ///
    /// # Errors
    ///
    /// The outer error means that the cycle panicked.
    pub async fn run_extra_cycle(
        self: &Arc<Self>,
        product: NodeRuntime<SystemClock>,
        mode: CycleMode,
    ) -> CycleTaskResult {
        self.wait_connected().await;
        let guard = self.cycle_lock.clone().lock_owned().await;
        let tor = self.tor.clone();
        tokio::spawn(async move {
            let _guard = guard;
            let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
            product.connect(web);
            let mut rng = StdRng::from_rng(&mut rand::rng());
            product.run_cycle(&tor, mode, &mut rng).await
        })
        .await
    }

    /// Derives the node's status from the result of a cycle. An available update whose download
    /// failed counts as a problem.
    fn status_after(
        &self,
        mode: CycleMode,
        result: Result<&CycleOutcome, &CycleError>,
    ) -> CycleStatus {
        let failed = self.failed_download.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (mode, result, failed) {
            (
                CycleMode::InstallDownloaded | CycleMode::Check,
                Ok(CycleOutcome::Available(confirmed)),
                Some((release, why)),
            ) if release == confirmed.manifest().label() => CycleStatus::no_cycle_finished(
                &format!("release {release} cannot be downloaded: {why}"),
            ),
            (_, result, _) => advice::cycle_status(result),
        }
    }

    /// Asks the peers that pass `filter`, outside a round; see [`NodeRuntime::test_peers`].
    ///
    /// # Errors
    ///
    /// The errors of [`NodeRuntime::test_peers`].
    pub async fn test_peers(
        &self,
        filter: impl Fn(&PeerEntry) -> bool,
    ) -> Result<Vec<PeerTest>, NodeError> {
        self.wait_connected().await;
        let _guard = self.test_lock.lock().await;
        self.node.test_peers(&self.tor, filter).await
    }

    /// Reads from `peers.toml` which clients may find the peer service, and updates the service.
    /// While there are no such clients, the service is not hosted.
    pub fn reload_authorized_clients(&self) {
        self.peers_edited.notify_one();
        let clients = match self.authorized_clients() {
            Ok(clients) => clients,
            Err(error) => return tracing::error!("{}", redact(error)),
        };
        match (&mut *self.lock_peer_service(), clients) {
            (None, Some(_)) | (Some(_), None) => self.listing_changed.notify_one(),
            (None, None) => {}
            (Some((_, present)), Some(clients)) if *present == clients => {}
            (Some((service, present)), Some(clients)) => {
                match service.set_authorized_clients(&clients) {
                    Ok(()) => *present = clients,
                    Err(error) => tracing::error!("{}", redact(error)),
                }
            }
        }
    }

    /// Runs the daemon until SIGTERM or SIGINT. SIGHUP makes it read `peers.toml` again.
    ///
    /// # Errors
    ///
    /// An error if a signal cannot be handled, or if one of the daemon's tasks panics.
    pub async fn run<F>(
        self: Arc<Self>,
        mut alerts: Alerts,
        mut statuses: StatusReceiver,
        socket: UnixListener,
        answer: impl Fn(Vec<u8>, control_socket::ProgressLines) -> F + Send + Sync + 'static,
        progress: impl FnMut(f32, String),
    ) -> io::Result<()>
    where
        F: Future<Output = Vec<u8>> + Send + 'static,
    {
        let (mut term, mut int, mut hup) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        let hangups = async {
            while hup.recv().await.is_some() {
                self.reload_authorized_clients();
            }
        };
        let patience = self.max_cycle_gap();
        let alerting = forward_statuses(&mut alerts, &mut statuses, patience, &SystemClock);
        // The loops are separate tasks, which end with this one. No loop can then delay a signal, a
        // command or an alert.
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().poll_loop());
        tasks.spawn(self.clone().host_peer_service());
        tasks.spawn(self.clone().host_artifacts());
        tasks.spawn(self.clone().round_loop());
        tasks.spawn(self.clone().download_loop());
        tasks.spawn(self.clone().keep_warm_loop());
        let task_panic = async {
            while let Some(task) = tasks.join_next().await {
                if let Err(panic) = task {
                    return panic;
                }
            }
            pending().await
        };
        tokio::select! {
            biased;
            _ = term.recv() => {}
            _ = int.recv() => {}
            () = control_socket::serve_requests(socket, answer) => {}
            () = hangups => {}
            () = alerting => {}
            () = self.connect_tor(progress) => {}
            panic = task_panic => return Err(io::Error::other(panic)),
        }
        Ok(())
    }

    /// The longest time from the end of one cycle to the end of the next in a healthy daemon.
    fn max_cycle_gap(&self) -> Duration {
        let config = &self.node.config;
        let round_interval_max =
            config.serve.as_ref().map_or(Duration::MAX, |serve| serve.round_interval_max);
        round_interval_max
            .saturating_add(config.bootstrap_timeout + config.cycle.round_timeout + CYCLE_MARGIN)
    }

    /// Connects to Tor, with retries and backoff. The future never completes.
    async fn connect_tor(&self, mut progress: impl FnMut(f32, String)) {
        let mut wait = Duration::from_secs(5);
        while let Err(error) = self.tor.bootstrap(&mut progress).await {
            tracing::warn!("{}", redact(error));
            sleep(wait + random_duration(Duration::ZERO, wait)).await;
            wait = (wait * 2).min(Duration::from_secs(300));
        }
        self.connected.send_replace(true);
        tracing::info!("connected to Tor");
        pending().await
    }

    /// Runs the polls of the witness. If the witness finds a fork, from a mirror or a peer, a cycle
    /// starts at once, and the status of that cycle causes the alert.
    async fn poll_loop(self: Arc<Self>) {
        let Some(role) = &self.node.role else { return pending().await };
        let forks = async {
            loop {
                role.witness.wait_for_fork().await;
                self.round_requested.notify_one();
            }
        };
        let rng = StdRng::from_rng(&mut rand::rng());
        let polls = async {
            // Without Tor the first poll would fail, and the next one is minutes away.
            if self.node.config.mirrors.iter().all(MirrorSpec::is_remote) {
                self.wait_connected().await;
            }
            role.witness.poll_loop(rng).await;
        };
        tokio::join!(polls, forks);
    }

    /// Runs cycles at random times, and as soon as one is requested.
    async fn round_loop(self: Arc<Self>) {
        let serve = self.node.config.serve.as_ref();
        let policy = serve.map_or(ServePolicy::Notify, |serve| serve.policy);
        let mode = cycle_mode(policy, self.node.config.cycle.spool.is_some());
        let Some(serve) = serve else { return pending().await };
        // A power loss may have interrupted a trial.
        if mode == CycleMode::InstallDownloaded {
            match self.node.recover().await {
                Ok(remark) => remark.iter().for_each(|remark| tracing::warn!("{}", redact(remark))),
                Err(error) => tracing::warn!("{}", redact(error)),
            }
        }
        // A random delay, so that the start of a node does not reveal when it asks.
        let mut wait = random_duration(Duration::ZERO, serve.round_interval_min);
        loop {
            timeout(wait, self.round_requested.notified()).await.ok();
            match self.run_cycle(mode).await {
                // The log gets the condition without the message, because only alerts name peers.
                Ok((_, result)) => {
                    tracing::info!("cycle: {}", advice::cycle_status(result.as_ref()).condition);
                    if let (Ok(CycleOutcome::Available(release)), true) =
                        (result, policy != ServePolicy::Notify)
                    {
                        self.download_wanted.send_replace(Some(release));
                    }
                }
                Err(panic) => tracing::error!("cycle: {}", redact(panic)),
            }
            wait = random_duration(serve.round_interval_min, serve.round_interval_max);
        }
    }

    /// Downloads confirmed releases, each at a random time after the round that confirmed it. The
    /// time of the round therefore does not give away the time of the download.
    async fn download_loop(self: Arc<Self>) {
        let Some(serve) = &self.node.config.serve else { return pending().await };
        let mut wanted = self.download_wanted.subscribe();
        let mut rng = StdRng::from_rng(&mut rand::rng());
        while wanted.changed().await.is_ok() {
            sleep(random_duration(Duration::ZERO, serve.round_interval_min)).await;
            let Some(confirmed) = wanted.borrow_and_update().clone() else { continue };
            let result = self.node.download(&self.tor, &confirmed, &mut rng).await;
            let release = confirmed.manifest().label();
            let failed = result.err().map(|failure| (release.clone(), advice::describe(&failure)));
            match &failed {
                None => tracing::info!("downloaded: {release}"),
                // The log does not get the reason, because only alerts name peers.
                Some(_) => tracing::warn!("not downloaded yet: {release}"),
            }
            *self.failed_download.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        }
    }

    /// Asks the peers at random times, outside rounds. That keeps the circuits open, and compares
    /// each peer's head with the node's own. While a peer is joining, only joining peers are asked,
    /// and a joining peer whose head belongs to the node's log counts from then on.
    async fn keep_warm_loop(self: Arc<Self>) {
        loop {
            let config = self.node.config.reload();
            let joining =
                config.is_ok_and(|config| config.peers.joining_entries().next().is_some());
            let [min, max] = if joining { JOINING_INTERVAL } else { WARM_INTERVAL };
            // A peer that was just added is asked at the shorter interval.
            if timeout(random_duration(min, max), self.peers_edited.notified()).await.is_ok() {
                continue;
            }
            match self.test_peers(|entry| !joining || is_joining(entry)).await {
                Ok(tested) => {
                    let joined = tested.iter().filter(|tested| tested.joined).count();
                    if joined > 0 {
                        tracing::info!("joining peers that count from now on: {joined}");
                    }
                }
                Err(error) => tracing::warn!("{}", redact(error)),
            }
        }
    }
}

/// Chooses the mode of the daemon's cycles. In a split installation (`is_split`), the policy
/// `download` also needs [`CycleMode::InstallDownloaded`]: the cycle after the download writes the
/// proof bundle and the log's entries to the spool.
pub fn cycle_mode(policy: ServePolicy, is_split: bool) -> CycleMode {
    match policy {
        ServePolicy::Notify => CycleMode::Check,
        ServePolicy::Download if !is_split => CycleMode::Check,
        ServePolicy::Download | ServePolicy::Install => CycleMode::InstallDownloaded,
    }
}

fn is_joining(entry: &PeerEntry) -> bool {
    matches!(entry.membership, Membership::Joining { .. })
}

fn random_duration(min: Duration, max: Duration) -> Duration {
    rand::rng().random_range(min..=max)
}
