//! `[install]`: where versions go, and who puts them there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::{Text, Why};

/// A node whose fetching and whose installing are two processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The directory between them.
    pub directory: PathBuf,
    /// How old every peer's cosignature may be at the moment of the switch.
    pub freshness: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstallTable {
    pub(super) root: PathBuf,
    pub(super) state: PathBuf,
    spool: Option<PathBuf>,
    freshness: Option<Text<humantime::Duration>>,
}

impl InstallTable {
    /// The spool, if there is one.
    pub(super) fn spool(&self, directory: &Path) -> Result<Option<Spool>, Why> {
        let freshness = self.freshness.as_ref().map_or(Spool::FRESHNESS, |freshness| *freshness.0);
        let Some(spool) = &self.spool else { return Ok(None) };
        let inside = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
        if inside(spool, &self.root) || inside(spool, &self.state) {
            return Err(Why::Install("spool is apart from root and state"));
        }
        if freshness < Duration::from_secs(60) || freshness > Duration::from_secs(30 * 24 * 3600) {
            return Err(Why::Install(
                "freshness is one minute to 30 days: for as long can whoever fetches hold a release back",
            ));
        }
        Ok(Some(Spool { directory: directory.join(spool), freshness }))
    }
}

impl Spool {
    /// A day.
    pub const FRESHNESS: Duration = Duration::from_secs(24 * 3600);
}
