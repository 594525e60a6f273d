//! The list of peers, as `peers.toml` has it.

use std::collections::BTreeMap;

use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Name, PeerSet, PublicKeyBytes, Timestamp};

use crate::{
    ClientAuthKey, Membership, MirrorHost, MirrorUrl, OnionAddress, PeerEntry, PeerListError,
};
/// All peers that a node was told of, in the file's order: no name, key, address or discovery
/// key twice. Not yet enough of them, perhaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerList {
    min_peers: usize,
    entries: Vec<PeerEntry>,
}

impl PeerList {
    /// Checks what holds for a circle of any size.
    pub fn new(entries: Vec<PeerEntry>, min_peers: usize) -> Result<PeerList, PeerListError> {
        match PeerSet::new(entries.iter().map(|member| member.peer.clone()).collect(), min_peers) {
            // Their number is judged last, and here it may be small.
            Ok(_) | Err(PeerSetError::TooFew { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut services: BTreeMap<[u8; 32], &Name> = BTreeMap::new();
        let mut client_auth_keys: BTreeMap<&ClientAuthKey, &Name> = BTreeMap::new();
        for PeerEntry { peer, artifacts, .. } in &entries {
            let is_separate_onion = |site: &MirrorUrl| match site.host {
                MirrorHost::Onion(key) => {
                    !site.tls && entries.iter().all(|member| member.address.key != key)
                }
                MirrorHost::Named(_) => false,
            };
            if !artifacts.as_ref().is_none_or(is_separate_onion) {
                return Err(PeerListError::Artifacts(peer.name.clone()));
            }
        }
        for PeerEntry { peer, address, client_auth: discovery, .. } in &entries {
            let name = &peer.name;
            // On any of its ports, it is one service.
            if let Some(&other) = services.get(&address.key) {
                return Err(PeerListError::SameAddress(other.clone(), name.clone()));
            }
            services.insert(address.key, name);
            let other = discovery.as_ref().and_then(|key| client_auth_keys.insert(key, name));
            if let Some(other) = other {
                return Err(PeerListError::SameClientAuth(other.clone(), name.clone()));
            }
        }
        Ok(PeerList { min_peers, entries })
    }

    /// The fewest distinct operators that make a set.
    pub fn min_peers(&self) -> usize {
        self.min_peers
    }

    /// Everybody in the file, in its order, those who have left included.
    pub fn entries(&self) -> &[PeerEntry] {
        &self.entries
    }

    /// The member of that name.
    pub fn find(&self, name: &Name) -> Option<&PeerEntry> {
        self.entries.iter().find(|member| member.peer.name == *name)
    }

    /// Who has to confirm at `now`. With fewer than `min_peers` distinct operators among them
    /// there is no such set, however it came to that. At [`Timestamp::MAX`]: who will remain
    /// once everybody who is leaving has left.
    pub fn counted_peers(&self, now: Timestamp) -> Result<PeerSet, PeerSetError> {
        let counted = self.entries.iter().filter(|member| member.membership.must_confirm(now));
        PeerSet::new(counted.map(|member| member.peer.clone()).collect(), self.min_peers)
    }

    /// Where those are reached who have to confirm at `now`.
    pub fn addresses(&self, now: Timestamp) -> BTreeMap<PublicKeyBytes, OnionAddress> {
        let counted = self.entries.iter().filter(|member| member.membership.must_confirm(now));
        counted.map(|member| (member.peer.key.raw(), member.address.clone())).collect()
    }

    /// Where those serve artifacts who have to confirm at `now`.
    pub fn artifact_urls(&self, now: Timestamp) -> Vec<(Name, MirrorUrl)> {
        let counted = self.entries.iter().filter(|member| member.membership.must_confirm(now));
        let site = |member: &PeerEntry| Some((member.peer.name.clone(), member.artifacts.clone()?));
        counted.filter_map(site).collect()
    }

    /// Those who are asked and not counted yet.
    pub fn joining_entries(&self) -> impl Iterator<Item = &PeerEntry> {
        let joining = |standing| matches!(standing, Membership::Joining { .. });
        self.entries.iter().filter(move |member| joining(member.membership))
    }

    /// Those who have left by `now`: [`edit::remove`](crate::edit::drop) may take them out of the file.
    pub fn former_entries(&self, now: Timestamp) -> impl Iterator<Item = &PeerEntry> {
        self.entries.iter().filter(move |member| member.membership.has_left(now))
    }

    /// Who may find our service at `now`, also those who are only joining: two nodes join each
    /// other at the same time.
    pub fn client_auth_keys(&self, now: Timestamp) -> BTreeMap<Name, ClientAuthKey> {
        let present = self.entries.iter().filter(|member| !member.membership.has_left(now));
        let reader =
            |member: &PeerEntry| Some((member.peer.name.clone(), member.client_auth.clone()?));
        present.filter_map(reader).collect()
    }
}
