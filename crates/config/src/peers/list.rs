//! The list of peers in `peers.toml`, and which of them count, join or have left at a given time.

use std::collections::BTreeMap;

use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Name, PeerSet, PublicKeyBytes, Timestamp};

use crate::{
    ClientAuthKey, Membership, MirrorHost, MirrorUrl, OnionAddress, PeerEntry, PeerListError,
};

/// All peers in `peers.toml`, in the order of the file. The peers may be too few for a client.
///
/// No two peers have the same name, key, onion service or `client_auth` key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerList {
    min_peers: usize,
    entries: Vec<PeerEntry>,
}

impl PeerList {
    /// Makes a list of up to [`MAX_PEERS`](unanimity_protocol::peers::MAX_PEERS) peers. The peers
    /// may be fewer than `min_peers`. Refuses a duplicate name, key, onion service or `client_auth`
    /// key, a `min_peers` of 0, and artifacts at another host than an onion service of their own.
    pub fn new(entries: Vec<PeerEntry>, min_peers: usize) -> Result<PeerList, PeerListError> {
        match PeerSet::new(entries.iter().map(|entry| entry.peer.clone()).collect(), min_peers) {
            // A list may have too few peers. `PeerSet::new` checks their number last, so this error
            // means that all other checks have passed.
            Ok(_) | Err(PeerSetError::TooFew { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut services: BTreeMap<[u8; 32], &Name> = BTreeMap::new();
        let mut client_auth_keys: BTreeMap<&ClientAuthKey, &Name> = BTreeMap::new();
        for PeerEntry { peer, artifacts, .. } in &entries {
            let is_separate_onion = |url: &MirrorUrl| match url.host {
                MirrorHost::Onion(key) => {
                    !url.tls && entries.iter().all(|entry| entry.address.key != key)
                }
                MirrorHost::Named(_) => false,
            };
            if !artifacts.as_ref().is_none_or(is_separate_onion) {
                return Err(PeerListError::Artifacts(peer.name.clone()));
            }
        }
        for PeerEntry { peer, address, client_auth, .. } in &entries {
            let name = &peer.name;
            // Two ports of one onion address are one service.
            if let Some(&other) = services.get(&address.key) {
                return Err(PeerListError::SameAddress(other.clone(), name.clone()));
            }
            services.insert(address.key, name);
            let other = client_auth.as_ref().and_then(|key| client_auth_keys.insert(key, name));
            if let Some(other) = other {
                return Err(PeerListError::SameClientAuth(other.clone(), name.clone()));
            }
        }
        Ok(PeerList { min_peers, entries })
    }

    /// How many distinct operators have to count, at least 1.
    pub fn min_peers(&self) -> usize {
        self.min_peers
    }

    /// All peers in the order of the file, including peers that have left.
    pub fn entries(&self) -> &[PeerEntry] {
        &self.entries
    }

    /// The peer with this name.
    pub fn find(&self, name: &Name) -> Option<&PeerEntry> {
        self.entries.iter().find(|entry| entry.peer.name == *name)
    }

    /// The peers that have to confirm every update at `now`. Fails if these peers have fewer than
    /// `min_peers` distinct operators. [`Timestamp::MAX`] selects the peers that are neither
    /// joining nor leaving.
    pub fn counted_peers(&self, now: Timestamp) -> Result<PeerSet, PeerSetError> {
        let counted = self.entries.iter().filter(|entry| entry.membership.must_confirm(now));
        PeerSet::new(counted.map(|entry| entry.peer.clone()).collect(), self.min_peers)
    }

    /// The onion addresses of the peers that have to confirm at `now`, by the peer's key.
    pub fn addresses(&self, now: Timestamp) -> BTreeMap<PublicKeyBytes, OnionAddress> {
        let counted = self.entries.iter().filter(|entry| entry.membership.must_confirm(now));
        counted.map(|entry| (entry.peer.key.raw(), entry.address.clone())).collect()
    }

    /// The name and artifact URL of each peer that serves artifacts and has to confirm at `now`.
    pub fn artifact_urls(&self, now: Timestamp) -> Vec<(Name, MirrorUrl)> {
        let counted = self.entries.iter().filter(|entry| entry.membership.must_confirm(now));
        let url = |entry: &PeerEntry| Some((entry.peer.name.clone(), entry.artifacts.clone()?));
        counted.filter_map(url).collect()
    }

    /// The peers that are asked and do not count yet.
    pub fn joining_entries(&self) -> impl Iterator<Item = &PeerEntry> {
        let is_joining = |membership| matches!(membership, Membership::Joining { .. });
        self.entries.iter().filter(move |entry| is_joining(entry.membership))
    }

    /// The peers that have left by `now`. [`edit::remove`](crate::edit::remove) accepts them.
    pub fn former_entries(&self, now: Timestamp) -> impl Iterator<Item = &PeerEntry> {
        self.entries.iter().filter(move |entry| entry.membership.has_left(now))
    }

    /// The keys of the peers that may find this node's onion service at `now`. Joining peers are
    /// included, because two nodes join each other at the same time.
    pub fn client_auth_keys(&self, now: Timestamp) -> BTreeMap<Name, ClientAuthKey> {
        let present = self.entries.iter().filter(|entry| !entry.membership.has_left(now));
        let key = |entry: &PeerEntry| Some((entry.peer.name.clone(), entry.client_auth.clone()?));
        present.filter_map(key).collect()
    }
}
