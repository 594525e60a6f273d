//! Reads `peers.toml`.

use std::path::Path;

use serde::Deserialize;
use unanimity_protocol::{CosignatureVerifyingKey, Name, Peer, Timestamp};

use crate::operator_file::{Text, in_file};
use crate::peers::entry::LONG_OVER;
use crate::peers::head_claim::Claim;
use crate::{Circle, ConfigError, DiscoveryKey, Member, OnionAddress, Site, Standing, Why};

impl Circle {
    /// Reads a peers file such as `peers.example.toml`.
    pub fn load(path: &Path) -> Result<Circle, ConfigError> {
        in_file(path, Circle::parse)
    }

    /// Reads the text of a peers file.
    pub fn parse(text: &str) -> Result<Circle, Why> {
        let file: PeersFile = toml::from_str(text)?;
        let members = file.peer.into_iter().map(PeerTable::member).collect();
        Ok(Circle::new(members, file.min_peers)?)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeersFile {
    #[serde(default = "default_min_peers")]
    min_peers: usize,
    #[serde(default)]
    peer: Vec<PeerTable>,
}

fn default_min_peers() -> usize {
    3
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PeerTable {
    name: Text<Name>,
    operator: Text<Name>,
    address: Text<OnionAddress>,
    key: Text<CosignatureVerifyingKey>,
    discovery: Option<Text<DiscoveryKey>>,
    artifacts: Option<Text<Site>>,
    joining: Option<Text<Claim>>,
    leaves: Option<Text<Timestamp>>,
}

impl PeerTable {
    fn member(self) -> Member {
        let standing = match (self.joining, self.leaves) {
            (None, None) => Standing::Counted,
            (Some(Text(Claim { size, root })), None) => Standing::Joining { size, root },
            (None, Some(Text(at))) => Standing::Leaving { at },
            (Some(_), Some(_)) => LONG_OVER,
        };
        Member {
            peer: Peer { name: self.name.0, operator: self.operator.0, key: self.key.0 },
            address: self.address.0,
            discovery: self.discovery.map(|key| key.0),
            artifacts: self.artifacts.map(|site| site.0),
            standing,
        }
    }
}
