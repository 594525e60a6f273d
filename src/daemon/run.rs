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
use crate::daemon::status_channel::{Ends, Told, ends, hear_all};
use crate::daemon::{Alarms, control_socket};
use crate::node::{Node, NodeError, Tested};

/// How often the way to every peer is used. A circuit that nobody uses for ten minutes is closed.
const WARM: [Duration; 2] = [Duration::from_secs(4 * 60), Duration::from_secs(8 * 60)];
/// The same while somebody waits to be counted: people pair while they sit there.
const JOINING: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(30)];

/// What a cycle may take beside the roll, such as a long download, before the alarm hears of it.
const MARGIN: Duration = Duration::from_secs(60 * 60);

/// Steps that are kept for those who are slow to hear of them.
const MAX_STEPS: usize = 64;

/// What a cycle came to. An error: it panicked, which is our bug, and the alarm has heard of it.
pub type Cycle = Result<(CycleReport, Result<CycleOutcome, CycleError>), JoinError>;

/// The daemon, shared by its tasks and by those who answer commands.
#[derive(Debug)]
pub struct Daemon {
    /// The node that it runs.
    pub node: Node<SystemClock>,
    pub(crate) tor: TorClient,
    /// One cycle at a time.
    rolling: Arc<Turn<()>>,
    /// How each ended, for the alarm: whoever called the roll does not wait for its command.
    ends: Told,
    steps: broadcast::Sender<CycleProgress>,
    /// One at a time asks the peers apart from a roll.
    testing: Turn<()>,
    connected: watch::Sender<bool>,
    hosted: Mutex<Option<(OnionService, AuthorizedClients)>>,
    pub(crate) listed: Notify,
    roll_now: Notify,
    /// What every peer confirmed last and is to be fetched.
    wanted: watch::Sender<Option<Box<ConfirmedRelease>>>,
    /// Which release could not be when that was last tried, and why.
    unfetched: Mutex<Option<(String, String)>>,
    /// `peers.toml` may say something else.
    edited: Notify,
}

impl Daemon {
    /// Takes its parts together. Nothing runs yet.
    pub fn new(mut node: Node<SystemClock>, tor: TorClient) -> (Arc<Daemon>, Ends) {
        let (ends, heard) = ends();
        let steps = broadcast::Sender::new(MAX_STEPS);
        let telling = steps.clone();
        // Mostly nobody hears it.
        node.watcher = ProgressSink::new(move |step| drop(telling.send(step)));
        let daemon = Daemon {
            node,
            tor,
            rolling: Arc::default(),
            ends,
            steps,
            testing: Turn::default(),
            connected: watch::Sender::new(false),
            hosted: Mutex::default(),
            listed: Notify::new(),
            roll_now: Notify::new(),
            wanted: watch::Sender::new(None),
            unfetched: Mutex::default(),
            edited: Notify::new(),
        };
        (Arc::new(daemon), heard)
    }

    /// Whether our service is published and can be found by who is listed, as far as we know.
    pub fn is_reachable(&self) -> bool {
        self.hosted().as_ref().is_some_and(|(service, _)| service.is_reachable())
    }

    /// Whether Tor is connected.
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// The steps of its cycles from now on, whoever had them begun. Who is slow misses some.
    pub fn steps(&self) -> broadcast::Receiver<CycleProgress> {
        self.steps.subscribe()
    }

    pub(crate) fn hosted(&self) -> MutexGuard<'_, Option<(OnionService, AuthorizedClients)>> {
        self.hosted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives Tor some time to connect. Without it, every peer is silent.
    pub(crate) async fn connection(&self) {
        let mut connected = self.connected.subscribe();
        timeout(self.node.told.bootstrap_timeout, connected.wait_for(|connected| *connected))
            .await
            .ok();
    }

    /// One cycle, of which the alarm hears. Whoever waits behind another's gets their own. Once it
    /// has begun, it goes on to its end whether or not anybody waits for it.
    pub async fn cycle(self: &Arc<Self>, errand: CycleMode) -> Cycle {
        self.connection().await;
        self.relist();
        let turn = self.rolling.clone().lock_owned().await;
        let daemon = self.clone();
        // In a task of its own, with its turn and its alarm, so that nobody can drop it halfway.
        let heard = tokio::spawn(async move {
            let _turn = turn;
            let working = daemon.clone();
            let cycle = tokio::spawn(async move {
                let mut rng = StdRng::from_rng(&mut rand::rng());
                working.node.cycle(&working.tor, errand, &mut rng).await
            });
            let cycle = cycle.await;
            let seen = match &cycle {
                Ok((_, ended)) => daemon.seen(errand, ended.as_ref()),
                Err(panicked) => {
                    CycleStatus::no_cycle_finished(&format!("a cycle broke off: {panicked}"))
                }
            };
            // Nobody hears it only when the daemon is about to end.
            daemon.ends.send((seen, SystemClock.now())).await.ok();
            cycle
        });
        heard.await?
    }

    /// One cycle of one more product of this node; see [`Node::another`]. The alarm does not hear of it.
    pub async fn cycle_of(
        self: &Arc<Self>,
        another: Node<SystemClock>,
        errand: CycleMode,
    ) -> Cycle {
        self.connection().await;
        let turn = self.rolling.clone().lock_owned().await;
        let tor = self.tor.clone();
        tokio::spawn(async move {
            let _turn = turn;
            let web: Arc<dyn WebConnector> = Arc::new(tor.clone());
            another.connect(web);
            let mut rng = StdRng::from_rng(&mut rand::rng());
            another.cycle(&tor, errand, &mut rng).await
        })
        .await
    }

    /// How a cycle ended. That there is an update is no good news while it cannot be fetched.
    fn seen(&self, errand: CycleMode, ended: Result<&CycleOutcome, &CycleError>) -> CycleStatus {
        let unfetched = self.unfetched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match (errand, ended, unfetched) {
            (
                CycleMode::InstallDownloaded | CycleMode::Check,
                Ok(CycleOutcome::Available(agreed)),
                Some((release, why)),
            ) if release == agreed.manifest().label() => CycleStatus::no_cycle_finished(&format!(
                "release {release} cannot be fetched: {why}"
            )),
            (_, ended, _) => advice::status_of(ended),
        }
    }

    /// Asks every member for its view; see [`Node::test`].
    pub async fn test(&self, who: impl Fn(&PeerEntry) -> bool) -> Result<Vec<Tested>, NodeError> {
        self.connection().await;
        let _turn = self.testing.lock().await;
        self.node.test(&self.tor, who).await
    }

    /// Lets those find our service who are listed now. While nobody is, it is not hosted.
    pub fn relist(&self) {
        self.edited.notify_one();
        let readers = match self.readers() {
            Ok(readers) => readers,
            Err(error) => return tracing::error!("{}", redact(error)),
        };
        match (&mut *self.hosted(), readers) {
            (None, Some(_)) | (Some(_), None) => self.listed.notify_one(),
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
        mut alarms: Alarms,
        mut ends: Ends,
        socket: UnixListener,
        answer: impl Fn(Vec<u8>, control_socket::Lines) -> F + Send + Sync + 'static,
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
                self.relist();
            }
        };
        let patience = self.patience();
        let alarm = hear_all(&mut alarms, &mut ends, patience, &SystemClock);
        // Each in a task of its own, ended with this one: none can keep a signal, a command or
        // an alarm from its turn.
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().follow());
        tasks.spawn(self.clone().host());
        tasks.spawn(self.clone().host_artifacts());
        tasks.spawn(self.clone().roll());
        tasks.spawn(self.clone().fetch());
        tasks.spawn(self.clone().keep_warm());
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
            () = control_socket::answer_all(socket, answer) => {}
            () = hangups => {}
            () = alarm => {}
            () = self.connect(progress) => {}
            broken = broken => return Err(io::Error::other(broken)),
        }
        Ok(())
    }

    /// Within which a cycle has to end, whatever happens.
    fn patience(&self) -> Duration {
        let told = &self.node.told;
        let roll_max = told.serve.as_ref().map_or(Duration::MAX, |serve| serve.round_interval_max);
        roll_max.saturating_add(told.bootstrap_timeout + told.cycle.round_timeout + MARGIN)
    }

    /// Connects to Tor, however often that takes, and then rests.
    async fn connect(&self, mut progress: impl FnMut(f32, String)) {
        let mut wait = Duration::from_secs(5);
        while let Err(error) = self.tor.bootstrap(&mut progress).await {
            tracing::warn!("{}", redact(error));
            sleep(wait + random(Duration::ZERO, wait)).await;
            wait = (wait * 2).min(Duration::from_secs(300));
        }
        self.connected.send_replace(true);
        tracing::info!("connected to Tor");
        pending().await
    }

    /// Polls the mirrors. A fork, whether they or a peer showed it, is for the next roll to
    /// announce, and that is called at once.
    async fn follow(self: Arc<Self>) {
        let Some(role) = &self.node.role else { return pending().await };
        let forks = async {
            loop {
                role.peer.wait_for_fork().await;
                self.roll_now.notify_one();
            }
        };
        let rng = StdRng::from_rng(&mut rand::rng());
        let polls = async {
            // Nothing could be polled before, and the next poll is minutes away.
            if self.node.told.mirrors.iter().all(MirrorSpec::is_remote) {
                self.connection().await;
            }
            role.peer.poll_loop(rng).await;
        };
        tokio::join!(polls, forks);
    }

    /// Calls the roll at random times.
    async fn roll(self: Arc<Self>) {
        let serve = self.node.told.serve.as_ref();
        let policy = serve.map_or(ServePolicy::Notify, |serve| serve.policy);
        let errand = errand_of(policy, self.node.told.cycle.spool.is_some());
        let Some(serve) = serve else { return pending().await };
        // The power may have gone in the middle of a trial.
        if errand == CycleMode::InstallDownloaded {
            match self.node.recover().await {
                Ok(undone) => undone.iter().for_each(|undone| tracing::warn!("{}", redact(undone))),
                Err(error) => tracing::warn!("{}", redact(error)),
            }
        }
        // When a node starts says nothing of when it asks.
        let mut wait = random(Duration::ZERO, serve.round_interval_min);
        loop {
            timeout(wait, self.roll_now.notified()).await.ok();
            match self.cycle(errand).await {
                // Not what it says: peers are named in alarms only.
                Ok((_, ended)) => {
                    tracing::info!("the roll: {}", advice::status_of(ended.as_ref()).condition);
                    if let (Ok(CycleOutcome::Available(agreed)), true) =
                        (ended, policy != ServePolicy::Notify)
                    {
                        self.wanted.send_replace(Some(agreed));
                    }
                }
                Err(panicked) => tracing::error!("the roll: {}", redact(panicked)),
            }
            wait = random(serve.round_interval_min, serve.round_interval_max);
        }
    }

    /// Fetches what is wanted, some time after the roll that confirmed it: whoever sees when this node
    /// calls the roll is not to see what a download that follows it may be.
    async fn fetch(self: Arc<Self>) {
        let Some(serve) = &self.node.told.serve else { return pending().await };
        let mut wanted = self.wanted.subscribe();
        let mut rng = StdRng::from_rng(&mut rand::rng());
        while wanted.changed().await.is_ok() {
            sleep(random(Duration::ZERO, serve.round_interval_min)).await;
            let Some(agreed) = wanted.borrow_and_update().clone() else { continue };
            let fetched = self.node.fetch(&self.tor, &agreed, &mut rng).await;
            let release = agreed.manifest().label();
            let why = fetched.err().map(|failure| (release.clone(), advice::words(&failure)));
            match &why {
                None => tracing::info!("fetched: {release}"),
                // Why is for the alarm: peers are named there only.
                Some(_) => tracing::warn!("not fetched yet: {release}"),
            }
            *self.unfetched.lock().unwrap_or_else(PoisonError::into_inner) = why;
        }
    }

    /// Uses the way to every peer now and then. It counts who waits to be counted, and compares
    /// every peer's head with ours between two rolls.
    async fn keep_warm(self: Arc<Self>) {
        loop {
            let told = self.node.told.reload();
            let joining = told.is_ok_and(|told| told.peers.joining_entries().next().is_some());
            let [min, max] = if joining { JOINING } else { WARM };
            // Somebody who is added is not left to wait for the others' turn.
            if timeout(random(min, max), self.edited.notified()).await.is_ok() {
                continue;
            }
            match self.test(|member| !joining || is_joining(member)).await {
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
pub fn errand_of(policy: ServePolicy, is_split: bool) -> CycleMode {
    match policy {
        ServePolicy::Notify => CycleMode::Check,
        ServePolicy::Stage if !is_split => CycleMode::Check,
        ServePolicy::Stage | ServePolicy::Install => CycleMode::InstallDownloaded,
    }
}

fn is_joining(member: &PeerEntry) -> bool {
    matches!(member.membership, Membership::Joining { .. })
}

fn random(min: Duration, max: Duration) -> Duration {
    rand::rng().random_range(min..=max)
}
