//! Where a node remembers what it has seen of a log: as a client, and as one that installs without a
//! network.

use std::path::{Path, PathBuf};

use super::ours::is_ours;
use crate::config::Spool;
use crate::durable::Disk;
use crate::installer::installer_state;
use crate::store::{ClientStore, StoreError};
use crate::verify::{Catalog, Policy};

/// One of the two.
pub(super) struct Memory {
    /// Below what evidence is kept.
    pub(super) state: PathBuf,
    /// Where the rest is.
    pub(super) client: PathBuf,
    /// How `evidence` is told of it.
    pub(super) option: &'static str,
}

/// Those that this user can see and may believe. Where one user fetches and another installs, nobody
/// reads what is the other's.
pub(super) fn memories(root: &Path, state: &Path, spool: Option<&Spool>) -> Vec<Memory> {
    let mut all = Vec::new();
    if spool.is_none() || is_ours(state).is_ok() {
        let client = state.join("client");
        all.push(Memory { state: state.to_owned(), client, option: "" });
    }
    let installer = installer_state(root);
    if installer.read_dir().is_ok() {
        let client = installer.clone();
        all.push(Memory { state: installer, client, option: " --installer" });
    }
    all
}

/// What of our product's releases is remembered in any of them: of withdrawals, all.
pub(super) fn known(memories: &[Memory], policy: &Policy) -> Result<Catalog, StoreError> {
    let mut known = Catalog::default();
    for memory in memories {
        let catalog = ClientStore::catalog(&memory.client, policy, &Disk::default())?;
        known.learn_withdrawals(&catalog);
    }
    Ok(known)
}
