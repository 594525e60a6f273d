//! A command that ended badly.

use crate::classify::Classify;
use crate::outcome::Exit;

/// A verb that ended badly: the code, and what a person reads.
#[derive(Debug)]
pub struct CommandError {
    /// The code.
    pub exit: Exit,
    /// What to read.
    pub message: String,
}

impl CommandError {
    /// A code, and what to read.
    pub fn new(exit: Exit, message: impl Into<String>) -> CommandError {
        CommandError { exit, message: message.into() }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> CommandError {
        CommandError::new(Exit::Usage, message)
    }
}

/// An error's words and those of its causes, as far as they are not the same words.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !message.contains(&words) {
            message += &format!(": {words}");
        }
        cause = error.source();
    }
    message
}

impl<E: Classify + std::error::Error> From<E> for CommandError {
    fn from(error: E) -> CommandError {
        CommandError { exit: error.exit(), message: error_chain(&error) }
    }
}
