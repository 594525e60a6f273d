//! The settings of a client, made from the settings of a node in which enough peers count.

use std::collections::BTreeMap;

use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Name, PeerSet, PublicKeyBytes, Timestamp};

use crate::{
    ConfigError, ConfigErrorKind, ConfigSource, CycleSettings, MirrorUrl, NodeConfig, OnionAddress,
    PeerListError,
};

/// The settings of a client, validated: enough distinct operators count as peers.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The configuration file, with the digest of its text. `None`: the settings come from no file.
    pub source: Option<ConfigSource>,
    /// The settings that do not depend on the peers.
    pub cycle: CycleSettings,
    /// The peers that have to confirm every update.
    pub peers: PeerSet,
    /// The onion address of each peer in `peers`, by the peer's key.
    pub addresses: BTreeMap<PublicKeyBytes, OnionAddress>,
    /// The name and URL of each peer in `peers` that serves artifacts to anyone.
    pub artifacts: Vec<(Name, MirrorUrl)>,
    /// The most bytes of artifacts that this node keeps in order to serve them. `None`: the node
    /// serves no artifacts.
    pub artifact_cache_bytes: Option<u64>,
}

impl NodeConfig {
    /// Makes the settings of a client at `now`. Fails if the peers that count at `now` have fewer
    /// than `min_peers` distinct operators.
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
            artifact_cache_bytes: artifacts.map(|settings| settings.max_bytes),
        })
    }
}
