//! The clients that can find an onion service.

use std::collections::BTreeSet;

use unanimity_config::ClientAuthKey;

/// The clients that can find an onion service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizedClients {
    /// Clients that hold one of these keys (client authorization). At least one key.
    Listed(BTreeSet<ClientAuthKey>),
    /// Every client that knows the address.
    Anyone,
}
