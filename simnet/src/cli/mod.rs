//! The command line: arguments, commands, printed text and exit codes.

mod arguments;
mod exit;
mod memory;
mod output;
mod program;
mod progress;
mod study_file;
mod table;
mod tier1;

pub use exit::{EXIT_CODES, Exit, SimulatorError};
pub use program::{Simulator, main};
