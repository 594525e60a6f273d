//! Who a node's peers are: `peers.toml`, and the tickets by which two people become each
//! other's peers.
//!
//! A [`Circle`] is what the file says. It may be too small to confirm anything, so that a node
//! can start before its circle is complete; only [`Circle::counted`] makes the [`PeerSet`]
//! without which nothing installs.
//!
//! | in the file | [`Standing`] | has to confirm | may find our service |
//! |---|---|---|---|
//! | neither of the two lines below | `Counted` | yes | yes |
//! | `joining = "SIZE ROOT"` | `Joining` | no: asked, and not counted | yes |
//! | `leaves = "TIME"` | `Leaving` | until that time | until that time |
//! | both | `Leaving`, already over | no: it never counted, so nothing waits for it | no |
//!
//! A peer that is added by hand counts at once: the operator said so.

pub mod edit;
pub mod fingerprint;
mod layout;
pub mod ticket;

pub use edit::EditError;
pub use fingerprint::Fingerprint;
pub use ticket::{Ticket, TicketError};

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use crate::config::{self, ConfigError, Text, Why};
use crate::net::mirror::{Host, Site};
use crate::net::{DiscoveryKey, OnionAddress};
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{CosignerKey, Hash, Name, Peer, PeerSet, RawKey, Timestamp};

/// One peer as `peers.toml` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who it is, and what its views are cosigned with.
    pub peer: Peer,
    /// Where it is reached.
    pub address: OnionAddress,
    /// By which it finds our service. Without one it cannot ask us.
    pub discovery: Option<DiscoveryKey>,
    /// Where it serves artifacts to anyone, if it does: an onion service of its own for that.
    pub artifacts: Option<Site>,
    /// Whether it has to confirm.
    pub standing: Standing,
}

/// How far a peer has come in or out of the circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has to confirm every update.
    Counted,
    /// It is asked and not counted, until its log and ours have been found to be one.
    Joining {
        /// How many leaves its ticket claims, below 2^63.
        size: u64,
        /// The root that goes with them.
        root: Hash,
    },
    /// It has to confirm every update until then, and is as good as not there afterwards.
    Leaving {
        /// The first moment at which it no longer counts.
        at: Timestamp,
    },
}

/// What is written for a peer that was still joining when it was told to leave: long over.
const LONG_OVER: Standing = Standing::Leaving { at: Timestamp(0) };

impl Standing {
    /// Whether the peer has to confirm at `now`.
    pub fn counts(self, now: Timestamp) -> bool {
        match self {
            Standing::Counted => true,
            Standing::Joining { .. } => false,
            Standing::Leaving { at } => now < at,
        }
    }

    /// Whether the peer is as good as not there at `now`.
    pub fn has_left(self, now: Timestamp) -> bool {
        matches!(self, Standing::Leaving { at } if at <= now)
    }
}

impl Member {
    /// What two people compare by voice; the same as their ticket's. `None` without a discovery
    /// key: a ticket has one.
    pub fn fingerprint(&self, log: LogId) -> Option<Fingerprint> {
        let discovery = self.discovery.as_ref()?;
        let (key, artifacts) = (&self.peer.key, self.artifacts.as_ref());
        Some(Fingerprint::of(log, &self.address, key, discovery, artifacts))
    }
}

/// Why peers do not make a circle, whatever their number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CircleError {
    /// A name or a key twice, too many of them, or a circle that asks for nobody.
    #[error(transparent)]
    Peers(#[from] PeerSetError),
    /// Two peers are one service.
    #[error("peers {0} and {1} have the same onion address")]
    SameAddress(Name, Name),
    /// Whoever serves artifacts under the address at which it is asked could tell who wants which.
    #[error("peer {0}: artifacts has to be http:// and an onion service that is no peer's address")]
    Artifacts(Name),
    /// Taking the right to find us from one would take it from the other.
    #[error("peers {0} and {1} have the same discovery key")]
    SameDiscovery(Name, Name),
}

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

    /// Reads a peers file such as `peers.example.toml`.
    pub fn load(path: &Path) -> Result<Circle, ConfigError> {
        config::in_file(path, Circle::parse)
    }

    /// Reads the text of a peers file.
    pub fn parse(text: &str) -> Result<Circle, Why> {
        let file: PeersFile = toml::from_str(text)?;
        let members = file.peer.into_iter().map(PeerTable::member).collect();
        Ok(Circle::new(members, file.min_peers)?)
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
    pub fn addresses(&self, now: Timestamp) -> BTreeMap<RawKey, OnionAddress> {
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

    /// Those who have left by `now`: [`edit::drop`] may take them out of the file.
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
    key: Text<CosignerKey>,
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

/// What somebody says of the log, and nobody has checked: `SIZE ROOT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    size: u64,
    root: Hash,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "expected \"SIZE ROOT\" as `peers add` writes it: a size below 2^63 and the base64 of its root, with one space between"
)]
struct ClaimError;

impl Claim {
    /// As a checkpoint says it: one spelling, and an empty tree has one root.
    fn read(size: &str, root: &str) -> Option<Claim> {
        let number = size.parse().ok().filter(|n: &u64| *n < 1 << 63 && n.to_string() == size);
        let claim = Claim { size: number?, root: Hash::from_base64(root)? };
        (claim.size > 0 || claim.root == Hash::empty_root()).then_some(claim)
    }
}

impl FromStr for Claim {
    type Err = ClaimError;

    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let (size, root) = text.split_once(' ').ok_or(ClaimError)?;
        Claim::read(size, root).ok_or(ClaimError)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.size, self.root.base64())
    }
}
