//! The hooks of `[install]`, which run before and after a switch to another version, and how many
//! versions are kept.

use std::time::Duration;

/// The hooks of an installation, their time limits, and how many versions are kept.
///
/// A hook is a program and its arguments, run without a shell. An empty list means that there is no
/// hook. Hooks come from the configuration alone, never from a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSettings {
    /// How many versions are kept after a switch, including the installed one. From 2 to 1000.
    pub keep: usize,
    /// Runs before the switch.
    pub pre_install: Vec<String>,
    /// Starts the system's own installer. In the arguments, `{}` stands for the open file of the
    /// artifact, and `{path}` for the artifact's path.
    pub handover: Vec<String>,
    /// Runs after the switch, and after the switch back from a failed trial.
    pub post_install: Vec<String>,
    /// The systemd unit that is restarted after `post_install`.
    pub restart: Option<String>,
    /// How long each hook and the restart may take: one second to one hour.
    pub timeout: Duration,
    /// The health check, which decides whether the new version works.
    pub check: Vec<String>,
    /// How long the health check may take: one second to one hour.
    pub check_timeout: Duration,
    /// Runs after the new version has proved good. The hook's result changes nothing.
    pub on_success: Vec<String>,
}

impl Default for HookSettings {
    /// Three versions, no hooks, 5 minutes for a hook and one minute for the health check.
    fn default() -> HookSettings {
        HookSettings {
            keep: 3,
            pre_install: Vec::new(),
            handover: Vec::new(),
            post_install: Vec::new(),
            restart: None,
            timeout: Duration::from_secs(5 * 60),
            check: Vec::new(),
            check_timeout: Duration::from_secs(60),
            on_success: Vec::new(),
        }
    }
}

impl HookSettings {
    /// The program of every hook and of the health check.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let HookSettings { pre_install, handover, post_install, check, on_success, .. } = self;
        let commands = [pre_install, handover, post_install, check, on_success];
        commands.into_iter().filter_map(|command| command.first()).map(String::as_str)
    }

    /// Whether no hook, restart or health check is configured that can make a trial fail.
    /// `on_success` does not count: it cannot make a trial fail.
    pub fn has_no_hooks(&self) -> bool {
        let commands = [&self.pre_install, &self.handover, &self.post_install, &self.check];
        commands.iter().all(|command| command.is_empty()) && self.restart.is_none()
    }
}
