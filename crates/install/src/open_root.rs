//! The install root that a configuration names.

use std::collections::BTreeSet;

use unanimity_config::NodeConfig;
use unanimity_state::StoreError;
use unanimity_storage::Storage;

use crate::InstallRoot;
use crate::state_dirs::{load_known_releases, readable_state_dirs};

/// The install root, with what the configuration says of a switch.
pub fn root_from_config(config: &NodeConfig) -> InstallRoot {
    InstallRoot::new(&config.cycle.install_root, Storage::default())
        .with_hooks(config.cycle.hooks.clone())
}

/// The install root, where there is no way back to what is known to be taken back.
pub fn root_with_withdrawn(config: &NodeConfig) -> Result<InstallRoot, StoreError> {
    Ok(root_from_config(config).with_withdrawn(known_withdrawals(config)?))
}

/// What is known here to have been taken back.
fn known_withdrawals(config: &NodeConfig) -> Result<BTreeSet<u64>, StoreError> {
    let all = readable_state_dirs(
        &config.cycle.install_root,
        &config.cycle.state,
        config.cycle.spool.as_ref(),
    );
    Ok(load_known_releases(&all, &config.cycle.policy)?.withdrawn())
}
