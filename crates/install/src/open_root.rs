//! The install root that a configuration names.

use std::collections::BTreeSet;

use unanimity_config::Node;
use unanimity_state::StoreError;
use unanimity_storage::Storage;

use crate::Root;
use crate::state_dirs::{known, memories};

/// The install root, with what the configuration says of a switch.
pub fn root_of(told: &Node) -> Root {
    Root::new(&told.cycle.install_root, Storage::default()).with(told.cycle.procedure.clone())
}

/// The install root, where there is no way back to what is known to be taken back.
pub fn root_knowing(told: &Node) -> Result<Root, StoreError> {
    Ok(root_of(told).knowing(withdrawn(told)?))
}

/// What is known here to have been taken back.
fn withdrawn(told: &Node) -> Result<BTreeSet<u64>, StoreError> {
    let all = memories(&told.cycle.install_root, &told.cycle.state, told.cycle.spool.as_ref());
    Ok(known(&all, &told.cycle.policy)?.withdrawn())
}
