//! A circle over a private Tor network, every node a process of its own.

pub mod process;

pub use process::{Ended, Process};

use std::fs;
use std::path::{Path, PathBuf};

use super::{Broken, PEER_NAMES, Stage};
use crate::circle::{Standing, Ticket, edit};
use crate::config::this_platform;
use crate::demo::tornet::TorNetwork;
use crate::durable::Disk;

/// How long every peer has to have seen a release here: real time passes.
pub const SETTLE_SECONDS: u64 = 2;

/// Everybody's files, on a private network; whoever runs is a [`Process`].
#[derive(Clone)]
pub struct Nodes {
    /// The keys and files.
    pub stage: Stage,
    program: PathBuf,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nodes(..)")
    }
}

impl Nodes {
    /// Writes everybody's configuration: `peers` of the circle and the client, who all know each
    /// other. `program` is this program.
    pub fn create(
        stage: Stage,
        network: &TorNetwork,
        program: &Path,
        peers: usize,
    ) -> Result<Nodes, Broken> {
        fs::write(stage.directory.join("network.toml"), network.arti())?;
        let nodes = Nodes { stage, program: program.to_owned() };
        let everybody: Vec<&str> = PEER_NAMES[..peers].iter().copied().chain(["client"]).collect();
        for who in &everybody {
            nodes.configure(who, peers.min(3))?;
        }
        let mut tickets = Vec::new();
        for who in &everybody {
            let said = nodes.process(who).done(&["peers", "invite"])?;
            tickets.push(said["ticket"].as_str().unwrap_or_default().parse::<Ticket>()?);
        }
        for who in &everybody {
            for ticket in tickets.iter().filter(|ticket| ticket.name.as_str() != *who) {
                // As an operator writes it who needs no proof that they follow one log.
                let mut member = ticket.member(&nodes.stage.circle.log)?;
                member.standing = Standing::Counted;
                edit::add(&nodes.place(who).join("peers.toml"), &member, &Disk::default())?;
            }
        }
        Ok(nodes)
    }

    /// The same in a copy of the stage. Nobody may be running.
    pub fn copy_to(&self, directory: &Path) -> Result<Nodes, Broken> {
        let nodes = Nodes { stage: self.stage.copy_to(directory)?, program: self.program.clone() };
        for who in PEER_NAMES.iter().chain(&["client"]) {
            if nodes.place(who).exists() {
                nodes.write_unanimity_toml(who)?;
            }
        }
        Ok(nodes)
    }

    /// A node's directory.
    pub fn place(&self, who: &str) -> PathBuf {
        let below = if who == "client" { "client".into() } else { format!("peers/{who}") };
        self.stage.directory.join(below)
    }

    /// A node; nothing of it runs yet.
    pub fn process(&self, who: &str) -> Process {
        Process::new(&self.program, &self.place(who))
    }

    /// Writes a node's configuration, with nobody in its circle yet.
    pub fn configure(&self, who: &str, min_peers: usize) -> Result<(), Broken> {
        fs::create_dir_all(self.place(who))?;
        self.write_unanimity_toml(who)?;
        Ok(fs::write(self.place(who).join("peers.toml"), format!("min_peers = {min_peers}\n"))?)
    }

    fn write_unanimity_toml(&self, who: &str) -> Result<(), Broken> {
        let circle = &self.stage.circle;
        let policy = circle.policy();
        let keys: Vec<String> =
            policy.publishers().iter().map(|key| format!("    \"{key}\",\n")).collect();
        let text = format!(
            "[product]\nname = \"{}\"\nchannel = \"{}\"\nplatform = \"{}\"\n\n\
             [publisher]\nthreshold = {}\nkeys = [\n{}]\n\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [\"{}\"]\n\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n\n\
             [limits]\nsettle = \"{SETTLE_SECONDS}s\"\npoll_min = \"1s\"\npoll_max = \"1s\"\n\
             ask_timeout = \"8s\"\nroll_timeout = \"12s\"\n\n\
             [tor]\nnetwork = \"{}\"\n\n\
             [serve]\nname = \"{who}\"\nroll_min = \"6h\"\nroll_max = \"12h\"\n",
            policy.product,
            policy.channel,
            this_platform(),
            policy.threshold(),
            keys.concat(),
            circle.log.origin,
            circle.log.key,
            self.stage.mirror(who),
            self.stage.directory.join("network.toml").display(),
        );
        Ok(fs::write(self.place(who).join("unanimity.toml"), text)?)
    }
}
