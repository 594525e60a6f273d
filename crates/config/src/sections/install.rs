//! `[install]`: where versions go, and who puts them there.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::operator_file::Parsed;
use crate::{ConfigErrorKind, HookSettings};

/// A node whose fetching and whose installing are two processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The directory between them.
    pub directory: PathBuf,
    /// How old every peer's cosignature may be at the moment of the switch.
    pub freshness: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InstallTable {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    spool: Option<PathBuf>,
    freshness: Option<Parsed<humantime::Duration>>,
    keep: Option<usize>,
    #[serde(default)]
    pre_install: Vec<String>,
    #[serde(default)]
    handover: Vec<String>,
    #[serde(default)]
    post_install: Vec<String>,
    restart: Option<String>,
    #[serde(default)]
    on_success: Vec<String>,
    timeout: Option<Parsed<humantime::Duration>>,
    #[serde(default)]
    health: HealthTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct HealthTable {
    #[serde(default)]
    check: Vec<String>,
    timeout: Option<Parsed<humantime::Duration>>,
}

impl InstallTable {
    /// The spool, if there is one; all that the node keeps is apart from each other.
    pub(crate) fn spool(
        &self,
        directory: &Path,
        freshness: Option<Duration>,
    ) -> Result<Option<SpoolSettings>, ConfigErrorKind> {
        let [root, state] = [&self.root, &self.state].map(|path| directory.join(path));
        let spool = self.spool.as_ref().map(|spool| directory.join(spool));
        let is_disjoint =
            |spool: &PathBuf| are_disjoint(spool, &root) && are_disjoint(spool, &state);
        if !are_disjoint(&root, &state) || !spool.as_ref().is_none_or(is_disjoint) {
            return Err(ConfigErrorKind::Install(
                "root, state and spool are apart: two of them are one directory, or one is inside the other",
            ));
        }
        let freshness = freshness.unwrap_or(SpoolSettings::DEFAULT_FRESHNESS);
        Ok(spool.map(|directory| SpoolSettings { directory, freshness }))
    }

    /// How old every peer's word may be for whoever installs without a network, if that is written.
    pub(crate) fn freshness(&self) -> Result<Option<Duration>, ConfigErrorKind> {
        let freshness = self.freshness.as_ref().map(|freshness| *freshness.0);
        let bounds = Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);
        if !freshness.is_none_or(|freshness| bounds.contains(&freshness)) {
            return Err(ConfigErrorKind::Install(
                "freshness is one minute to 30 days: for as long can whoever fetches hold a release back",
            ));
        }
        Ok(freshness)
    }

    /// What belongs to a switch.
    pub(crate) fn hook_settings(&self) -> Result<HookSettings, ConfigErrorKind> {
        let or = |value: &Option<Parsed<humantime::Duration>>, default| {
            value.as_ref().map_or(default, |value| *value.0)
        };
        let plain = HookSettings::default();
        let hooks = HookSettings {
            keep: self.keep.unwrap_or(plain.keep),
            pre_install: self.pre_install.clone(),
            handover: self.handover.clone(),
            post_install: self.post_install.clone(),
            restart: self.restart.clone(),
            on_success: self.on_success.clone(),
            timeout: or(&self.timeout, plain.timeout),
            check: self.health.check.clone(),
            check_timeout: or(&self.health.timeout, plain.check_timeout),
        };
        if !(2..=1000).contains(&hooks.keep) {
            return Err(ConfigErrorKind::Install(
                "keep is 2 to 1000: the version before is what comes back",
            ));
        }
        if hooks.programs().any(|program| !Path::new(program).is_absolute()) {
            return Err(ConfigErrorKind::Install(
                "pre_install, handover, post_install, check and when_good name their program by an absolute path",
            ));
        }
        let handover = &hooks.handover;
        let is_given = |argument: &String| argument.contains("{}") || argument.contains("{path}");
        if !handover.is_empty() && !handover.iter().any(is_given) {
            return Err(ConfigErrorKind::Install(
                "handover has an argument {}, or {path}: the artifact takes its place",
            ));
        }
        let is_unit =
            |unit: &String| !unit.is_empty() && unit.bytes().all(|c| c.is_ascii_graphic());
        if !hooks.restart.as_ref().is_none_or(is_unit) {
            return Err(ConfigErrorKind::Install("restart is the name of one systemd unit"));
        }
        let limits = Duration::from_secs(1)..=Duration::from_secs(3600);
        if ![hooks.timeout, hooks.check_timeout].iter().all(|time| limits.contains(time)) {
            return Err(ConfigErrorKind::Install("a timeout is one second to one hour"));
        }
        Ok(hooks)
    }
}

impl SpoolSettings {
    /// A day.
    pub const DEFAULT_FRESHNESS: Duration = Duration::from_secs(24 * 3600);
}

/// Whether neither of two directories is in the other, whatever they are called.
pub(crate) fn are_disjoint(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(resolve_links);
    !a.starts_with(&b) && !b.starts_with(&a)
}

/// A path without links, as far as there is anything on it.
fn resolve_links(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        match part {
            // What was passed is no link.
            Component::ParentDir => drop(resolved.pop()),
            _ => resolved.push(part),
        }
        resolved = resolved.canonicalize().unwrap_or(resolved);
    }
    resolved
}
