//! An entry of `peers.toml`, and whether its peer has to confirm.

use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::{Hash, Peer, Timestamp};

use crate::{ClientAuthKey, Fingerprint, MirrorUrl, OnionAddress};

/// An entry of `peers.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// The peer's name, its operator, and the key that verifies its cosigned heads.
    pub peer: Peer,
    /// The onion service at which this node asks the peer.
    pub address: OnionAddress,
    /// The key by which the peer finds this node's onion service. A peer without a key cannot ask
    /// this node, unless `[serve] client_auth` is false.
    pub client_auth: Option<ClientAuthKey>,
    /// The URL at which the peer serves artifacts to anyone: an onion service for artifacts alone.
    pub artifacts: Option<MirrorUrl>,
    /// Whether the peer has to confirm every update.
    pub membership: Membership,
}

/// Whether a peer counts. An invited peer joins first, then counts, and counts until it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The peer has to confirm every update.
    Counted,
    /// The peer is asked and does not count, until a proof shows that the peer and this node follow
    /// one log.
    Joining {
        /// The number of log entries that the peer's invite claims, below 2^63.
        size: u64,
        /// The root that the invite claims for the log at that size.
        root: Hash,
    },
    /// The peer has to confirm every update until a time. After that time it has left.
    Leaving {
        /// The first second at which the peer no longer counts.
        at: Timestamp,
    },
}

/// The membership of an entry with both `joining` and `leaves_at`: the peer left before it counted.
pub(crate) const LEFT_BEFORE_COUNTED: Membership = Membership::Leaving { at: Timestamp(0) };

impl Membership {
    /// Whether the peer has to confirm every update at `now`.
    pub fn must_confirm(self, now: Timestamp) -> bool {
        match self {
            Membership::Counted => true,
            Membership::Joining { .. } => false,
            Membership::Leaving { at } => now < at,
        }
    }

    /// Whether the peer has left by `now`. A peer that has left is neither asked nor allowed to ask
    /// this node.
    pub fn has_left(self, now: Timestamp) -> bool {
        matches!(self, Membership::Leaving { at } if at <= now)
    }
}

impl PeerEntry {
    /// The fingerprint that two operators compare by voice, equal to the fingerprint of the peer's
    /// invite. `None` if the entry has no `client_auth` key. Every invite has such a key.
    pub fn fingerprint(&self, log: LogId) -> Option<Fingerprint> {
        let client_auth = self.client_auth.as_ref()?;
        let (key, artifacts) = (&self.peer.key, self.artifacts.as_ref());
        Some(Fingerprint::compute(log, &self.address, key, client_auth, artifacts))
    }
}
