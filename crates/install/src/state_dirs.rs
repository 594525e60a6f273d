//! The state directories of a node: the client's, and the installer's in a split installation.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use unanimity_config::SpoolSettings;
use unanimity_protocol::{Catalog, Policy};
use unanimity_state::{ClientStore, StoreError};
use unanimity_storage::Storage;

use crate::permissions::check_owner;

/// Name of the installer's state directory, below the install root.
const INSTALLER_DIR: &str = "installer";
/// Name of the file with the installer's trusted head, from which the downloader collects entries.
/// Every user may read the file.
const HEAD_FILE: &str = "head";

/// The installer's state directory: its trusted head, its catalog, and its evidence of forks.
pub fn installer_state_dir(install_root: &Path) -> PathBuf {
    install_root.join(INSTALLER_DIR)
}

/// The file in which the installer publishes its trusted head for the downloader.
pub fn installer_head_path(install_root: &Path) -> PathBuf {
    install_root.join(HEAD_FILE)
}

/// The directories with the state of one role, client or installer.
#[derive(Clone, Debug)]
pub struct StateDirs {
    /// Directory below which evidence is stored.
    pub state_dir: PathBuf,
    /// Directory of the trusted head and the catalog.
    pub client_dir: PathBuf,
    /// Option of the verb `evidence` that selects this directory, with a leading space. Empty for
    /// the client's directory.
    pub evidence_option: &'static str,
}

/// The state directories that this user can read and may trust.
///
/// In a split installation, the client's state counts only for its owner. The installer's state
/// counts for users that may read it.
pub fn readable_state_dirs(
    root: &Path,
    state: &Path,
    spool: Option<&SpoolSettings>,
) -> Vec<StateDirs> {
    let mut state_dirs = Vec::new();
    if spool.is_none() || check_owner(state).is_ok() {
        let client = state.join("client");
        state_dirs.push(StateDirs {
            state_dir: state.to_owned(),
            client_dir: client,
            evidence_option: "",
        });
    }
    let installer = installer_state_dir(root);
    let is_unreadable = |path: PathBuf| {
        let opened = path.read_dir().map(|_| ()).or_else(|_| File::open(path).map(|_| ()));
        opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if installer.is_dir()
        && !is_unreadable(installer.clone())
        && !is_unreadable(installer.join("client.json"))
    {
        let client = installer.clone();
        state_dirs.push(StateDirs {
            state_dir: installer,
            client_dir: client,
            evidence_option: " --installer",
        });
    }
    state_dirs
}

/// Loads the withdrawals from the catalogs of all these state directories into one catalog. The
/// result has no releases.
///
/// # Errors
///
/// A catalog cannot be read, or the client's catalog is of another log.
pub fn load_known_releases(
    state_dirs: &[StateDirs],
    policy: &Policy,
) -> Result<Catalog, StoreError> {
    let mut known = Catalog::default();
    for dirs in state_dirs {
        match ClientStore::read_catalog(&dirs.client_dir, policy, &Storage::default()) {
            // The installer may know another log, which does not concern a client of this one.
            Err(StoreError::OtherLog(_)) if !dirs.evidence_option.is_empty() => {}
            catalog => drop(known.merge_withdrawals(&catalog?)),
        }
    }
    Ok(known)
}
