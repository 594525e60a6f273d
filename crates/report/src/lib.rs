//! The ends of commands and cycles, in one vocabulary: exit codes, words, conditions, their JSON; and redaction. The
//! text that a command prints is in the program, in `src/cli`.

mod classify;
mod command_error;
mod condition;
mod cycle_status;
mod outcome;
mod output;
mod redact;
pub mod transitions;

pub use classify::Classify;
pub use command_error::{Ended, with_causes};
pub use condition::Condition;
pub use cycle_status::{Seen, clean};
pub use outcome::{Exit, table};
pub use output::{Said, path_json, print, report, visible};
pub use redact::hide;
pub use transitions::{Announcement, Changes, MAX_WAITING};
