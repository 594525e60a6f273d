//! The modes of a cycle: how far it may go towards an installation.

use serde::{Deserialize, Serialize};

/// How far a cycle may go towards an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CycleMode {
    /// Ask the peers and decide. Download nothing.
    Check,
    /// Also download the release that can be installed.
    Download,
    /// Also install that release.
    Update,
    /// Install the release if an earlier cycle downloaded it. Download nothing.
    InstallDownloaded,
}
