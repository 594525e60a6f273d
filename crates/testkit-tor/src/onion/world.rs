//! Files of five peers and a client on a private Tor network.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use unanimity_config::peers::edit;
use unanimity_config::{Invite, Membership, this_platform};
use unanimity_storage::Storage;
use unanimity_testkit::{Fixture, PEER_NAMES, TestError};

use crate::onion::mirror::OnionMirror;
use crate::onion::process::NodeProcess;
use crate::tornet::network::PrivateTorNetwork;

/// The client's `settle`: short, because real time passes.
pub const SETTLE: Duration = Duration::from_secs(2);

/// The client's name as a node. It is a witness, too, so the peers list it in `peers.toml`.
pub(crate) const CLIENT: &str = "client";

/// The files of five peers and a client. A running node is a [`NodeProcess`].
#[derive(Clone)]
pub struct OnionWorld {
    /// The keys, the files of the log, and the files of the nodes.
    pub fixture: Fixture,
    program: PathBuf,
    /// The client's mirror at an onion service. `None` if the client reads the log's directory.
    mirror: Option<Arc<OnionMirror>>,
}

impl std::fmt::Debug for OnionWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnionWorld(..)")
    }
}

impl OnionWorld {
    /// Writes the configuration of the client and of the first `peers` peers, each with all others
    /// as counted peers. `program` is the program `unanimity`.
    pub fn create(
        fixture: Fixture,
        network: &PrivateTorNetwork,
        program: &Path,
        peers: usize,
    ) -> Result<OnionWorld, TestError> {
        fs::write(fixture.directory.join("network.toml"), network.arti_config())?;
        fs::write(fixture.directory.join("log.pub"), format!("{}\n", fixture.keys.log.key))?;
        let world = OnionWorld { fixture, program: program.to_owned(), mirror: None };
        let names: Vec<&str> = PEER_NAMES[..peers].iter().copied().chain([CLIENT]).collect();
        for name in &names {
            world.configure(name, peers.min(3))?;
        }
        let mut invites = Vec::new();
        for name in &names {
            let report = world.process(name).run_json(&["peers", "invite"])?;
            invites.push(report["invite"].as_str().unwrap_or_default().parse::<Invite>()?);
        }
        for name in &names {
            for invite in invites.iter().filter(|invite| invite.name.as_str() != *name) {
                // The peer counts at once, because all nodes follow one log by construction.
                let mut peer = invite.to_peer_entry(&world.fixture.keys.log)?;
                peer.membership = Membership::Counted;
                edit::add(
                    &world.node_directory(name).join("peers.toml"),
                    &peer,
                    &Storage::default(),
                )?;
            }
        }
        Ok(world)
    }

    /// Lets the client read the log from `mirror`, which is an onion service.
    pub fn with_mirror(mut self, mirror: OnionMirror) -> Result<OnionWorld, TestError> {
        self.mirror = Some(Arc::new(mirror));
        self.write_unanimity_toml(CLIENT)?;
        Ok(self)
    }

    /// Copies the files to another directory. No node may be running.
    pub fn copy_to(&self, directory: &Path) -> Result<OnionWorld, TestError> {
        let world = OnionWorld { fixture: self.fixture.copy_to(directory)?, ..self.clone() };
        if let Some(mirror) = &world.mirror {
            mirror.set_directory(world.fixture.mirror_path(CLIENT));
        }
        for name in PEER_NAMES.iter().chain(&[CLIENT]) {
            if world.node_directory(name).exists() {
                world.write_unanimity_toml(name)?;
            }
        }
        Ok(world)
    }

    /// Returns the directory of a node, by its name.
    pub fn node_directory(&self, node: &str) -> PathBuf {
        let below = if node == CLIENT { CLIENT.into() } else { format!("peers/{node}") };
        self.fixture.directory.join(below)
    }

    /// Returns a node by its name. Starts nothing.
    pub fn process(&self, node: &str) -> NodeProcess {
        NodeProcess::new(&self.program, &self.node_directory(node))
    }

    /// Writes a node's configuration, with an empty peer list.
    pub fn configure(&self, node: &str, min_peers: usize) -> Result<(), TestError> {
        fs::create_dir_all(self.node_directory(node))?;
        self.write_unanimity_toml(node)?;
        Ok(fs::write(
            self.node_directory(node).join("peers.toml"),
            format!("min_peers = {min_peers}\n"),
        )?)
    }

    fn write_unanimity_toml(&self, node: &str) -> Result<(), TestError> {
        let keys = &self.fixture.keys;
        let policy = keys.policy();
        // No test waits for polls of the client. They would use the network, so they are rare.
        let (mirror, poll) = match &self.mirror {
            Some(mirror) if node == CLIENT => (mirror.url().to_string(), "10s"),
            _ => (self.fixture.mirror(node).to_string(), "1s"),
        };
        let publisher_keys: Vec<String> =
            policy.publishers().iter().map(|key| format!("    \"{key}\",\n")).collect();
        let text = format!(
            "[product]\nname = \"{}\"\nchannel = \"{}\"\nplatform = \"{}\"\n\n\
             [publisher]\nthreshold = {}\nkeys = [\n{}]\n\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [\"{}\"]\n\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n\n\
             [limits]\nsettle = \"{}s\"\npoll_min = \"{poll}\"\npoll_max = \"{poll}\"\n\
             ask_timeout = \"10s\"\nround_timeout = \"20s\"\n\n\
             [tor]\nnetwork = \"{}\"\n\n\
             [serve]\nname = \"{node}\"\nround_interval_min = \"24h\"\nround_interval_max = \"24h\"\n",
            policy.product,
            policy.channel,
            this_platform(),
            policy.threshold(),
            publisher_keys.concat(),
            keys.log.origin,
            keys.log.key,
            mirror,
            SETTLE.as_secs(),
            self.fixture.directory.join("network.toml").display(),
        );
        Ok(fs::write(self.node_directory(node).join("unanimity.toml"), text)?)
    }
}
