//! The settings of a client: those of a node, with enough peers counted.

use std::collections::BTreeMap;

use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Name, PeerSet, PublicKeyBytes, Timestamp};

use crate::{CircleError, ConfigError, CycleSettings, Node, OnionAddress, Site, Source, Why};
/// Everything a node was told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it was read, if it was.
    pub source: Option<Source>,
    /// The settings that do not depend on the peers.
    pub cycle: CycleSettings,
    /// Who has to confirm.
    pub peers: PeerSet,
    /// Where they are reached, by their key.
    pub addresses: BTreeMap<PublicKeyBytes, OnionAddress>,
    /// Which of them serve artifacts to anyone, and where.
    pub artifacts: Vec<(Name, Site)>,
    /// How many bytes of artifacts this node keeps for others. `None`: it serves none.
    pub keeps: Option<u64>,
}

impl Node {
    /// What a client goes by, if enough peers count at `now`.
    pub fn client(&self, now: Timestamp) -> Result<Config, ConfigError> {
        let peers = self.circle.counted(now).map_err(|error| {
            let why = match (error, self.circle.joining().count()) {
                (PeerSetError::TooFew { operators, min_peers }, joining @ 1..) => {
                    Why::Joining { operators, min_peers, joining }
                }
                (error, _) => CircleError::from(error).into(),
            };
            ConfigError { path: self.peers_path.clone(), why }
        })?;
        let artifacts = self.serve.as_ref().and_then(|serve| serve.artifacts.as_ref());
        Ok(Config {
            source: Some(self.source.clone()),
            cycle: self.cycle.clone(),
            peers,
            addresses: self.circle.addresses(now),
            artifacts: self.circle.artifacts(now),
            keeps: artifacts.map(|some| some.keep),
        })
    }
}
