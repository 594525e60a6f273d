//! The settings of a client: those of a node, with enough peers counted.

use std::collections::BTreeMap;

use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Name, PeerSet, PublicKeyBytes, Timestamp};

use crate::{
    ConfigError, ConfigErrorKind, ConfigSource, CycleSettings, MirrorUrl, NodeConfig, OnionAddress,
    PeerListError,
};
/// Everything a node was told.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where it was read, if it was.
    pub source: Option<ConfigSource>,
    /// The settings that do not depend on the peers.
    pub cycle: CycleSettings,
    /// Who has to confirm.
    pub peers: PeerSet,
    /// Where they are reached, by their key.
    pub addresses: BTreeMap<PublicKeyBytes, OnionAddress>,
    /// Which of them serve artifacts to anyone, and where.
    pub artifacts: Vec<(Name, MirrorUrl)>,
    /// How many bytes of artifacts this node keeps for others. `None`: it serves none.
    pub artifact_cache_bytes: Option<u64>,
}

impl NodeConfig {
    /// What a client goes by, if enough peers count at `now`.
    pub fn client_config(&self, now: Timestamp) -> Result<ClientConfig, ConfigError> {
        let peers = self.peers.counted_peers(now).map_err(|error| {
            let why = match (error, self.peers.joining_entries().count()) {
                (PeerSetError::TooFew { operators, min_peers }, joining @ 1..) => {
                    ConfigErrorKind::Joining { operators, min_peers, joining }
                }
                (error, _) => PeerListError::from(error).into(),
            };
            ConfigError { path: self.peers_path.clone(), why }
        })?;
        let artifacts = self.serve.as_ref().and_then(|serve| serve.artifacts.as_ref());
        Ok(ClientConfig {
            source: Some(self.source.clone()),
            cycle: self.cycle.clone(),
            peers,
            addresses: self.peers.addresses(now),
            artifacts: self.peers.artifact_urls(now),
            artifact_cache_bytes: artifacts.map(|some| some.max_bytes),
        })
    }
}
