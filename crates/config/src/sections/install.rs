//! `[install]`: the directories of versions, state and spool, and the hooks of an installation.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::operator_file::Parsed;
use crate::{ConfigErrorKind, HookSettings};

/// The spool of a split installation, in which downloader and installer are two processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// The spool's directory, which the downloader writes and the installer reads.
    pub directory: PathBuf,
    /// How old every peer's cosignature may be at the moment of the switch: one minute to 30 days.
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
    /// The spool, if one is configured. Refuses an install root, state directory or spool that is
    /// equal to one of the others, contains it or is inside it.
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
                "root, state and spool must be separate directories: two of them are the same, or one is inside the other",
            ));
        }
        let freshness = freshness.unwrap_or(SpoolSettings::DEFAULT_FRESHNESS);
        Ok(spool.map(|directory| SpoolSettings { directory, freshness }))
    }

    /// How old every peer's cosignature may be when `unanimity-install` installs. `None`: not
    /// configured.
    pub(crate) fn freshness(&self) -> Result<Option<Duration>, ConfigErrorKind> {
        let freshness = self.freshness.as_ref().map(|freshness| *freshness.0);
        let bounds = Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);
        if !freshness.is_none_or(|freshness| bounds.contains(&freshness)) {
            return Err(ConfigErrorKind::Install(
                "freshness is one minute to 30 days: for so long an attacker in control of the downloader can hold a release back",
            ));
        }
        Ok(freshness)
    }

    /// The hooks, their time limits, and how many versions are kept.
    pub(crate) fn hook_settings(&self) -> Result<HookSettings, ConfigErrorKind> {
        let or = |value: &Option<Parsed<humantime::Duration>>, default| {
            value.as_ref().map_or(default, |value| *value.0)
        };
        let defaults = HookSettings::default();
        let hooks = HookSettings {
            keep: self.keep.unwrap_or(defaults.keep),
            pre_install: self.pre_install.clone(),
            handover: self.handover.clone(),
            post_install: self.post_install.clone(),
            restart: self.restart.clone(),
            on_success: self.on_success.clone(),
            timeout: or(&self.timeout, defaults.timeout),
            check: self.health.check.clone(),
            check_timeout: or(&self.health.timeout, defaults.check_timeout),
        };
        if !(2..=1000).contains(&hooks.keep) {
            return Err(ConfigErrorKind::Install(
                "keep is 2 to 1000: a failed trial returns to the version before",
            ));
        }
        if hooks.programs().any(|program| !Path::new(program).is_absolute()) {
            return Err(ConfigErrorKind::Install(
                "pre_install, handover, post_install, check and on_success must name their program by an absolute path",
            ));
        }
        let handover = &hooks.handover;
        let has_artifact =
            |argument: &String| argument.contains("{}") || argument.contains("{path}");
        if !handover.is_empty() && !handover.iter().any(has_artifact) {
            return Err(ConfigErrorKind::Install(
                "handover needs an argument with {} or {path}, which stand for the artifact",
            ));
        }
        let is_unit =
            |unit: &String| !unit.is_empty() && unit.bytes().all(|c| c.is_ascii_graphic());
        if !hooks.restart.as_ref().is_none_or(is_unit) {
            return Err(ConfigErrorKind::Install("restart must be the name of one systemd unit"));
        }
        let limits = Duration::from_secs(1)..=Duration::from_secs(3600);
        if ![hooks.timeout, hooks.check_timeout].iter().all(|time| limits.contains(time)) {
            return Err(ConfigErrorKind::Install("a timeout is one second to one hour"));
        }
        Ok(hooks)
    }
}

impl SpoolSettings {
    /// The default of `freshness`: one day.
    pub const DEFAULT_FRESHNESS: Duration = Duration::from_secs(24 * 3600);
}

/// Whether two directories are different and neither is inside the other, with all links resolved.
pub(crate) fn are_disjoint(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(resolve_links);
    !a.starts_with(&b) && !b.starts_with(&a)
}

/// The absolute path, with all links resolved as far as the path exists.
fn resolve_links(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut resolved = PathBuf::new();
    for part in absolute.components() {
        match part {
            // `resolved` has no link in it, so its parent is the directory that contains it.
            Component::ParentDir => drop(resolved.pop()),
            _ => resolved.push(part),
        }
        resolved = resolved.canonicalize().unwrap_or(resolved);
    }
    resolved
}
