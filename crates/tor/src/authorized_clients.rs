//! The clients that can find a service.

use std::collections::BTreeSet;

use unanimity_config::ClientAuthKey;

/// Who can find a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorizedClients {
    /// Who holds one of these keys: restricted discovery. At least one.
    Listed(BTreeSet<ClientAuthKey>),
    /// Whoever knows the address.
    Anyone,
}
