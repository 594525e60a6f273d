//! The settings of a node, and what they must not contradict.

use std::path::PathBuf;
use std::time::Duration;

use unanimity_protocol::NoteVerifyingKey;

use crate::sections::install::are_disjoint;
use crate::{
    AlertSettings, ConfigError, ConfigErrorKind, ConfigSource, CycleSettings, MirrorSpec,
    PeerEntry, PeerList, ServeSettings, TorSettings,
};

/// Everything a node was told, its circle as it stands: perhaps still too small for a client.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The file that told it.
    pub source: ConfigSource,
    /// The settings that do not depend on the peers.
    pub cycle: CycleSettings,
    /// Who the peers are, also those who do not count yet.
    pub peers: PeerList,
    /// Where that is written; read it again, and it may say something else.
    pub peers_path: PathBuf,
    /// Every file that says what whoever installs goes by.
    pub config_files: Vec<PathBuf>,
    /// Where the log and the artifacts are read, at least one.
    pub mirrors: Vec<MirrorSpec>,
    /// How long a peer that was told to leave still has to confirm.
    pub removal_delay: Duration,
    /// How it takes part in Tor.
    pub tor: TorSettings,
    /// How long whoever wants something of Tor waits for it to be connected.
    pub bootstrap_timeout: Duration,
    /// If it is a peer to others.
    pub serve: Option<ServeSettings>,
    /// How its operator wants to hear of what is wrong.
    pub alert: AlertSettings,
}

impl NodeConfig {
    /// Whether what two products keep is in places of its own.
    pub fn has_disjoint_paths(&self, other: &NodeConfig) -> bool {
        let places = |node: &NodeConfig| {
            let spool = node.cycle.spool.as_ref().map(|spool| spool.directory.clone());
            [Some(node.cycle.install_root.clone()), Some(node.cycle.state.clone()), spool]
        };
        let theirs = places(other);
        places(self).iter().flatten().all(|a| theirs.iter().flatten().all(|b| are_disjoint(a, b)))
    }

    /// Refuses an alarm command that cannot be run.
    pub fn check_alert_program(&self) -> Result<(), ConfigError> {
        let checked = self.alert.check_program();
        checked.map_err(|error| ConfigError { path: self.source.path.clone(), why: error.into() })
    }

    /// Refuses proof-of-work in a program that was built without it.
    pub fn check_proof_of_work(&self, is_built: bool) -> Result<(), ConfigError> {
        match &self.serve {
            Some(serve) if serve.proof_of_work && !is_built => {
                let why = "proof_of_work: this program was built without the feature `pow`";
                Err(ConfigError {
                    path: self.source.path.clone(),
                    why: ConfigErrorKind::Serve(why),
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a peer whose key is also a publisher's or the log's, or who is also a mirror of ours:
    /// we cosign what mirrors serve, and nobody is to be able to have their own fork cosigned.
    pub fn check_peer_role(&self, entry: &PeerEntry) -> Result<(), ConfigError> {
        let name = entry.peer.name.clone();
        let wrong = |why| Err(ConfigError { path: self.peers_path.clone(), why });
        let key = entry.peer.key.raw();
        let publishers = self.cycle.policy.publishers().iter().map(NoteVerifyingKey::raw);
        if publishers.chain([self.cycle.policy.log.key.raw()]).any(|other| other == key) {
            return wrong(ConfigErrorKind::TwoRoles(name));
        }
        match self.mirrors.iter().find(|mirror| mirror.onion_key() == Some(entry.address.key)) {
            Some(_) => wrong(ConfigErrorKind::PeerIsMirror(name)),
            None => Ok(()),
        }
    }
}
