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
    CycleSummary, DemoBackend, Fixture, FixtureKeys, MemoryListener, MemoryNetwork, PEER_NAMES,
    PEERS, ReleaseSpec, StaticFiles, TestError, copy_tree, relay_answers,
};

/// A stage and everybody who acts on it. Everything but Tor and the clock is the code that ships.
pub struct World {
    /// The hands that the caller moves.
    pub clock: ManualClock,
    /// Who can be reached.
    pub network: MemoryNetwork,
    /// The client's configuration.
    pub config: ClientConfig,
    /// Where the client reads the log and the artifacts.
    pub mirrors: Vec<Mirror>,
    /// The client's disk.
    pub disk: Storage,
    /// Who is told of the steps of the client's cycles.
    pub progress: ProgressSink,
    /// What a person reads of a cycle's failure.
    pub render_error: fn(&CycleError) -> String,
    fixture: Fixture,
    mirror_access: MirrorAccess,
    peers: Vec<WorldPeer>,
    seed: u64,
    rng: StdRng,
}

/// How everybody reads their mirrors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorAccess {
    /// From the directories themselves.
    Files,
    /// Over HTTP, each from a host of its own.
    Http,
}

struct WorldPeer {
    witness: Arc<Witness<ManualClock>>,
    server: AbortHandle,
}

/// A world is a stage with people on it.
impl Deref for World {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.fixture
    }
}

impl World {
    /// Makes a log and a circle around it in an empty directory. Peers have polled nothing yet.
    pub fn create(directory: &Path, seed: u64, now: Timestamp) -> Result<World, TestError> {
        World::create_with_access(directory, seed, now, MirrorAccess::Files)
    }

    /// The same, and how mirrors are read.
    pub fn create_with_access(
        directory: &Path,
        seed: u64,
        now: Timestamp,
        reads: MirrorAccess,
    ) -> Result<World, TestError> {
        let circle = FixtureKeys::generate(&mut StdRng::seed_from_u64(seed));
        World::open(Fixture::create(directory, circle)?, seed, now, reads)
    }

    /// Copies this world, with everybody's state and none of its connections, to another directory.
    pub fn copy_to(&self, directory: &Path) -> Result<World, TestError> {
        let stage = self.fixture.copy_to(directory)?;
        let mut world = World::open(stage, self.seed, self.clock.now(), self.mirror_access)?;
        world.render_error = self.render_error;
        Ok(world)
    }

    fn open(
        stage: Fixture,
        seed: u64,
        now: Timestamp,
        reads: MirrorAccess,
    ) -> Result<World, TestError> {
        let keys = stage.keys.peer_keys.iter().map(|secret| secret.public().raw());
        let addresses: BTreeMap<_, _> = keys.zip((0..PEERS).map(onion_address)).collect();
        let cycle = CycleSettings {
            policy: stage.keys.policy(),
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
            peers: stage.keys.peers(),
            addresses,
            artifacts: Vec::new(),
            artifact_cache_bytes: None,
        };
        let mut world = World {
            clock: ManualClock::at(now),
            network: MemoryNetwork::default(),
            config,
            mirrors: Vec::new(),
            disk: Storage::default(),
            progress: ProgressSink::default(),
            render_error: |failure| error_chain(failure),
            fixture: stage,
            mirror_access: reads,
            peers: Vec::new(),
            seed,
            rng: StdRng::seed_from_u64(seed),
        };
        world.mirrors = vec![world.mirror_for("client")];
        for i in 0..PEERS {
            let seat = world.open_peer(i, Storage::default())?;
            world.peers.push(seat);
        }
        Ok(world)
    }

    fn open_peer(&self, peer: usize, disk: Storage) -> Result<WorldPeer, TestError> {
        let follow = WitnessConfig {
            log: self.keys.log.clone(),
            signing_key: self.keys.peer_keys[peer].clone(),
            mirrors: vec![self.mirror_for(PEER_NAMES[peer])],
            polling: PollingSettings::default(),
        };
        let state = self.peer_state(peer);
        let node = Arc::new(Witness::open(follow, &state, disk, self.clock.clone())?);
        let server = self.spawn_server(peer, node.clone());
        Ok(WorldPeer { witness: node, server })
    }

    /// What somebody reads: the directory that they are shown, or a host that serves it.
    fn mirror_for(&self, reader: &str) -> Mirror {
        if self.mirror_access == MirrorAccess::Files {
            return self.mirror(reader);
        }
        let key = Hash::digest(format!("mirror of {reader}").as_bytes()).0;
        let listener = self.network.listen(OnionAddress { key, port: WEB_PORT });
        let folder = StaticFiles::new(self.mirror_path(reader));
        // It ends with the network.
        tokio::spawn(serve_files(Arc::new(folder), listener, file_view::FILE_SERVER_LIMITS));
        let web: Arc<dyn WebConnector> = Arc::new(self.network.clone());
        let site = MirrorUrl::from_onion_key(key);
        Mirror::from_url(site.to_string(), site, &web)
    }

    fn spawn_server(&self, peer: usize, node: Arc<Witness<ManualClock>>) -> AbortHandle {
        let listener = self.network.listen(self.peer_address(peer));
        tokio::spawn(node.serve_connections(listener)).abort_handle()
    }

    /// What a peer is called.
    pub fn peer_name(peer: usize) -> &'static str {
        PEER_NAMES[peer]
    }

    /// A peer's onion address.
    pub fn peer_address(&self, peer: usize) -> OnionAddress {
        onion_address(peer)
    }

    /// A peer.
    pub fn peer(&self, peer: usize) -> &Arc<Witness<ManualClock>> {
        &self.peers[peer].witness
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Signs a release, without logging it.
    pub fn sign_release(&self, draft: &ReleaseSpec) -> Result<(Manifest, Note), TestError> {
        self.sign_release_at(draft, self.clock.now())
    }

    /// Signs a release and appends it to the honest log.
    pub fn publish(&self, draft: &ReleaseSpec) -> Result<Manifest, TestError> {
        self.publish_to("log", draft)
    }

    /// Signs a release and appends it to the log in `log/`, or to the attacker's in `fork/`.
    pub fn publish_to(&self, log: &str, draft: &ReleaseSpec) -> Result<Manifest, TestError> {
        self.publish_release(log, draft, self.clock.now())
    }

    /// A peer looks at its mirror.
    pub async fn poll(&mut self, peer: usize) -> Result<PollOutcome, TestError> {
        let node = self.peers[peer].witness.clone();
        Ok(node.poll(&mut self.rng).await?)
    }

    /// Every peer looks at its mirror.
    pub async fn poll_all(&mut self) -> Result<Vec<PollOutcome>, TestError> {
        let mut polled = Vec::new();
        for peer in 0..PEERS {
            polled.push(self.poll(peer).await?);
        }
        Ok(polled)
    }

    /// A peer fetches what it keeps for others, and serves it.
    pub async fn serve_files(&mut self, peer: usize) -> Result<(), TestError> {
        let node = self.peers[peer].witness.clone();
        node.fetch_entries(&mut self.rng).await?;
        let at = OnionAddress { port: WEB_PORT, ..self.peer_address(peer) };
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
        self.peers[peer].server = self.spawn_server(peer, self.peers[peer].witness.clone());
    }

    /// Ends a peer and starts it again from what is on its disk. Whoever holds on to the old one
    /// ([`SimulatedWorld::peer`]) has to let go first.
    pub async fn restart(&mut self, peer: usize, disk: Storage) -> Result<(), TestError> {
        let WorldPeer { witness: node, server } = self.peers.remove(peer);
        server.abort();
        while Arc::strong_count(&node) > 1 {
            tokio::task::yield_now().await;
        }
        drop(node);
        let seat = self.open_peer(peer, disk)?;
        self.peers.insert(peer, seat);
        Ok(())
    }

    /// Puts an impostor at a peer's address.
    pub fn replace_peer<F>(&mut self, peer: usize, serve: impl FnOnce(MemoryListener) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stop(peer);
        let listener = self.network.listen(self.peer_address(peer));
        self.peers[peer].server = tokio::spawn(serve(listener)).abort_handle();
    }

    /// Starts a peer again from other state, such as a backup. Whoever holds on to the old one
    /// ([`SimulatedWorld::peer`]) has to let go first.
    pub fn restart_from(&mut self, peer: usize, backup: &Path) -> Result<(), TestError> {
        let state = self.peer_state(peer);
        self.peers[peer].server.abort();
        // The lock in the old directory goes with it.
        fs::rename(&state, state.with_extension("before"))?;
        copy_tree(backup, &state)?;
        self.peers[peer] = self.open_peer(peer, Storage::default())?;
        Ok(())
    }

    /// Runs one cycle of the client without installing.
    pub async fn check(&mut self) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        let (config, mirrors) = (self.config.clone(), self.mirrors.clone());
        self.check_with(&config, &mirrors).await
    }

    /// Runs one cycle of some client, such as a peer's own, without installing.
    pub async fn check_with(
        &mut self,
        config: &ClientConfig,
        mirrors: &[Mirror],
    ) -> (CycleReport, Result<CycleOutcome, CycleError>) {
        match Client::open(config, mirrors, &self.network, &self.clock, self.disk.clone()) {
            Ok(client) => client.with_progress(self.progress.clone()).check(&mut self.rng).await,
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
            Ok(client) => client.with_progress(self.progress.clone()).update(&mut self.rng).await,
            Err(error) => (CycleReport::default(), Err(error.into())),
        }
    }
}

impl DemoBackend for World {
    const DESCRIPTION: &str = "Everything below is the program's own code, mirrors are read over HTTP; only Tor and the clock are played.";

    fn fixture(&self) -> &Fixture {
        &self.fixture
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn settle(&self) -> Duration {
        self.config.cycle.limits.settle
    }

    async fn resume_in(&mut self, directory: &Path) -> Result<World, TestError> {
        let world = self.copy_to(directory)?;
        world.write_config()?;
        Ok(world)
    }

    async fn advance_time(&mut self, time: Duration) {
        self.advance(time);
    }

    async fn poll_all_peers(&mut self) -> Result<(), TestError> {
        self.poll_all().await?;
        Ok(())
    }

    async fn stop_peer(&mut self, peer: usize) -> Result<(), TestError> {
        self.stop(peer);
        Ok(())
    }

    async fn relay_peer(&mut self, peer: usize, other: usize) -> Result<(), TestError> {
        let network = self.network.clone();
        self.replace_peer(peer, move |listener| {
            relay_answers(listener, network, onion_address(other))
        });
        Ok(())
    }

    async fn restart_peer_from(&mut self, peer: usize, backup: &Path) -> Result<(), TestError> {
        self.restart_from(peer, backup)
    }

    async fn run_peer_check(&mut self, peer: usize) -> Result<CycleSummary, TestError> {
        let state = self.peer_state(peer);
        let install_root = state.with_file_name("installed");
        let cycle = CycleSettings { state, install_root, ..self.config.cycle.clone() };
        let config = ClientConfig { source: None, cycle, ..self.config.clone() };
        let mirrors = [self.mirror_for(PEER_NAMES[peer])];
        Ok(CycleSummary::new(self.check_with(&config, &mirrors).await, self.render_error))
    }

    async fn run_client_check(&mut self) -> Result<CycleSummary, TestError> {
        Ok(CycleSummary::new(self.check().await, self.render_error))
    }

    async fn run_client_update(&mut self) -> Result<CycleSummary, TestError> {
        Ok(CycleSummary::new(self.update().await, self.render_error))
    }
}

/// A peer's onion address. No service has it.
fn onion_address(peer: usize) -> OnionAddress {
    OnionAddress { key: Hash::digest(PEER_NAMES[peer].as_bytes()).0, port: 4242 }
}

impl Drop for World {
    fn drop(&mut self) {
        self.peers.iter().for_each(|seat| seat.server.abort());
    }
}
