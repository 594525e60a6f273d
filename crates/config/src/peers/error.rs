//! Errors of a peer list.

use unanimity_protocol::Name;
use unanimity_protocol::peers::PeerSetError;

/// Why peers make no valid list, or too few of them count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerListError {
    /// The peers have a duplicate name or key, are too many or too few, or `min_peers` is 0.
    #[error(transparent)]
    Peers(#[from] PeerSetError),
    /// Two peers have the same onion service as their address.
    #[error("peers {0} and {1} have the same onion address")]
    SameAddress(Name, Name),
    /// The artifacts are not at an onion service of their own. A peer that serves artifacts at the
    /// address at which it is asked could tell which client wants which artifact.
    #[error(
        "peer {0}: artifacts must be http:// and the address of an onion service that is no peer's address"
    )]
    Artifacts(Name),
    /// Two peers have the same `client_auth` key, so neither could be excluded alone.
    #[error("peers {0} and {1} have the same client_auth key")]
    SameClientAuth(Name, Name),
}
