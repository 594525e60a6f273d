//! The clients that can find an onion service.

use std::collections::BTreeSet;

use unanimity_config::ClientAuthKey;

/// The clients that can find an onion service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizedClients {
    /// Clients that hold the secret half of one of these keys (client authorization). There must be
    /// at least one key.
    Listed(BTreeSet<ClientAuthKey>),
    /// Every client that knows the address.
    Anyone,
}
