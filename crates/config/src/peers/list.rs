//! The list of peers, as `peers.toml` has it.

use std::collections::BTreeMap;

use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{Name, PeerSet, PublicKeyBytes, Timestamp};

use crate::{CircleError, DiscoveryKey, Host, Member, OnionAddress, Site, Standing};
/// All peers that a node was told of, in the file's order: no name, key, address or discovery
/// key twice. Not yet enough of them, perhaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circle {
    min_peers: usize,
    members: Vec<Member>,
}

impl Circle {
    /// Checks what holds for a circle of any size.
    pub fn new(members: Vec<Member>, min_peers: usize) -> Result<Circle, CircleError> {
        match PeerSet::new(members.iter().map(|member| member.peer.clone()).collect(), min_peers) {
            // Their number is judged last, and here it may be small.
            Ok(_) | Err(PeerSetError::TooFew { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let mut services: BTreeMap<[u8; 32], &Name> = BTreeMap::new();
        let mut readers: BTreeMap<&DiscoveryKey, &Name> = BTreeMap::new();
        for Member { peer, artifacts, .. } in &members {
            let apart = |site: &Site| match site.host {
                Host::Onion(key) => {
                    !site.tls && members.iter().all(|member| member.address.key != key)
                }
                Host::Named(_) => false,
            };
            if !artifacts.as_ref().is_none_or(apart) {
                return Err(CircleError::Artifacts(peer.name.clone()));
            }
        }
        for Member { peer, address, discovery, .. } in &members {
            let name = &peer.name;
            // On any of its ports, it is one service.
            if let Some(&other) = services.get(&address.key) {
                return Err(CircleError::SameAddress(other.clone(), name.clone()));
            }
            services.insert(address.key, name);
            let other = discovery.as_ref().and_then(|key| readers.insert(key, name));
            if let Some(other) = other {
                return Err(CircleError::SameDiscovery(other.clone(), name.clone()));
            }
        }
        Ok(Circle { min_peers, members })
    }

    /// The fewest distinct operators that make a set.
    pub fn min_peers(&self) -> usize {
        self.min_peers
    }

    /// Everybody in the file, in its order, those who have left included.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of that name.
    pub fn find(&self, name: &Name) -> Option<&Member> {
        self.members.iter().find(|member| member.peer.name == *name)
    }

    /// Who has to confirm at `now`. With fewer than `min_peers` distinct operators among them
    /// there is no such set, however it came to that. At [`Timestamp::MAX`]: who will remain
    /// once everybody who is leaving has left.
    pub fn counted(&self, now: Timestamp) -> Result<PeerSet, PeerSetError> {
        let counted = self.members.iter().filter(|member| member.standing.counts(now));
        PeerSet::new(counted.map(|member| member.peer.clone()).collect(), self.min_peers)
    }

    /// Where those are reached who have to confirm at `now`.
    pub fn addresses(&self, now: Timestamp) -> BTreeMap<PublicKeyBytes, OnionAddress> {
        let counted = self.members.iter().filter(|member| member.standing.counts(now));
        counted.map(|member| (member.peer.key.raw(), member.address.clone())).collect()
    }

    /// Where those serve artifacts who have to confirm at `now`.
    pub fn artifacts(&self, now: Timestamp) -> Vec<(Name, Site)> {
        let counted = self.members.iter().filter(|member| member.standing.counts(now));
        let site = |member: &Member| Some((member.peer.name.clone(), member.artifacts.clone()?));
        counted.filter_map(site).collect()
    }

    /// Those who are asked and not counted yet.
    pub fn joining(&self) -> impl Iterator<Item = &Member> {
        let joining = |standing| matches!(standing, Standing::Joining { .. });
        self.members.iter().filter(move |member| joining(member.standing))
    }

    /// Those who have left by `now`: [`edit::drop`](crate::edit::drop) may take them out of the file.
    pub fn left(&self, now: Timestamp) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(move |member| member.standing.has_left(now))
    }

    /// Who may find our service at `now`, also those who are only joining: two nodes join each
    /// other at the same time.
    pub fn readers(&self, now: Timestamp) -> BTreeMap<Name, DiscoveryKey> {
        let present = self.members.iter().filter(|member| !member.standing.has_left(now));
        let reader = |member: &Member| Some((member.peer.name.clone(), member.discovery.clone()?));
        present.filter_map(reader).collect()
    }
}
