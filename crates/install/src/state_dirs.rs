//! Where a node remembers what it has seen of a log: as a client, and as one that installs without a
//! network.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use unanimity_config::Spool;
use unanimity_protocol::{Catalog, Policy};
use unanimity_state::{ClientStore, StoreError};
use unanimity_storage::Storage;

use crate::permissions::is_ours;

/// The installer's own directory, below the install root.
const STATE: &str = "installer";
/// The head that it trusts, for whoever fetches to begin from. Anybody may read it.
const HEAD: &str = "head";

/// Where the installer remembers: its own head, evidence.
pub fn installer_state(install_root: &Path) -> PathBuf {
    install_root.join(STATE)
}

/// Where the installer publishes the head that it trusts.
pub fn published_head(install_root: &Path) -> PathBuf {
    install_root.join(HEAD)
}

/// What a node remembers in one of the two roles.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Below what evidence is kept.
    pub state: PathBuf,
    /// Where the rest is.
    pub client: PathBuf,
    /// How `evidence` is told of it.
    pub option: &'static str,
}

/// Those that this user can see and may believe. Where one user fetches and another installs, nobody
/// reads what is the other's.
pub fn memories(root: &Path, state: &Path, spool: Option<&Spool>) -> Vec<Memory> {
    let mut all = Vec::new();
    if spool.is_none() || is_ours(state).is_ok() {
        let client = state.join("client");
        all.push(Memory { state: state.to_owned(), client, option: "" });
    }
    let installer = installer_state(root);
    let is_hidden = |path: PathBuf| {
        let seen = path.read_dir().map(|_| ()).or_else(|_| File::open(path).map(|_| ()));
        seen.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if installer.is_dir()
        && !is_hidden(installer.clone())
        && !is_hidden(installer.join("client.json"))
    {
        let client = installer.clone();
        all.push(Memory { state: installer, client, option: " --installer" });
    }
    all
}

/// What of our product's releases is remembered in any of them: of withdrawals, all.
pub fn known(memories: &[Memory], policy: &Policy) -> Result<Catalog, StoreError> {
    let mut known = Catalog::default();
    for memory in memories {
        match ClientStore::catalog(&memory.client, policy, &Storage::default()) {
            // What an installer knew of another log is nothing to a client of this one.
            Err(StoreError::OtherLog(_)) if !memory.option.is_empty() => {}
            catalog => drop(known.learn_withdrawals(&catalog?)),
        }
    }
    Ok(known)
}
