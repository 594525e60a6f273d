//! Why peers do not make a list.

use unanimity_protocol::Name;
use unanimity_protocol::peers::PeerSetError;

/// Why peers do not make a circle, whatever their number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerListError {
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
    SameClientAuth(Name, Name),
}
