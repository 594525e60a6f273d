//! The configured peers, as the set that must confirm every update.

use std::collections::{BTreeMap, BTreeSet};

use crate::key::CosignatureVerifyingKey;
use crate::name::Name;
use crate::public_key::PublicKeyBytes;

/// The most peers in a set. The number is limited because every cycle asks each peer, and every
/// proof bundle has two cosigned heads of each peer.
pub const MAX_PEERS: usize = 128;

/// A peer that the client asks for its cosigned head of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The peer's name in reports.
    pub name: Name,
    /// The peer's operator. `min_peers` counts the peers of one operator once.
    pub operator: Name,
    /// The key that verifies the peer's cosignatures.
    pub key: CosignatureVerifyingKey,
}

/// The configured peers: at least one, with distinct keys and names, and enough operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSet(Vec<Peer>);

/// The reason why a list of peers is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerSetError {
    /// `min_peers` is 0, so an empty set would confirm every release.
    #[error("min_peers must be at least 1")]
    NoMinimum,
    /// There are more than [`MAX_PEERS`] peers.
    #[error("{0} peers, and a peer list has at most {MAX_PEERS}")]
    TooMany(usize),
    /// The peers have fewer distinct operators than `min_peers`.
    #[error("distinct operators among the peers: {operators}, and min_peers is {min_peers}")]
    TooFew {
        /// The number of distinct operators.
        operators: usize,
        /// The required number of distinct operators.
        min_peers: usize,
    },
    /// Two peers have one key, so one witness would count twice.
    #[error("peers {0} and {1} have the same key")]
    SameKey(Name, Name),
    /// Two peers have one name, so reports would be ambiguous.
    #[error("two peers are named {0}")]
    SameName(Name),
}

impl PeerSet {
    /// Checks the rules of a peer set, and orders the peers by name.
    pub fn new(mut peers: Vec<Peer>, min_peers: usize) -> Result<PeerSet, PeerSetError> {
        if min_peers == 0 {
            return Err(PeerSetError::NoMinimum);
        }
        if peers.len() > MAX_PEERS {
            return Err(PeerSetError::TooMany(peers.len()));
        }
        peers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut keys: BTreeMap<PublicKeyBytes, &Name> = BTreeMap::new();
        for (i, peer) in peers.iter().enumerate() {
            if i > 0 && peers[i - 1].name == peer.name {
                return Err(PeerSetError::SameName(peer.name.clone()));
            }
            if let Some(other) = keys.insert(peer.key.raw(), &peer.name) {
                return Err(PeerSetError::SameKey(other.clone(), peer.name.clone()));
            }
        }
        // Upper and lower case do not make two operators.
        let operators = peers.iter().map(|peer| peer.operator.as_str().to_ascii_lowercase());
        let operators = operators.collect::<BTreeSet<_>>().len();
        if operators < min_peers {
            return Err(PeerSetError::TooFew { operators, min_peers });
        }
        Ok(PeerSet(peers))
    }

    /// Iterates over the peers, ordered by name. There is at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, Peer> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a PeerSet {
    type Item = &'a Peer;
    type IntoIter = std::slice::Iter<'a, Peer>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
