//! Where a node remembers what it has seen of a log: as a client, and as one that installs without a
//! network.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use unanimity_config::SpoolSettings;
use unanimity_protocol::{Catalog, Policy};
use unanimity_state::{ClientStore, StoreError};
use unanimity_storage::Storage;

use crate::permissions::check_owner;

/// The installer's own directory, below the install root.
const INSTALLER_DIR: &str = "installer";
/// The head that it trusts, for whoever fetches to begin from. Anybody may read it.
const HEAD_FILE: &str = "head";

/// Where the installer remembers: its own head, evidence.
pub fn installer_state_dir(install_root: &Path) -> PathBuf {
    install_root.join(INSTALLER_DIR)
}

/// Where the installer publishes the head that it trusts.
pub fn installer_head_path(install_root: &Path) -> PathBuf {
    install_root.join(HEAD_FILE)
}

/// What a node remembers in one of the two roles.
#[derive(Clone, Debug)]
pub struct StateDirs {
    /// Below what evidence is kept.
    pub state_dir: PathBuf,
    /// Where the rest is.
    pub client_dir: PathBuf,
    /// How `evidence` is told of it.
    pub evidence_option: &'static str,
}

/// Those that this user can see and may believe. Where one user fetches and another installs, nobody
/// reads what is the other's.
pub fn readable_state_dirs(
    root: &Path,
    state: &Path,
    spool: Option<&SpoolSettings>,
) -> Vec<StateDirs> {
    let mut all = Vec::new();
    if spool.is_none() || check_owner(state).is_ok() {
        let client = state.join("client");
        all.push(StateDirs {
            state_dir: state.to_owned(),
            client_dir: client,
            evidence_option: "",
        });
    }
    let installer = installer_state_dir(root);
    let is_hidden = |path: PathBuf| {
        let seen = path.read_dir().map(|_| ()).or_else(|_| File::open(path).map(|_| ()));
        seen.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if installer.is_dir()
        && !is_hidden(installer.clone())
        && !is_hidden(installer.join("client.json"))
    {
        let client = installer.clone();
        all.push(StateDirs {
            state_dir: installer,
            client_dir: client,
            evidence_option: " --installer",
        });
    }
    all
}

/// What of our product's releases is remembered in any of them: of withdrawals, all.
pub fn load_known_releases(memories: &[StateDirs], policy: &Policy) -> Result<Catalog, StoreError> {
    let mut known = Catalog::default();
    for memory in memories {
        match ClientStore::read_catalog(&memory.client_dir, policy, &Storage::default()) {
            // What an installer knew of another log is nothing to a client of this one.
            Err(StoreError::OtherLog(_)) if !memory.evidence_option.is_empty() => {}
            catalog => drop(known.merge_withdrawals(&catalog?)),
        }
    }
    Ok(known)
}
