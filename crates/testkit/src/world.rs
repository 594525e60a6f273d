//! Five peers and a client in one process, over streams in memory, with a clock that the caller
//! moves.

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

/// A fixture with five running peers and a client. They run the code that ships, except for Tor and
/// the clock.
pub struct World {
    /// The clock of all peers and of the client. Only the caller moves it.
    pub clock: ManualClock,
    /// The network in memory, which connects the client to the peers.
    pub network: MemoryNetwork,
    /// The client's configuration.
    pub config: ClientConfig,
    /// The mirrors from which the client reads the log and the artifacts.
    pub mirrors: Vec<Mirror>,
    /// The client's storage.
    pub disk: Storage,
    /// Receives the progress of the client's cycles.
    pub progress: ProgressSink,
    /// Renders a cycle's error for [`CycleSummary::message`].
    pub render_error: fn(&CycleError) -> String,
    fixture: Fixture,
    mirror_access: MirrorAccess,
    peers: Vec<WorldPeer>,
    seed: u64,
    rng: StdRng,
}

/// How the peers and the client read their mirrors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorAccess {
    /// From the directory of the log, without a connection.
    Files,
    /// Over HTTP, each reader from a host of its own.
    Http,
}

struct WorldPeer {
    witness: Arc<Witness<ManualClock>>,
    server: AbortHandle,
}

/// A world gives access to its keys and files.
impl Deref for World {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.fixture
    }
}

impl World {
    /// Makes a log, five peers and a client in an empty directory. No peer has polled yet. Mirrors
    /// are read as [`MirrorAccess::Files`]. Call this function inside a tokio runtime.
    pub fn create(directory: &Path, seed: u64, now: Timestamp) -> Result<World, TestError> {
        World::create_with_access(directory, seed, now, MirrorAccess::Files)
    }

    /// Makes a world as [`World::create`] does, with a choice of how mirrors are read.
    pub fn create_with_access(
        directory: &Path,
        seed: u64,
        now: Timestamp,
        mirror_access: MirrorAccess,
    ) -> Result<World, TestError> {
        let keys = FixtureKeys::generate(&mut StdRng::seed_from_u64(seed));
        World::open(Fixture::create(directory, keys)?, seed, now, mirror_access)
    }

    /// Copies this world to another directory, with the state of every peer and of the client.
    /// Connections are not copied.
    pub fn copy_to(&self, directory: &Path) -> Result<World, TestError> {
        let fixture = self.fixture.copy_to(directory)?;
        let mut world = World::open(fixture, self.seed, self.clock.now(), self.mirror_access)?;
        world.render_error = self.render_error;
        Ok(world)
    }

    fn open(
        fixture: Fixture,
        seed: u64,
        now: Timestamp,
        mirror_access: MirrorAccess,
    ) -> Result<World, TestError> {
        let keys = fixture.keys.peer_keys.iter().map(|secret| secret.public().raw());
        let addresses: BTreeMap<_, _> = keys.zip((0..PEERS).map(onion_address)).collect();
        let cycle = CycleSettings {
            policy: fixture.keys.policy(),
            platform: this_platform(),
            limits: RoundLimits::default(),
            ask_timeout: Duration::from_secs(1),
            round_timeout: Duration::from_secs(12),
            polling: PollingSettings::default(),
            pinned: None,
            install_root: fixture.install_root(),
            hooks: HookSettings::default(),
            spool: None,
            freshness: None,
            state: fixture.client_state(),
        };
        let config = ClientConfig {
            source: None,
            cycle,
            peers: fixture.keys.peers(),
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
            fixture,
            mirror_access,
            peers: Vec::new(),
            seed,
            rng: StdRng::seed_from_u64(seed),
        };
        world.mirrors = vec![world.mirror_for("client")];
        for i in 0..PEERS {
            let world_peer = world.open_peer(i, Storage::default())?;
            world.peers.push(world_peer);
        }
        Ok(world)
    }

    fn open_peer(&self, peer: usize, disk: Storage) -> Result<WorldPeer, TestError> {
        let config = WitnessConfig {
            log: self.keys.log.clone(),
            signing_key: self.keys.peer_keys[peer].clone(),
            mirrors: vec![self.mirror_for(PEER_NAMES[peer])],
            polling: PollingSettings::default(),
        };
        let state = self.peer_state(peer);
        let witness = Arc::new(Witness::open(config, &state, disk, self.clock.clone())?);
        let server = self.spawn_server(peer, witness.clone());
        Ok(WorldPeer { witness, server })
    }

    /// Returns the mirror of `reader`, which is a peer's name or `client`. The mirror is the
    /// reader's directory, or a host that serves that directory.
    fn mirror_for(&self, reader: &str) -> Mirror {
        if self.mirror_access == MirrorAccess::Files {
            return self.mirror(reader);
        }
        let key = Hash::digest(format!("mirror of {reader}").as_bytes()).0;
        let listener = self.network.listen(OnionAddress { key, port: WEB_PORT });
        let files = StaticFiles::new(self.mirror_path(reader));
        // The server ends with the network.
        tokio::spawn(serve_files(Arc::new(files), listener, file_view::FILE_SERVER_LIMITS));
        let web: Arc<dyn WebConnector> = Arc::new(self.network.clone());
        let url = MirrorUrl::from_onion_key(key);
        Mirror::from_url(url.to_string(), url, &web)
    }

    fn spawn_server(&self, peer: usize, witness: Arc<Witness<ManualClock>>) -> AbortHandle {
        let listener = self.network.listen(self.peer_address(peer));
        tokio::spawn(witness.serve_connections(listener)).abort_handle()
    }

    /// Returns the name of peer number `peer`.
    pub fn peer_name(peer: usize) -> &'static str {
        PEER_NAMES[peer]
    }

    /// Returns the onion address of peer number `peer`.
    pub fn peer_address(&self, peer: usize) -> OnionAddress {
        onion_address(peer)
    }

    /// Returns the witness of peer number `peer`.
    pub fn peer(&self, peer: usize) -> &Arc<Witness<ManualClock>> {
        &self.peers[peer].witness
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Signs a release, without appending it to a log.
    pub fn sign_release(&self, spec: &ReleaseSpec) -> Result<(Manifest, Note), TestError> {
        self.sign_release_at(spec, self.clock.now())
    }

    /// Signs a release and appends it to the honest log.
    pub fn publish(&self, spec: &ReleaseSpec) -> Result<Manifest, TestError> {
        self.publish_to("log", spec)
    }

    /// Signs a release and appends it to the log in the directory `log` of the fixture, such as
    /// `log` or `fork`.
    pub fn publish_to(&self, log: &str, spec: &ReleaseSpec) -> Result<Manifest, TestError> {
        self.publish_release(log, spec, self.clock.now())
    }

    /// Lets one peer poll its mirror.
    pub async fn poll(&mut self, peer: usize) -> Result<PollOutcome, TestError> {
        let witness = self.peers[peer].witness.clone();
        Ok(witness.poll(&mut self.rng).await?)
    }

    /// Lets every peer poll its mirror, one after the other.
    pub async fn poll_all(&mut self) -> Result<Vec<PollOutcome>, TestError> {
        let mut polled = Vec::new();
        for peer in 0..PEERS {
            polled.push(self.poll(peer).await?);
        }
        Ok(polled)
    }

    /// Lets a peer fetch the log's entries, and serves its files at [`WEB_PORT`] from now on.
    pub async fn serve_files(&mut self, peer: usize) -> Result<(), TestError> {
        let witness = self.peers[peer].witness.clone();
        witness.fetch_entries(&mut self.rng).await?;
        let at = OnionAddress { port: WEB_PORT, ..self.peer_address(peer) };
        let listener = self.network.listen(at);
        tokio::spawn(witness.serve_files(listener));
        Ok(())
    }

    /// Stops a peer's server: connections to its address are refused. Its witness stays in memory.
    pub fn stop(&mut self, peer: usize) {
        self.peers[peer].server.abort();
    }

    /// Starts the server of a stopped or replaced peer again, with the same witness.
    pub fn start(&mut self, peer: usize) {
        self.stop(peer);
        self.peers[peer].server = self.spawn_server(peer, self.peers[peer].witness.clone());
    }

    /// Ends a peer and starts it again from its state directory, with the storage `disk`. The
    /// caller must have dropped every clone of the peer's witness ([`World::peer`]), or this waits
    /// for ever.
    pub async fn restart(&mut self, peer: usize, disk: Storage) -> Result<(), TestError> {
        let WorldPeer { witness, server } = self.peers.remove(peer);
        server.abort();
        while Arc::strong_count(&witness) > 1 {
            tokio::task::yield_now().await;
        }
        drop(witness);
        let world_peer = self.open_peer(peer, disk)?;
        self.peers.insert(peer, world_peer);
        Ok(())
    }

    /// Replaces a peer by an impostor: `serve` receives the connections to the peer's address.
    pub fn replace_peer<F>(&mut self, peer: usize, serve: impl FnOnce(MemoryListener) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stop(peer);
        let listener = self.network.listen(self.peer_address(peer));
        self.peers[peer].server = tokio::spawn(serve(listener)).abort_handle();
    }

    /// Starts a peer again from a copy of the state in `backup`. The caller must have dropped every
    /// clone of the peer's witness ([`World::peer`]).
    pub fn restart_from(&mut self, peer: usize, backup: &Path) -> Result<(), TestError> {
        let state = self.peer_state(peer);
        self.peers[peer].server.abort();
        // The lock moves with the old directory.
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

    /// Runs one cycle without installing, of a client with the configuration `config` and the
    /// mirrors `mirrors`.
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

    /// Runs one cycle of the client, and installs the release that every peer has confirmed.
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
    const DESCRIPTION: &str = "Everything below runs the program's own code, and mirrors are read over HTTP. Only Tor and the clock are simulated.";

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

/// Derives the onion address of peer number `peer` from its name. No onion service has the address.
fn onion_address(peer: usize) -> OnionAddress {
    OnionAddress { key: Hash::digest(PEER_NAMES[peer].as_bytes()).0, port: 4242 }
}

impl Drop for World {
    fn drop(&mut self) {
        self.peers.iter().for_each(|world_peer| world_peer.server.abort());
    }
}
