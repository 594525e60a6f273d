//! The results of commands and cycles: exit codes, words, conditions, alerts, JSON and redaction.
//!
//! The texts that a command prints are in the program, in `src/cli`.

mod classify;
mod command_error;
mod condition;
mod cycle_status;
mod outcome;
mod output;
mod redact;
pub mod transitions;

pub use classify::Classify;
pub use command_error::{CommandError, error_chain};
pub use condition::Condition;
pub use cycle_status::{CycleStatus, redact_message};
pub use outcome::{Exit, outcome_table};
pub use output::{CommandOutput, escape_for_terminal, format_report, path_json, print};
pub use redact::redact;
pub use transitions::{Announcement, MAX_UNDELIVERED, Transitions};
