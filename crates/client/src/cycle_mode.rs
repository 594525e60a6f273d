//! What a cycle may do.

use serde::{Deserialize, Serialize};

/// What a cycle may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CycleMode {
    /// Only find out.
    Check,
    /// Fetch what can be installed, and keep it.
    Download,
    /// Install it.
    Update,
    /// Install what was fetched before, and fetch nothing.
    InstallDownloaded,
}
