//! One peer as `peers.toml` has it, and whether it has to confirm.

use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{Hash, Peer, Timestamp};

use crate::{ClientAuthKey, Fingerprint, MirrorUrl, OnionAddress};
/// One peer as `peers.toml` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// Who it is, and what its views are cosigned with.
    pub peer: Peer,
    /// Where it is reached.
    pub address: OnionAddress,
    /// By which it finds our service. Without one it cannot ask us.
    pub client_auth: Option<ClientAuthKey>,
    /// Where it serves artifacts to anyone, if it does: an onion service of its own for that.
    pub artifacts: Option<MirrorUrl>,
    /// Whether it has to confirm.
    pub membership: Membership,
}

/// How far a peer has come in or out of the circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
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
pub(crate) const LEFT_BEFORE_COUNTED: Membership = Membership::Leaving { at: Timestamp(0) };

impl Membership {
    /// Whether the peer has to confirm at `now`.
    pub fn must_confirm(self, now: Timestamp) -> bool {
        match self {
            Membership::Counted => true,
            Membership::Joining { .. } => false,
            Membership::Leaving { at } => now < at,
        }
    }

    /// Whether the peer is as good as not there at `now`.
    pub fn has_left(self, now: Timestamp) -> bool {
        matches!(self, Membership::Leaving { at } if at <= now)
    }
}

impl PeerEntry {
    /// What two people compare by voice; the same as their ticket's. `None` without a discovery
    /// key: a ticket has one.
    pub fn fingerprint(&self, log: LogId) -> Option<Fingerprint> {
        let discovery = self.client_auth.as_ref()?;
        let (key, artifacts) = (&self.peer.key, self.artifacts.as_ref());
        Some(Fingerprint::compute(log, &self.address, key, discovery, artifacts))
    }
}
