//! The circle at work over Tor: real processes, real onion services, and time as it is.

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
use unanimity_testkit::{Broken, Cast, Cycle, PEER_NAMES, PEERS, Stage, copy_tree, echo};
use unanimity_tor::{AuthorizedClients, TorClient, hosting};

use crate::onion::nodes::{CLIENT, Nodes, SETTLE};
use crate::onion::process::{Ended, PATIENCE, PAUSE, Process};

/// Five peers and a client, each a daemon, which ends with this value.
#[derive(Debug)]
pub struct Daemons {
    nodes: Nodes,
    peers: Vec<Process>,
    client: Process,
    impostor: Option<AbortHandle>,
}

impl Daemons {
    /// Starts all of them, and waits until each can be found and vouches for its log.
    pub async fn start(nodes: Nodes) -> Result<Daemons, Broken> {
        let (mut peers, mut client) =
            (PEER_NAMES.map(|who| nodes.process(who)), nodes.process(CLIENT));
        // All at once: each has its circuits to build and its service to publish.
        let mut everybody: Vec<&mut Process> = peers.iter_mut().chain([&mut client]).collect();
        everybody.iter_mut().try_for_each(|node| node.start())?;
        for node in everybody {
            findable(node).await?;
        }
        let peers = Vec::from(peers);
        let mut daemons = Daemons { nodes, peers, client, impostor: None };
        daemons.everybody_polls().await?;
        Ok(daemons)
    }

    /// Ends them. Their files stay as they are.
    fn rest(&mut self) -> Result<(), Broken> {
        if let Some(impostor) = self.impostor.take() {
            impostor.abort();
        }
        let everybody = || self.peers.iter().chain([&self.client]);
        everybody().try_for_each(Process::terminate)?;
        self.peers.iter_mut().chain([&mut self.client]).try_for_each(Process::stop)
    }

    /// A peer looks at its mirror: until it vouches for what that shows, or has found it to be a fork.
    async fn polls(&mut self, peer: usize) -> Result<(), Broken> {
        let shown = self.nodes.stage.head_of(&format!("mirrors/{}", PEER_NAMES[peer]))?;
        let root = shown.root().hex();
        let saw = |status: &Value| {
            let (serving, head) = (&status["serving"], &status["serving"]["head"]);
            let fresh = serving["fresh"] == true;
            !status["latched"].is_null()
                || fresh && head["size"] == shown.size() && head["root"] == root
        };
        self.peers[peer].comes_to("look at its mirror", saw).await
    }
}

/// Waits until others can find a node.
async fn findable(node: &mut Process) -> Result<(), Broken> {
    node.comes_to("published service", |status| status["serving"]["reachable"] == true).await
}

impl Cast for Daemons {
    const ABOUT: &str = "Everything below is real: each of them is a process of its own, and they ask each other\n\
        over onion services of a private Tor network on this machine. The client's mirror is one, too.";

    fn stage(&self) -> &Stage {
        &self.nodes.stage
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn settle(&self) -> Duration {
        SETTLE
    }

    async fn resume_in(&mut self, directory: &Path) -> Result<Daemons, Broken> {
        self.rest()?;
        Daemons::start(self.nodes.copy_to(directory)?).await
    }

    async fn time_passes(&mut self, time: Duration) {
        sleep(time).await;
    }

    async fn everybody_polls(&mut self) -> Result<(), Broken> {
        for peer in 0..PEERS {
            if self.peers[peer].id().is_some() {
                self.polls(peer).await?;
            }
        }
        Ok(())
    }

    async fn peer_stops(&mut self, peer: usize) -> Result<(), Broken> {
        self.peers[peer].stop()
    }

    async fn peer_echoes(&mut self, peer: usize, other: usize) -> Result<(), Broken> {
        self.peers[peer].stop()?;
        // It has all that the peer had, but for the key of another.
        let told =
            unanimity_config::load_node_config(&self.peers[peer].directory.join("unanimity.toml"))?;
        let serve = told.serve.as_ref().ok_or("the peer does not serve")?;
        let identity = Identity::read(&told.cycle.state)?.ok_or("the peer has no keys")?;
        let other = told.peers.find(&PEER_NAMES[other].parse()?).ok_or("no such peer")?;
        let readers = told.peers.client_auth_keys(self.now()).into_values().collect();
        let tor = TorClient::new(&told.tor, Some(identity.client_auth))?;
        timeout(PATIENCE, tor.bootstrap(|_, _| {})).await??;
        let listener =
            tor.launch_service(&service_settings(serve), &AuthorizedClients::Listed(readers))?;
        let began = Instant::now();
        while !listener.service().is_reachable() {
            if began.elapsed() > PATIENCE {
                return Err("the impostor's service was not published in time".into());
            }
            sleep(PAUSE).await;
        }
        let echoing = tokio::spawn(echo(listener, tor, other.address.clone()));
        self.impostor = Some(echoing.abort_handle());
        Ok(())
    }

    async fn peer_restarts_from(&mut self, peer: usize, backup: &Path) -> Result<(), Broken> {
        self.peers[peer].stop()?;
        // What Tor keeps there stays, and with it the address.
        for entry in fs::read_dir(backup)? {
            let kept = entry?;
            let place: PathBuf = self.nodes.stage.peer_state(peer).join(kept.file_name());
            fs::remove_dir_all(&place)?;
            copy_tree(&kept.path(), &place)?;
        }
        self.peers[peer].start()?;
        findable(&mut self.peers[peer]).await?;
        self.polls(peer).await
    }

    async fn peer_checks(&mut self, peer: usize) -> Result<Cycle, Broken> {
        self.peers[peer].ask(&["check"]).await?.try_into()
    }

    async fn client_checks(&mut self) -> Result<Cycle, Broken> {
        self.client.ask(&["check"]).await?.try_into()
    }

    async fn client_updates(&mut self) -> Result<Cycle, Broken> {
        self.client.ask(&["update"]).await?.try_into()
    }
}

/// A cycle as its command reports it.
impl TryFrom<Ended> for Cycle {
    type Error = Broken;

    fn try_from(Ended { exit, report }: Ended) -> Result<Cycle, Broken> {
        let exit =
            Exit::of(exit).ok_or_else(|| format!("a command ended with {exit}: {report}"))?;
        let answer = |peer: &Value| {
            let name = peer["name"].as_str().unwrap_or_default();
            (name.to_owned(), peer["size"].as_u64())
        };
        Ok(Cycle {
            exit,
            said: report["message"].as_str().unwrap_or_default().to_owned(),
            size: report["head"]["size"].as_u64(),
            peers: report["peers"].as_array().into_iter().flatten().map(answer).collect(),
        })
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        if let Some(impostor) = &self.impostor {
            impostor.abort();
        }
    }
}
