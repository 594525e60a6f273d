//! The daemon: a peer and a client at once, on one connection to Tor.
//!
//! It hosts the onion service, polls the mirrors, calls the roll at random times, keeps the way to
//! every peer warm, raises the alarm, and is the only owner of the state while it runs: commands
//! reach it through [`control_socket`](super::control_socket).

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex as Turn, Notify, broadcast, watch};
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

/// How often the way to every peer is used. A circuit that nobody uses for ten minutes is closed.
const WARM_INTERVAL: [Duration; 2] = [Duration::from_secs(4 * 60), Duration::from_secs(8 * 60)];
/// The same while somebody waits to be counted: people pair while they sit there.
const JOINING_INTERVAL: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(30)];

/// What a cycle may take beside the roll, such as a long download, before the alarm hears of it.
const CYCLE_MARGIN: Duration = Duration::from_secs(60 * 60);

/// Steps that are kept for those who are slow to hear of them.
const MAX_QUEUED_PROGRESS: usize = 64;

/// What a cycle came to. An error: it panicked, which is our bug, and the alarm has heard of it.
pub type CycleTaskResult = Result<(CycleReport, Result<CycleOutcome, CycleError>), JoinError>;

/// The daemon, shared by its tasks and by those who answer commands.
#[derive(Debug)]
pub struct Daemon {
    /// The node that it runs.
    pub node: NodeRuntime<SystemClock>,
    pub(crate) tor: TorClient,
    /// One cycle at a time.
    cycle_lock: Arc<Turn<()>>,
    /// How each ended, for the alarm: whoever called the roll does not wait for its command.
    statuses: StatusSender,
    progress: broadcast::Sender<CycleProgress>,
    /// One at a time asks the peers apart from a roll.
    test_lock: Turn<()>,
    connected: watch::Sender<bool>,
    peer_service: Mutex<Option<(OnionService, AuthorizedClients)>>,
    pub(crate) listing_changed: Notify,
    round_requested: Notify,
    /// What every peer confirmed last and is to be fetched.
    download_wanted: watch::Sender<Option<Box<ConfirmedRelease>>>,
    /// Which release could not be when that was last tried, and why.
    failed_download: Mutex<Option<(String, String)>>,
    /// `peers.toml` may say something else.
    peers_edited: Notify,
}

impl Daemon {
    /// Takes its parts together. Nothing runs yet.
    pub fn new(
        mut node: NodeRuntime<SystemClock>,
        tor: TorClient,
    ) -> (Arc<Daemon>, StatusReceiver) {
        let (statuses, receiver) = new_status_channel();
        let steps = broadcast::Sender::new(MAX_QUEUED_PROGRESS);
        let telling = steps.clone();
        // Mostly nobody hears it.
        node.progress = ProgressSink::new(move |step| drop(telling.send(step)));
        let daemon = Daemon {
            node,
            tor,
            cycle_lock: Arc::default(),
            statuses,
            progress: steps,
            test_lock: Turn::default(),
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

    /// Whether our service is published and can be found by who is listed, as far as we know.
    pub fn is_reachable(&self) -> bool {
        self.lock_peer_service().as_ref().is_some_and(|(service, _)| service.is_reachable())
    }

    /// Whether Tor is connected.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// The steps of its cycles from now on, whoever had them begun. Who is slow misses some.
    pub fn subscribe_progress(&self) -> broadcast::Receiver<CycleProgress> {
        self.progress.subscribe()
    }

    pub(crate) fn lock_peer_service(
        &self,
    ) -> MutexGuard<'_, Option<(OnionService, AuthorizedClients)>> {
        self.peer_service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives Tor some time to connect. Without it, every peer is silent.
    pub(crate) async fn wait_connected(&self) {
        let mut connected = self.connected.subscribe();
        timeout(self.node.config.bootstrap_timeout, connected.wait_for(|connected| *connected))
            .await
            .ok();
    }

    /// One cycle, of which the alarm hears. Whoever waits behind another's gets their own. Once it
    /// has begun, it goes on to its end whether or not anybody waits for it.
    pub async fn run_cycle(self: &Arc<Self>, mode: CycleMode) -> CycleTaskResult {
        self.wait_connected().await;
        self.reload_authorized_clients();
        let turn = self.cycle_lock.clone().lock_owned().await;
        let daemon = self.clone();
        // In a task of its own, with its turn and its alarm, so that nobody can drop it halfway.
        let heard = tokio::spawn(async move {
            let _turn = turn;
            let working = daemon.clone();
            let cycle = tokio::spawn(async move {
                let mut rng = StdRng::from_rng(&mut rand::rng());
                working.node.run_cycle(&working.tor, mode, &mut rng).await
            });
            let cycle = cycle.await;
            let seen = match &cycle {
                Ok((_, ended)) => daemon.status_after(mode, ended.as_ref()),
                Err(panicked) => {
                    CycleStatus::no_cycle_finished(&format!("a cycle broke off: {panicked}"))
                }
            };
            // Nobody hears it only when the daemon is about to end.
            daemon.statuses.send((seen, SystemClock.now())).await.ok();
            cycle
        });
        heard.await?
    }

    /// One cycle of one more product of this node; see [`Node::product`]. The alarm does not hear of it.
    pub async fn run_extra_cycle(
        self: &Arc<Self>,
        another: NodeRuntime<SystemClock>,
        errand: CycleMode,
    ) -> CycleTaskResult {
        self.wait_connected().await;
        let turn = self.cycle_lock.clone().lock_owned().await;
        let tor = self.tor.clone();
        tokio::spawn(async move {
            let _turn = turn;
            let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
            another.connect(web);
            let mut rng = StdRng::from_rng(&mut rand::rng());
            another.run_cycle(&tor, errand, &mut rng).await
        })
        .await
    }

    /// How a cycle ended. That there is an update is no good news while it cannot be fetched.
    fn status_after(
        &self,
        mode: CycleMode,
        ended: Result<&CycleOutcome, &CycleError>,
    ) -> CycleStatus {
        let unfetched = self.failed_download.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (mode, ended, unfetched) {
            (
                CycleMode::InstallDownloaded | CycleMode::Check,
                Ok(CycleOutcome::Available(agreed)),
                Some((release, why)),
            ) if release == agreed.manifest().label() => CycleStatus::no_cycle_finished(&format!(
                "release {release} cannot be fetched: {why}"
            )),
            (_, ended, _) => advice::cycle_status(ended),
        }
    }

    /// Asks every member for its view; see [`Node::test_peers`].
    pub async fn test_peers(
        &self,
        filter: impl Fn(&PeerEntry) -> bool,
    ) -> Result<Vec<PeerTest>, NodeError> {
        self.wait_connected().await;
        let _turn = self.test_lock.lock().await;
        self.node.test_peers(&self.tor, filter).await
    }

    /// Lets those find our service who are listed now. While nobody is, it is not hosted.
    pub fn reload_authorized_clients(&self) {
        self.peers_edited.notify_one();
        let readers = match self.authorized_clients() {
            Ok(readers) => readers,
            Err(error) => return tracing::error!("{}", redact(error)),
        };
        match (&mut *self.lock_peer_service(), readers) {
            (None, Some(_)) | (Some(_), None) => self.listing_changed.notify_one(),
            (None, None) => {}
            (Some((_, known)), Some(readers)) if *known == readers => {}
            (Some((service, known)), Some(readers)) => {
                match service.set_authorized_clients(&readers) {
                    Ok(()) => *known = readers,
                    Err(error) => tracing::error!("{}", redact(error)),
                }
            }
        }
    }

    /// Runs until it is told to end (SIGTERM, SIGINT). SIGHUP has it look at `peers.toml`.
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
        let alarm = forward_statuses(&mut alerts, &mut statuses, patience, &SystemClock);
        // Each in a task of its own, ended with this one: none can keep a signal, a command or
        // an alarm from its turn.
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().poll_loop());
        tasks.spawn(self.clone().host_peer_service());
        tasks.spawn(self.clone().host_artifacts());
        tasks.spawn(self.clone().round_loop());
        tasks.spawn(self.clone().download_loop());
        tasks.spawn(self.clone().keep_warm_loop());
        let broken = async {
            while let Some(ended) = tasks.join_next().await {
                if let Err(broken) = ended {
                    return broken;
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
            () = alarm => {}
            () = self.connect_tor(progress) => {}
            broken = broken => return Err(io::Error::other(broken)),
        }
        Ok(())
    }

    /// Within which a cycle has to end, whatever happens.
    fn max_cycle_gap(&self) -> Duration {
        let config = &self.node.config;
        let roll_max =
            config.serve.as_ref().map_or(Duration::MAX, |serve| serve.round_interval_max);
        roll_max
            .saturating_add(config.bootstrap_timeout + config.cycle.round_timeout + CYCLE_MARGIN)
    }

    /// Connects to Tor, however often that takes, and then rests.
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

    /// Polls the mirrors. A fork, whether they or a peer showed it, is for the next roll to
    /// announce, and that is called at once.
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
            // Nothing could be polled before, and the next poll is minutes away.
            if self.node.config.mirrors.iter().all(MirrorSpec::is_remote) {
                self.wait_connected().await;
            }
            role.witness.poll_loop(rng).await;
        };
        tokio::join!(polls, forks);
    }

    /// Calls the roll at random times.
    async fn round_loop(self: Arc<Self>) {
        let serve = self.node.config.serve.as_ref();
        let policy = serve.map_or(ServePolicy::Notify, |serve| serve.policy);
        let mode = cycle_mode(policy, self.node.config.cycle.spool.is_some());
        let Some(serve) = serve else { return pending().await };
        // The power may have gone in the middle of a trial.
        if mode == CycleMode::InstallDownloaded {
            match self.node.recover().await {
                Ok(undone) => undone.iter().for_each(|undone| tracing::warn!("{}", redact(undone))),
                Err(error) => tracing::warn!("{}", redact(error)),
            }
        }
        // When a node starts says nothing of when it asks.
        let mut wait = random_duration(Duration::ZERO, serve.round_interval_min);
        loop {
            timeout(wait, self.round_requested.notified()).await.ok();
            match self.run_cycle(mode).await {
                // Not what it says: peers are named in alarms only.
                Ok((_, ended)) => {
                    tracing::info!("the roll: {}", advice::cycle_status(ended.as_ref()).condition);
                    if let (Ok(CycleOutcome::Available(agreed)), true) =
                        (ended, policy != ServePolicy::Notify)
                    {
                        self.download_wanted.send_replace(Some(agreed));
                    }
                }
                Err(panicked) => tracing::error!("the roll: {}", redact(panicked)),
            }
            wait = random_duration(serve.round_interval_min, serve.round_interval_max);
        }
    }

    /// Fetches what is wanted, some time after the roll that confirmed it: whoever sees when this node
    /// calls the roll is not to see what a download that follows it may be.
    async fn download_loop(self: Arc<Self>) {
        let Some(serve) = &self.node.config.serve else { return pending().await };
        let mut wanted = self.download_wanted.subscribe();
        let mut rng = StdRng::from_rng(&mut rand::rng());
        while wanted.changed().await.is_ok() {
            sleep(random_duration(Duration::ZERO, serve.round_interval_min)).await;
            let Some(agreed) = wanted.borrow_and_update().clone() else { continue };
            let fetched = self.node.download(&self.tor, &agreed, &mut rng).await;
            let release = agreed.manifest().label();
            let why = fetched.err().map(|failure| (release.clone(), advice::describe(&failure)));
            match &why {
                None => tracing::info!("fetched: {release}"),
                // Why is for the alarm: peers are named there only.
                Some(_) => tracing::warn!("not fetched yet: {release}"),
            }
            *self.failed_download.lock().unwrap_or_else(PoisonError::into_inner) = why;
        }
    }

    /// Uses the way to every peer now and then. It counts who waits to be counted, and compares
    /// every peer's head with ours between two rolls.
    async fn keep_warm_loop(self: Arc<Self>) {
        loop {
            let config = self.node.config.reload();
            let joining =
                config.is_ok_and(|config| config.peers.joining_entries().next().is_some());
            let [min, max] = if joining { JOINING_INTERVAL } else { WARM_INTERVAL };
            // Somebody who is added is not left to wait for the others' turn.
            if timeout(random_duration(min, max), self.peers_edited.notified()).await.is_ok() {
                continue;
            }
            match self.test_peers(|member| !joining || is_joining(member)).await {
                Ok(tested) => {
                    let joined = tested.iter().filter(|tested| tested.joined).count();
                    if joined > 0 {
                        tracing::info!("peers that count from now on: {joined}");
                    }
                }
                Err(error) => tracing::warn!("{}", redact(error)),
            }
        }
    }
}

/// What a roll may do besides looking. Where somebody else installs, what was fetched is brought there
/// with its proof at a later roll: that is what staging is then.
pub fn cycle_mode(policy: ServePolicy, is_split: bool) -> CycleMode {
    match policy {
        ServePolicy::Notify => CycleMode::Check,
        ServePolicy::Download if !is_split => CycleMode::Check,
        ServePolicy::Download | ServePolicy::Install => CycleMode::InstallDownloaded,
    }
}

fn is_joining(member: &PeerEntry) -> bool {
    matches!(member.membership, Membership::Joining { .. })
}

fn random_duration(min: Duration, max: Duration) -> Duration {
    rand::rng().random_range(min..=max)
}
