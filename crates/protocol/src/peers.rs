//! The configured peers.

use std::collections::{BTreeMap, BTreeSet};

use crate::key::CosignatureVerifyingKey;
use crate::name::Name;
use crate::public_key::PublicKeyBytes;

/// The most peers of one circle: each is asked at every cycle, and each view is in every proof.
pub const MAX_PEERS: usize = 128;

/// Somebody whose view of the log we ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What we call them.
    pub name: Name,
    /// Who runs it. Two peers of one operator are one witness.
    pub operator: Name,
    /// What their views are cosigned with.
    pub key: CosignatureVerifyingKey,
}

/// The configured peers: never empty, no key or name twice, enough distinct operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSet(Vec<Peer>);

/// Why peers do not make a set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerSetError {
    /// An empty set agrees with everything.
    #[error(
        "min_peers is 0: an update that nobody has to confirm is not what this program installs"
    )]
    NoMinimum,
    /// More than the bound.
    #[error("{0} peers, and a circle has at most {MAX_PEERS}")]
    TooMany(usize),
    /// Fewer independent witnesses than asked for.
    #[error("{operators} distinct operators among the peers, and min_peers is {min_peers}")]
    TooFew {
        /// How many there are.
        operators: usize,
        /// How many there must be.
        min_peers: usize,
    },
    /// One key under two names would be counted twice.
    #[error("peers {0} and {1} have the same key")]
    SameKey(Name, Name),
    /// Reports would be ambiguous.
    #[error("two peers are named {0}")]
    SameName(Name),
}

impl PeerSet {
    /// Checks the peers and orders them by name.
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
        // One operator, however the name is written.
        let operators = peers.iter().map(|peer| peer.operator.as_str().to_ascii_lowercase());
        let operators = operators.collect::<BTreeSet<_>>().len();
        if operators < min_peers {
            return Err(PeerSetError::TooFew { operators, min_peers });
        }
        Ok(PeerSet(peers))
    }

    /// The peers, ordered by name. At least one.
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
