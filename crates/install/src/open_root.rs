//! Constructors for the install root that a configuration names.

use std::collections::BTreeSet;

use unanimity_config::NodeConfig;
use unanimity_state::StoreError;
use unanimity_storage::Storage;

use crate::InstallRoot;
use crate::state_dirs::{load_known_releases, readable_state_dirs};

/// The configured install root, with the configured hooks.
pub fn root_from_config(config: &NodeConfig) -> InstallRoot {
    InstallRoot::new(&config.cycle.install_root, Storage::default())
        .with_hooks(config.cycle.hooks.clone())
}

/// The configured install root, with hooks and the known withdrawals. It never goes back to a
/// withdrawn release.
///
/// # Errors
///
/// The state of the client or of the installer cannot be read.
pub fn root_with_withdrawn(config: &NodeConfig) -> Result<InstallRoot, StoreError> {
    Ok(root_from_config(config).with_withdrawn(known_withdrawals(config)?))
}

/// The withdrawn sequences that this node knows of.
fn known_withdrawals(config: &NodeConfig) -> Result<BTreeSet<u64>, StoreError> {
    let state_dirs = readable_state_dirs(
        &config.cycle.install_root,
        &config.cycle.state,
        config.cycle.spool.as_ref(),
    );
    Ok(load_known_releases(&state_dirs, &config.cycle.policy)?.withdrawn())
}
