//! The files of a group of peers, on a private network.

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

/// How long every peer has to have seen a release here: real time passes.
pub const SETTLE: Duration = Duration::from_secs(2);

/// What the client is called: it serves as well, so the others have it among their peers.
pub(crate) const CLIENT: &str = "client";

/// Everybody's files, on a private network; whoever runs is a [`NodeProcess`].
#[derive(Clone)]
pub struct OnionWorld {
    /// The keys and files.
    pub fixture: Fixture,
    program: PathBuf,
    /// What the client reads, if it is not the directory itself.
    mirror: Option<Arc<OnionMirror>>,
}

impl std::fmt::Debug for OnionWorld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nodes(..)")
    }
}

impl OnionWorld {
    /// Writes everybody's configuration: `peers` of the circle and the client, who all know each
    /// other. `program` is this program.
    pub fn create(
        stage: Fixture,
        network: &PrivateTorNetwork,
        program: &Path,
        peers: usize,
    ) -> Result<OnionWorld, TestError> {
        fs::write(stage.directory.join("network.toml"), network.arti_config())?;
        fs::write(stage.directory.join("log.pub"), format!("{}\n", stage.keys.log.key))?;
        let nodes = OnionWorld { fixture: stage, program: program.to_owned(), mirror: None };
        let everybody: Vec<&str> = PEER_NAMES[..peers].iter().copied().chain([CLIENT]).collect();
        for who in &everybody {
            nodes.configure(who, peers.min(3))?;
        }
        let mut tickets = Vec::new();
        for who in &everybody {
            let said = nodes.process(who).run_json(&["peers", "invite"])?;
            tickets.push(said["ticket"].as_str().unwrap_or_default().parse::<Invite>()?);
        }
        for who in &everybody {
            for ticket in tickets.iter().filter(|ticket| ticket.name.as_str() != *who) {
                // As an operator writes it who needs no proof that they follow one log.
                let mut member = ticket.to_peer_entry(&nodes.fixture.keys.log)?;
                member.membership = Membership::Counted;
                edit::add(
                    &nodes.node_directory(who).join("peers.toml"),
                    &member,
                    &Storage::default(),
                )?;
            }
        }
        Ok(nodes)
    }

    /// The same, with a client that reads what it is shown from an onion service.
    pub fn with_mirror(mut self, mirror: OnionMirror) -> Result<OnionWorld, TestError> {
        self.mirror = Some(Arc::new(mirror));
        self.write_unanimity_toml(CLIENT)?;
        Ok(self)
    }

    /// The same in a copy of the stage. Nobody may be running.
    pub fn copy_to(&self, directory: &Path) -> Result<OnionWorld, TestError> {
        let nodes = OnionWorld { fixture: self.fixture.copy_to(directory)?, ..self.clone() };
        if let Some(mirror) = &nodes.mirror {
            mirror.set_directory(nodes.fixture.mirror_path(CLIENT));
        }
        for who in PEER_NAMES.iter().chain(&[CLIENT]) {
            if nodes.node_directory(who).exists() {
                nodes.write_unanimity_toml(who)?;
            }
        }
        Ok(nodes)
    }

    /// A node's directory.
    pub fn node_directory(&self, node: &str) -> PathBuf {
        let below = if node == CLIENT { CLIENT.into() } else { format!("peers/{node}") };
        self.fixture.directory.join(below)
    }

    /// A node; nothing of it runs yet.
    pub fn process(&self, node: &str) -> NodeProcess {
        NodeProcess::new(&self.program, &self.node_directory(node))
    }

    /// Writes a node's configuration, with nobody in its circle yet.
    pub fn configure(&self, node: &str, min_peers: usize) -> Result<(), TestError> {
        fs::create_dir_all(self.node_directory(node))?;
        self.write_unanimity_toml(node)?;
        Ok(fs::write(
            self.node_directory(node).join("peers.toml"),
            format!("min_peers = {min_peers}\n"),
        )?)
    }

    fn write_unanimity_toml(&self, node: &str) -> Result<(), TestError> {
        let circle = &self.fixture.keys;
        let policy = circle.policy();
        // Whom nobody waits for need not look so often over the network.
        let (mirror, poll) = match &self.mirror {
            Some(mirror) if node == CLIENT => (mirror.url().to_string(), "10s"),
            _ => (self.fixture.mirror(node).to_string(), "1s"),
        };
        let keys: Vec<String> =
            policy.publishers().iter().map(|key| format!("    \"{key}\",\n")).collect();
        let text = format!(
            "[product]\nname = \"{}\"\nchannel = \"{}\"\nplatform = \"{}\"\n\n\
             [publisher]\nthreshold = {}\nkeys = [\n{}]\n\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [\"{}\"]\n\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n\n\
             [limits]\nsettle = \"{}s\"\npoll_min = \"{poll}\"\npoll_max = \"{poll}\"\n\
             ask_timeout = \"10s\"\nroll_timeout = \"20s\"\n\n\
             [tor]\nnetwork = \"{}\"\n\n\
             [serve]\nname = \"{node}\"\nroll_min = \"24h\"\nroll_max = \"24h\"\n",
            policy.product,
            policy.channel,
            this_platform(),
            policy.threshold(),
            keys.concat(),
            circle.log.origin,
            circle.log.key,
            mirror,
            SETTLE.as_secs(),
            self.fixture.directory.join("network.toml").display(),
        );
        Ok(fs::write(self.node_directory(node).join("unanimity.toml"), text)?)
    }
}
