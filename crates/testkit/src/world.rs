//! A circle in one process, over streams in memory, with a clock that the caller moves.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::AbortHandle;
use unanimity_client::{Client, CycleError, CycleOutcome, CycleReport, ProgressSink};
use unanimity_config::{
    ClientConfig, CycleSettings, HookSettings, MirrorUrl, OnionAddress, PollingSettings, WEB_PORT,
    this_platform,
};
use unanimity_net::file_server::serve_files;
use unanimity_net::{Mirror, WebConnector};
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::{Hash, Manifest, Note, Timestamp};
use unanimity_report::error_chain;
use unanimity_storage::{Clock as _, ManualClock, Storage};
use unanimity_witness::{PollOutcome, Witness, WitnessConfig, file_view};

use crate::{
    Broken, Cast, Circle, Cycle, Draft, Folder, MemoryListener, Network, PEER_NAMES, PEERS, Stage,
    copy_tree, echo,
};

/// A stage and everybody who acts on it. Everything but Tor and the clock is the code that ships.
pub struct World {
    /// The hands that the caller moves.
    pub clock: ManualClock,
    /// Who can be reached.
    pub network: Network,
    /// The client's configuration.
    pub config: ClientConfig,
    /// Where the client reads the log and the artifacts.
    pub mirrors: Vec<Mirror>,
    /// The client's disk.
    pub disk: Storage,
    /// Who is told of the steps of the client's cycles.
    pub watcher: ProgressSink,
    /// What a person reads of a cycle's failure.
    pub words: fn(&CycleError) -> String,
    stage: Stage,
    reads: Reads,
    peers: Vec<Seat>,
    seed: u64,
    rng: StdRng,
}

/// How everybody reads their mirrors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// From the directories themselves.
    Files,
    /// Over HTTP, each from a host of its own.
    Http,
}

struct Seat {
    node: Arc<Witness<ManualClock>>,
    server: AbortHandle,
}

/// A world is a stage with people on it.
impl Deref for World {
    type Target = Stage;

    fn deref(&self) -> &Stage {
        &self.stage
    }
}

impl World {
    /// Makes a log and a circle around it in an empty directory. Peers have polled nothing yet.
    pub fn create(directory: &Path, seed: u64, now: Timestamp) -> Result<World, Broken> {
        World::create_with(directory, seed, now, Reads::Files)
    }

    /// The same, and how mirrors are read.
    pub fn create_with(
        directory: &Path,
        seed: u64,
        now: Timestamp,
        reads: Reads,
    ) -> Result<World, Broken> {
        let circle = Circle::draw(&mut StdRng::seed_from_u64(seed));
        World::open(Stage::create(directory, circle)?, seed, now, reads)
    }

    /// Copies this world, with everybody's state and none of its connections, to another directory.
    pub fn copy_to(&self, directory: &Path) -> Result<World, Broken> {
        let stage = self.stage.copy_to(directory)?;
        let mut world = World::open(stage, self.seed, self.clock.now(), self.reads)?;
        world.words = self.words;
        Ok(world)
    }

    fn open(stage: Stage, seed: u64, now: Timestamp, reads: Reads) -> Result<World, Broken> {
        let keys = stage.circle.peer_secrets.iter().map(|secret| secret.public().raw());
        let addresses: BTreeMap<_, _> = keys.zip((0..PEERS).map(address)).collect();
        let cycle = CycleSettings {
            policy: stage.circle.policy(),
            platform: this_platform(),
            limits: RoundLimits::default(),
            ask_timeout: Duration::from_secs(1),
            round_timeout: Duration::from_secs(12),
            polling: PollingSettings::default(),
            pinned: None,
            install_root: stage.install_root(),
            hooks: HookSettings::default(),
            spool: None,
            freshness: None,
            state: stage.client_state(),
        };
        let config = ClientConfig {
            source: None,
            cycle,
            peers: stage.circle.peers(),
            addresses,
            artifacts: Vec::new(),
            artifact_cache_bytes: None,
        };
        let mut world = World {
            clock: ManualClock::at(now),
            network: Network::default(),
            config,
            mirrors: Vec::new(),
            disk: Storage::default(),
            watcher: ProgressSink::default(),
            words: |failure| error_chain(failure),
            stage,
            reads,
            peers: Vec::new(),
            seed,
            rng: StdRng::seed_from_u64(seed),
        };
        world.mirrors = vec![world.read_by("client")];
        for i in 0..PEERS {
            let seat = world.seat(i, Storage::default())?;
            world.peers.push(seat);
        }
        Ok(world)
    }

    fn seat(&self, peer: usize, disk: Storage) -> Result<Seat, Broken> {
        let follow = WitnessConfig {
            log: self.circle.log.clone(),
            signing_key: self.circle.peer_secrets[peer].clone(),
            mirrors: vec![self.read_by(PEER_NAMES[peer])],
            polling: PollingSettings::default(),
        };
        let state = self.peer_state(peer);
        let node = Arc::new(Witness::open(follow, &state, disk, self.clock.clone())?);
        let server = self.serve(peer, node.clone());
        Ok(Seat { node, server })
    }

    /// What somebody reads: the directory that they are shown, or a host that serves it.
    fn read_by(&self, who: &str) -> Mirror {
        if self.reads == Reads::Files {
            return self.mirror(who);
        }
        let key = Hash::digest(format!("mirror of {who}").as_bytes()).0;
        let listener = self.network.listen(OnionAddress { key, port: WEB_PORT });
        let folder = Folder::new(self.shown(who));
        // It ends with the network.
        tokio::spawn(serve_files(Arc::new(folder), listener, file_view::FILE_SERVER_LIMITS));
        let web: Arc<dyn WebConnector> = Arc::new(self.network.clone());
        let site = MirrorUrl::from_onion_key(key);
        Mirror::from_url(site.to_string(), site, &web)
    }

    fn serve(&self, peer: usize, node: Arc<Witness<ManualClock>>) -> AbortHandle {
        let listener = self.network.listen(self.address(peer));
        tokio::spawn(node.serve_connections(listener)).abort_handle()
    }

    /// What a peer is called.
    pub fn peer_name(peer: usize) -> &'static str {
        PEER_NAMES[peer]
    }

    /// A peer's onion address.
    pub fn address(&self, peer: usize) -> OnionAddress {
        address(peer)
    }

    /// A peer.
    pub fn peer(&self, peer: usize) -> &Arc<Witness<ManualClock>> {
        &self.peers[peer].node
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Signs a release, without logging it.
    pub fn sign(&self, draft: &Draft) -> Result<(Manifest, Note), Broken> {
        self.sign_at(draft, self.clock.now())
    }

    /// Signs a release and appends it to the honest log.
    pub fn publish(&self, draft: &Draft) -> Result<Manifest, Broken> {
        self.publish_to("log", draft)
    }

    /// Signs a release and appends it to the log in `log/`, or to the attacker's in `fork/`.
    pub fn publish_to(&self, log: &str, draft: &Draft) -> Result<Manifest, Broken> {
        self.release(log, draft, self.clock.now())
    }

    /// A peer looks at its mirror.
    pub async fn poll(&mut self, peer: usize) -> Result<PollOutcome, Broken> {
        let node = self.peers[peer].node.clone();
        Ok(node.poll(&mut self.rng).await?)
    }

    /// Every peer looks at its mirror.
    pub async fn poll_all(&mut self) -> Result<Vec<PollOutcome>, Broken> {
        let mut polled = Vec::new();
        for peer in 0..PEERS {
            polled.push(self.poll(peer).await?);
        }
        Ok(polled)
    }

    /// A peer fetches what it keeps for others, and serves it.
    pub async fn serve_files(&mut self, peer: usize) -> Result<(), Broken> {
        let node = self.peers[peer].node.clone();
        node.fetch_entries(&mut self.rng).await?;
        let at = OnionAddress { port: WEB_PORT, ..self.address(peer) };
        let listener = self.network.listen(at);
        tokio::spawn(node.serve_files(listener));
        Ok(())
    }

    /// Stops a peer: its address answers nobody.
    pub fn stop(&mut self, peer: usize) {
        self.peers[peer].server.abort();
    }

    /// Starts a stopped or replaced peer again; it has been awake all the time.
    pub fn start(&mut self, peer: usize) {
        self.stop(peer);
        self.peers[peer].server = self.serve(peer, self.peers[peer].node.clone());
    }

    /// Ends a peer and starts it again from what is on its disk. Whoever holds on to the old one
    /// ([`World::peer`]) has to let go first.
    pub async fn restart(&mut self, peer: usize, disk: Storage) -> Result<(), Broken> {
        let Seat { node, server } = self.peers.remove(peer);
        server.abort();
        while Arc::strong_count(&node) > 1 {
            tokio::task::yield_now().await;
        }
        drop(node);
        let seat = self.seat(peer, disk)?;
        self.peers.insert(peer, seat);
        Ok(())
    }

    /// Puts an impostor at a peer's address.
    pub fn replace<F>(&mut self, peer: usize, serve: impl FnOnce(MemoryListener) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stop(peer);
        let listener = self.network.listen(self.address(peer));
        self.peers[peer].server = tokio::spawn(serve(listener)).abort_handle();
    }

    /// Starts a peer again from other state, such as a backup. Whoever holds on to the old one
    /// ([`World::peer`]) has to let go first.
    pub fn restart_from(&mut self, peer: usize, backup: &Path) -> Result<(), Broken> {
        let state = self.peer_state(peer);
        self.peers[peer].server.abort();
        // The lock in the old directory goes with it.
        fs::rename(&state, state.with_extension("before"))?;
        copy_tree(backup, &state)?;
        self.peers[peer] = self.seat(peer, Storage::default())?;
        Ok(())
    }

    /// Runs one cycle of the client without installing.
    pub async fn check(&mut self) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let (config, mirrors) = (self.config.clone(), self.mirrors.clone());
        self.check_as(&config, &mirrors).await
    }

    /// Runs one cycle of some client, such as a peer's own, without installing.
    pub async fn check_as(
        &mut self,
        config: &ClientConfig,
        mirrors: &[Mirror],
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        match Client::open(config, mirrors, &self.network, &self.clock, self.disk.clone()) {
            Ok(client) => client.with_progress(self.watcher.clone()).check(&mut self.rng).await,
            Err(error) => (CycleReport::default(), Err(error.into())),
        }
    }

    /// Runs one cycle of the client and installs what it may.
    pub async fn update(&mut self) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let client = Client::open(
            &self.config,
            &self.mirrors,
            &self.network,
            &self.clock,
            self.disk.clone(),
        );
        match client {
            Ok(client) => client.with_progress(self.watcher.clone()).update(&mut self.rng).await,
            Err(error) => (CycleReport::default(), Err(error.into())),
        }
    }
}

impl Cast for World {
    const ABOUT: &str = "Everything below is the program's own code, mirrors are read over HTTP; only Tor and the clock are played.";

    fn stage(&self) -> &Stage {
        &self.stage
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn settle(&self) -> Duration {
        self.config.cycle.limits.settle
    }

    async fn resume_in(&mut self, directory: &Path) -> Result<World, Broken> {
        let world = self.copy_to(directory)?;
        world.write_config()?;
        Ok(world)
    }

    async fn time_passes(&mut self, time: Duration) {
        self.advance(time);
    }

    async fn everybody_polls(&mut self) -> Result<(), Broken> {
        self.poll_all().await?;
        Ok(())
    }

    async fn peer_stops(&mut self, peer: usize) -> Result<(), Broken> {
        self.stop(peer);
        Ok(())
    }

    async fn peer_echoes(&mut self, peer: usize, other: usize) -> Result<(), Broken> {
        let network = self.network.clone();
        self.replace(peer, move |listener| echo(listener, network, address(other)));
        Ok(())
    }

    async fn peer_restarts_from(&mut self, peer: usize, backup: &Path) -> Result<(), Broken> {
        self.restart_from(peer, backup)
    }

    async fn peer_checks(&mut self, peer: usize) -> Result<Cycle, Broken> {
        let state = self.peer_state(peer);
        let install_root = state.with_file_name("installed");
        let cycle = CycleSettings { state, install_root, ..self.config.cycle.clone() };
        let config = ClientConfig { source: None, cycle, ..self.config.clone() };
        let mirrors = [self.read_by(PEER_NAMES[peer])];
        Ok(Cycle::new(self.check_as(&config, &mirrors).await, self.words))
    }

    async fn client_checks(&mut self) -> Result<Cycle, Broken> {
        Ok(Cycle::new(self.check().await, self.words))
    }

    async fn client_updates(&mut self) -> Result<Cycle, Broken> {
        Ok(Cycle::new(self.update().await, self.words))
    }
}

/// A peer's onion address. No service has it.
fn address(peer: usize) -> OnionAddress {
    OnionAddress { key: Hash::digest(PEER_NAMES[peer].as_bytes()).0, port: 4242 }
}

impl Drop for World {
    fn drop(&mut self) {
        self.peers.iter().for_each(|seat| seat.server.abort());
    }
}
