//! `[alarm]`: the command that is run when the condition of a node changes.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::operator_file::Text;
use crate::{ProgramError, Why, check_executable};

/// Whom to tell, and when to begin to worry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// The program and its arguments, run without a shell. Empty: changes are only logged.
    pub command: Vec<String>,
    /// How long a node may be incomplete before that is worth telling.
    pub incomplete_after: Duration,
}

impl Alarm {
    /// Looks whether the program could be run: better now than when there is something to tell.
    pub fn check(&self) -> Result<(), ProgramError> {
        let Some(program) = self.command.first() else { return Ok(()) };
        check_executable(program.as_ref()).map_err(|why| ProgramError { path: program.into(), why })
    }
}

impl Default for Alarm {
    /// Nobody; 24 h.
    fn default() -> Self {
        Alarm { command: Vec::new(), incomplete_after: Duration::from_secs(24 * 60 * 60) }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlarmTable {
    #[serde(default)]
    command: Vec<String>,
    incomplete_after: Option<Text<humantime::Duration>>,
}

impl AlarmTable {
    pub(crate) fn check(self) -> Result<Alarm, Why> {
        let default = Alarm::default();
        let incomplete_after =
            self.incomplete_after.map_or(default.incomplete_after, |after| *after.0);
        if self.command.first().is_some_and(|program| !Path::new(program).is_absolute()) {
            return Err(Why::Alarm("command: its program is named by an absolute path"));
        }
        if incomplete_after > Duration::from_secs(30 * 24 * 3600) {
            return Err(Why::Alarm(
                "incomplete_after is at most 30 days: silence is what an attacker wants",
            ));
        }
        Ok(Alarm { command: self.command, incomplete_after })
    }
}
