//! The modes of a cycle: how far the cycle may go towards an installation.

use serde::{Deserialize, Serialize};

/// How far a cycle may go towards an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CycleMode {
    /// Ask the peers, and decide whether a release can be installed. Download nothing.
    Check,
    /// Ask, decide, and download the release that can be installed.
    Download,
    /// Ask, decide, download the release that can be installed, and install it.
    Update,
    /// Ask, decide, and install the release if an earlier cycle downloaded it. Download nothing.
    InstallDownloaded,
}
