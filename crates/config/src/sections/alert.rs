//! `[alert]`: the command that is run when the condition of a node changes.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::operator_file::Parsed;
use crate::{AlertProgramError, ConfigErrorKind, check_executable};

/// The alert command, and how long a node may be incomplete before an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertSettings {
    /// The program and its arguments, run without a shell. Empty: alerts are only logged.
    pub command: Vec<String>,
    /// How long a node may be incomplete before an alert. At most 30 days.
    pub incomplete_after: Duration,
}

impl AlertSettings {
    /// Refuses a program that this user cannot execute, so that the operator learns of it before
    /// the first alert.
    pub fn check_program(&self) -> Result<(), AlertProgramError> {
        let Some(program) = self.command.first() else { return Ok(()) };
        check_executable(program.as_ref())
            .map_err(|why| AlertProgramError { path: program.into(), why })
    }
}

impl Default for AlertSettings {
    /// No command, and 24 hours of being incomplete before an alert.
    fn default() -> Self {
        AlertSettings { command: Vec::new(), incomplete_after: Duration::from_secs(24 * 60 * 60) }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTable {
    #[serde(default)]
    command: Vec<String>,
    incomplete_after: Option<Parsed<humantime::Duration>>,
}

impl AlertTable {
    pub(crate) fn validate(self) -> Result<AlertSettings, ConfigErrorKind> {
        let default = AlertSettings::default();
        let incomplete_after =
            self.incomplete_after.map_or(default.incomplete_after, |after| *after.0);
        if self.command.first().is_some_and(|program| !Path::new(program).is_absolute()) {
            return Err(ConfigErrorKind::Alert("command: name its program by an absolute path"));
        }
        if incomplete_after > Duration::from_secs(30 * 24 * 3600) {
            return Err(ConfigErrorKind::Alert(
                "incomplete_after is at most 30 days: an attacker who silences peers must not stay unnoticed",
            ));
        }
        Ok(AlertSettings { command: self.command, incomplete_after })
    }
}
