//! `[install]`: where versions go, and who puts them there.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::operator_file::Text;
use crate::{Procedure, Why};

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
pub(crate) struct InstallTable {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    spool: Option<PathBuf>,
    freshness: Option<Text<humantime::Duration>>,
    keep: Option<usize>,
    #[serde(default)]
    pre_install: Vec<String>,
    #[serde(default)]
    handover: Vec<String>,
    #[serde(default)]
    post_install: Vec<String>,
    restart: Option<String>,
    #[serde(default)]
    when_good: Vec<String>,
    timeout: Option<Text<humantime::Duration>>,
    #[serde(default)]
    health: HealthTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct HealthTable {
    #[serde(default)]
    check: Vec<String>,
    timeout: Option<Text<humantime::Duration>>,
}

impl InstallTable {
    /// The spool, if there is one; all that the node keeps is apart from each other.
    pub(crate) fn spool(
        &self,
        directory: &Path,
        freshness: Option<Duration>,
    ) -> Result<Option<Spool>, Why> {
        let [root, state] = [&self.root, &self.state].map(|path| directory.join(path));
        let spool = self.spool.as_ref().map(|spool| directory.join(spool));
        let is_apart = |spool: &PathBuf| are_apart(spool, &root) && are_apart(spool, &state);
        if !are_apart(&root, &state) || !spool.as_ref().is_none_or(is_apart) {
            return Err(Why::Install(
                "root, state and spool are apart: two of them are one directory, or one is inside the other",
            ));
        }
        let freshness = freshness.unwrap_or(Spool::FRESHNESS);
        Ok(spool.map(|directory| Spool { directory, freshness }))
    }

    /// How old every peer's word may be for whoever installs without a network, if that is written.
    pub(crate) fn freshness(&self) -> Result<Option<Duration>, Why> {
        let freshness = self.freshness.as_ref().map(|freshness| *freshness.0);
        let bounds = Duration::from_secs(60)..=Duration::from_secs(30 * 24 * 3600);
        if !freshness.is_none_or(|freshness| bounds.contains(&freshness)) {
            return Err(Why::Install(
                "freshness is one minute to 30 days: for as long can whoever fetches hold a release back",
            ));
        }
        Ok(freshness)
    }

    /// What belongs to a switch.
    pub(crate) fn procedure(&self) -> Result<Procedure, Why> {
        let or = |value: &Option<Text<humantime::Duration>>, default| {
            value.as_ref().map_or(default, |value| *value.0)
        };
        let plain = Procedure::default();
        let procedure = Procedure {
            keep: self.keep.unwrap_or(plain.keep),
            pre_install: self.pre_install.clone(),
            handover: self.handover.clone(),
            post_install: self.post_install.clone(),
            restart: self.restart.clone(),
            when_good: self.when_good.clone(),
            timeout: or(&self.timeout, plain.timeout),
            check: self.health.check.clone(),
            check_timeout: or(&self.health.timeout, plain.check_timeout),
        };
        if !(2..=1000).contains(&procedure.keep) {
            return Err(Why::Install("keep is 2 to 1000: the version before is what comes back"));
        }
        if procedure.programs().any(|program| !Path::new(program).is_absolute()) {
            return Err(Why::Install(
                "pre_install, handover, post_install, check and when_good name their program by an absolute path",
            ));
        }
        let handover = &procedure.handover;
        let is_given = |argument: &String| argument.contains("{}") || argument.contains("{path}");
        if !handover.is_empty() && !handover.iter().any(is_given) {
            return Err(Why::Install(
                "handover has an argument {}, or {path}: the artifact takes its place",
            ));
        }
        let is_unit =
            |unit: &String| !unit.is_empty() && unit.bytes().all(|c| c.is_ascii_graphic());
        if !procedure.restart.as_ref().is_none_or(is_unit) {
            return Err(Why::Install("restart is the name of one systemd unit"));
        }
        let limits = Duration::from_secs(1)..=Duration::from_secs(3600);
        if ![procedure.timeout, procedure.check_timeout].iter().all(|time| limits.contains(time)) {
            return Err(Why::Install("a timeout is one second to one hour"));
        }
        Ok(procedure)
    }
}

impl Spool {
    /// A day.
    pub const FRESHNESS: Duration = Duration::from_secs(24 * 3600);
}

/// Whether neither of two directories is in the other, whatever they are called.
pub(crate) fn are_apart(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(resolved);
    !a.starts_with(&b) && !b.starts_with(&a)
}

/// A path without links, as far as there is anything on it.
fn resolved(path: &Path) -> PathBuf {
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
