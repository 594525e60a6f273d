//! The settings of a node, and the checks that involve several sections.

use std::path::PathBuf;
use std::time::Duration;

use unanimity_protocol::NoteVerifyingKey;

use crate::sections::install::are_disjoint;
use crate::{
    AlertSettings, ConfigError, ConfigErrorKind, ConfigSource, CycleSettings, MirrorSpec,
    PeerEntry, PeerList, ServeSettings, TorSettings,
};

/// The settings of a node, validated. The peers may be too few for a client.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The configuration file, with the digest of its text.
    pub source: ConfigSource,
    /// The settings that do not depend on the peers.
    pub cycle: CycleSettings,
    /// The peers in `peers.toml`, including joining and leaving peers.
    pub peers: PeerList,
    /// The path of `peers.toml`. The file may have changed since it was read.
    pub peers_path: PathBuf,
    /// Every file that the installer relies on: the configuration, `peers.toml` and the pinned
    /// checkpoint.
    pub config_files: Vec<PathBuf>,
    /// The mirrors of the log and of the artifacts, at least one.
    pub mirrors: Vec<MirrorSpec>,
    /// How long a peer still has to confirm every update after its removal was scheduled.
    pub removal_delay: Duration,
    /// Which Tor network the node uses, and the directories that Tor uses.
    pub tor: TorSettings,
    /// How long a command or a cycle waits until Tor is connected.
    pub bootstrap_timeout: Duration,
    /// The settings of `[serve]`. `None`: the node only asks its peers.
    pub serve: Option<ServeSettings>,
    /// The command for alerts, and how long a node may be incomplete before an alert.
    pub alert: AlertSettings,
}

impl NodeConfig {
    /// Whether this node and `other` use separate directories. The install root, state directory
    /// and spool of one must not be equal to, above or inside any of the three of the other.
    pub fn has_disjoint_paths(&self, other: &NodeConfig) -> bool {
        let directories = |node: &NodeConfig| {
            let spool = node.cycle.spool.as_ref().map(|spool| spool.directory.clone());
            [Some(node.cycle.install_root.clone()), Some(node.cycle.state.clone()), spool]
        };
        let (ours, theirs) = (directories(self), directories(other));
        ours.iter().flatten().all(|a| theirs.iter().flatten().all(|b| are_disjoint(a, b)))
    }

    /// Refuses an alert command whose program this user cannot execute.
    pub fn check_alert_program(&self) -> Result<(), ConfigError> {
        let checked = self.alert.check_program();
        checked.map_err(|error| ConfigError { path: self.source.path.clone(), why: error.into() })
    }

    /// Refuses the setting `proof_of_work` if this program was built without the feature `pow`
    /// (`is_built` is false).
    pub fn check_proof_of_work(&self, is_built: bool) -> Result<(), ConfigError> {
        match &self.serve {
            Some(serve) if serve.proof_of_work && !is_built => {
                let why = "proof_of_work: this program was built without the feature `pow`. Set proof_of_work to false, or use a program with that feature";
                Err(ConfigError {
                    path: self.source.path.clone(),
                    why: ConfigErrorKind::Serve(why),
                })
            }
            _ => Ok(()),
        }
    }

    /// Refuses a peer with the key of a publisher or of the log, and a peer that is also a mirror.
    /// This node cosigns the heads that its mirrors serve, so a peer that is a mirror could make
    /// this node cosign a fork.
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
