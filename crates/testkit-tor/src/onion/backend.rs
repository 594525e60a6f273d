//! The demo's backend over Tor: real processes, real onion services, and real time.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use unanimity_protocol::Timestamp;
use unanimity_report::Exit;
use unanimity_state::Identity;
use unanimity_storage::{Clock as _, SystemClock};
use unanimity_testkit::{
    CycleSummary, DemoBackend, Fixture, PEER_NAMES, PEERS, TestError, copy_tree, relay_answers,
};
use unanimity_tor::{AuthorizedClients, TorClient, service_settings};

use crate::onion::process::{NodeProcess, POLL_INTERVAL, PROCESS_TIMEOUT, ProcessResult};
use crate::onion::world::{CLIENT, OnionWorld, SETTLE};

/// Five peers and a client, each a daemon process. Dropping this value kills the processes.
#[derive(Debug)]
pub struct OnionBackend {
    world: OnionWorld,
    peers: Vec<NodeProcess>,
    client: NodeProcess,
    impostor: Option<AbortHandle>,
}

impl OnionBackend {
    /// Starts the peers and the client. Waits until every node is reachable and every peer has
    /// polled.
    pub async fn start(world: OnionWorld) -> Result<OnionBackend, TestError> {
        let (mut peers, mut client) =
            (PEER_NAMES.map(|name| world.process(name)), world.process(CLIENT));
        // All start at once, because each needs time for its circuits and its onion service.
        let mut nodes: Vec<&mut NodeProcess> = peers.iter_mut().chain([&mut client]).collect();
        nodes.iter_mut().try_for_each(|node| node.start())?;
        for node in nodes {
            wait_reachable(node).await?;
        }
        let peers = Vec::from(peers);
        let mut backend = OnionBackend { world, peers, client, impostor: None };
        backend.poll_all_peers().await?;
        Ok(backend)
    }

    /// Stops the peers, the client and the impostor. Their files remain.
    fn stop_all(&mut self) -> Result<(), TestError> {
        if let Some(impostor) = self.impostor.take() {
            impostor.abort();
        }
        let nodes = || self.peers.iter().chain([&self.client]);
        nodes().try_for_each(NodeProcess::terminate)?;
        self.peers.iter_mut().chain([&mut self.client]).try_for_each(NodeProcess::stop)
    }

    /// Waits until a peer serves the head that its mirror has now, or a fork has latched in it.
    async fn wait_for_poll(&mut self, peer: usize) -> Result<(), TestError> {
        let mirror_head = self.world.fixture.head_of(&format!("mirrors/{}", PEER_NAMES[peer]))?;
        let root = mirror_head.root().hex();
        let has_polled = |status: &Value| {
            let (serving, head) = (&status["serving"], &status["serving"]["head"]);
            let fresh = serving["fresh"] == true;
            !status["latched"].is_null()
                || fresh && head["size"] == mirror_head.size() && head["root"] == root
        };
        self.peers[peer].wait_status_async("poll of its mirror", has_polled).await
    }
}

/// Waits until a node's onion service is reachable.
async fn wait_reachable(node: &mut NodeProcess) -> Result<(), TestError> {
    node.wait_status_async("published service", |status| status["serving"]["reachable"] == true)
        .await
}

impl DemoBackend for OnionBackend {
    const DESCRIPTION: &str = "Everything below is real: each node is a process of its own. The nodes ask each other over\n\
        onion services of a private Tor network on this machine. The client's mirror is one, too.";

    fn fixture(&self) -> &Fixture {
        &self.world.fixture
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    async fn resume_in(&mut self, directory: &Path) -> Result<OnionBackend, TestError> {
        self.stop_all()?;
        OnionBackend::start(self.world.copy_to(directory)?).await
    }

    async fn advance_time(&mut self, time: Duration) {
        sleep(time).await;
    }

    async fn poll_all_peers(&mut self) -> Result<(), TestError> {
        for peer in 0..PEERS {
            if self.peers[peer].id().is_some() {
                self.wait_for_poll(peer).await?;
            }
        }
        Ok(())
    }

    async fn stop_peer(&mut self, peer: usize) -> Result<(), TestError> {
        self.peers[peer].stop()
    }

    async fn relay_peer(&mut self, peer: usize, other: usize) -> Result<(), TestError> {
        self.peers[peer].stop()?;
        // The impostor has the peer's address and keys, but not the other peer's key.
        let config =
            unanimity_config::load_node_config(&self.peers[peer].directory.join("unanimity.toml"))?;
        let serve = config.serve.as_ref().ok_or("the peer does not serve")?;
        let identity = Identity::read(&config.cycle.state)?.ok_or("the peer has no keys")?;
        let other = config.peers.find(&PEER_NAMES[other].parse()?).ok_or("no such peer")?;
        let authorized = config.peers.client_auth_keys(self.now()).into_values().collect();
        let tor = TorClient::new(&config.tor, Some(identity.client_auth))?;
        timeout(PROCESS_TIMEOUT, tor.bootstrap(|_, _| {})).await??;
        let listener =
            tor.launch_service(&service_settings(serve), &AuthorizedClients::Listed(authorized))?;
        let began = Instant::now();
        while !listener.service().is_reachable() {
            if began.elapsed() > PROCESS_TIMEOUT {
                return Err("the impostor's service was not published in time".into());
            }
            sleep(POLL_INTERVAL).await;
        }
        let relay = tokio::spawn(relay_answers(listener, tor, other.address.clone()));
        self.impostor = Some(relay.abort_handle());
        Ok(())
    }

    async fn restart_peer_from(&mut self, peer: usize, backup: &Path) -> Result<(), TestError> {
        self.peers[peer].stop()?;
        // Tor's files are not replaced, so the peer keeps its address.
        for entry in fs::read_dir(backup)? {
            let kept = entry?;
            let path: PathBuf = self.world.fixture.peer_state(peer).join(kept.file_name());
            fs::remove_dir_all(&path)?;
            copy_tree(&kept.path(), &path)?;
        }
        self.peers[peer].start()?;
        wait_reachable(&mut self.peers[peer]).await?;
        self.wait_for_poll(peer).await
    }

    async fn run_peer_check(&mut self, peer: usize) -> Result<CycleSummary, TestError> {
        self.peers[peer].run_async(&["check"]).await?.try_into()
    }

    async fn run_client_check(&mut self) -> Result<CycleSummary, TestError> {
        self.client.run_async(&["check"]).await?.try_into()
    }

    async fn run_client_update(&mut self) -> Result<CycleSummary, TestError> {
        self.client.run_async(&["update"]).await?.try_into()
    }
}

/// Reads a cycle from the JSON report of its command.
impl TryFrom<ProcessResult> for CycleSummary {
    type Error = TestError;

    fn try_from(
        ProcessResult { exit_code: exit, report }: ProcessResult,
    ) -> Result<CycleSummary, TestError> {
        let exit =
            Exit::of(exit).ok_or_else(|| format!("a command ended with {exit}: {report}"))?;
        let answer = |peer: &Value| {
            let name = peer["name"].as_str().unwrap_or_default();
            (name.to_owned(), peer["size"].as_u64())
        };
        Ok(CycleSummary {
            exit,
            message: report["message"].as_str().unwrap_or_default().to_owned(),
            size: report["head"]["size"].as_u64(),
            peers: report["peers"].as_array().into_iter().flatten().map(answer).collect(),
        })
    }
}

impl Drop for OnionBackend {
    fn drop(&mut self) {
        if let Some(impostor) = &self.impostor {
            impostor.abort();
        }
    }
}
