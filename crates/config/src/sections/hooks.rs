//! The commands of `[install]` that run around a switch, and how many versions are kept.

use std::time::Duration;
/// What belongs to a switch besides the switch, from the configuration alone. A command is a program
/// and its arguments, run without a shell; an empty one is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookSettings {
    /// How many versions there are after a switch, the present one included; at least two.
    pub keep: usize,
    /// Runs before the switch.
    pub pre_install: Vec<String>,
    /// Is given the artifact: its open file in place of `{}`, its path in place of `{path}`.
    pub handover: Vec<String>,
    /// Runs after the switch, also after the one back.
    pub post_install: Vec<String>,
    /// The systemd unit that is restarted then.
    pub restart: Option<String>,
    /// How long each of these may take.
    pub timeout: Duration,
    /// Says whether the version works.
    pub check: Vec<String>,
    /// How long that may take.
    pub check_timeout: Duration,
    /// Runs once the version has proved good.
    pub on_success: Vec<String>,
}

impl Default for HookSettings {
    /// Three versions, and nothing around a switch.
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
    /// The programs that are run.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let HookSettings {
            pre_install, handover, post_install, check, on_success: when_good, ..
        } = self;
        let commands = [pre_install, handover, post_install, check, when_good];
        commands.into_iter().filter_map(|command| command.first()).map(String::as_str)
    }

    /// Whether there is nothing that a switch could fail by.
    pub fn has_no_hooks(&self) -> bool {
        let commands = [&self.pre_install, &self.handover, &self.post_install, &self.check];
        commands.iter().all(|command| command.is_empty()) && self.restart.is_none()
    }
}
