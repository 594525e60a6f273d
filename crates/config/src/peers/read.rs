//! The reader of `peers.toml`.

use std::path::Path;

use serde::Deserialize;
use unanimity_protocol::{CosignatureVerifyingKey, Name, Peer, Timestamp};

use crate::operator_file::{Parsed, parse_file};
use crate::peers::entry::LEFT_BEFORE_COUNTED;
use crate::peers::head_claim::HeadClaim;
use crate::{
    ClientAuthKey, ConfigError, ConfigErrorKind, Membership, MirrorUrl, OnionAddress, PeerEntry,
    PeerList,
};

impl PeerList {
    /// Reads a peers file such as `peers.example.toml`, of at most 1 MiB.
    pub fn load(path: &Path) -> Result<PeerList, ConfigError> {
        parse_file(path, PeerList::parse)
    }

    /// Parses the text of a peers file.
    pub fn parse(text: &str) -> Result<PeerList, ConfigErrorKind> {
        let file: PeersFile = toml::from_str(text)?;
        let entries = file.peer.into_iter().map(PeerTable::into_entry).collect();
        Ok(PeerList::new(entries, file.min_peers)?)
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
    name: Parsed<Name>,
    operator: Parsed<Name>,
    address: Parsed<OnionAddress>,
    key: Parsed<CosignatureVerifyingKey>,
    client_auth: Option<Parsed<ClientAuthKey>>,
    artifacts: Option<Parsed<MirrorUrl>>,
    joining: Option<Parsed<HeadClaim>>,
    leaves_at: Option<Parsed<Timestamp>>,
}

impl PeerTable {
    fn into_entry(self) -> PeerEntry {
        let membership = match (self.joining, self.leaves_at) {
            (None, None) => Membership::Counted,
            (Some(Parsed(HeadClaim { size, root })), None) => Membership::Joining { size, root },
            (None, Some(Parsed(at))) => Membership::Leaving { at },
            (Some(_), Some(_)) => LEFT_BEFORE_COUNTED,
        };
        PeerEntry {
            peer: Peer { name: self.name.0, operator: self.operator.0, key: self.key.0 },
            address: self.address.0,
            client_auth: self.client_auth.map(|key| key.0),
            artifacts: self.artifacts.map(|url| url.0),
            membership,
        }
    }
}
