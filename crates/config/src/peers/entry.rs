//! One peer as `peers.toml` has it, and whether it has to confirm.

use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{Hash, Peer, Timestamp};

use crate::{DiscoveryKey, Fingerprint, OnionAddress, Site};
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
pub(crate) const LONG_OVER: Standing = Standing::Leaving { at: Timestamp(0) };

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
