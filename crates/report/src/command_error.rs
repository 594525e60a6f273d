//! The error of a command: an exit code and a message.

use crate::classify::Classify;
use crate::outcome::Exit;

/// A failed command: its exit code, and its message for people.
#[derive(Debug)]
pub struct CommandError {
    /// The exit code.
    pub exit: Exit,
    /// The message for people.
    pub message: String,
}

impl CommandError {
    /// Creates an error from an exit code and a message.
    pub fn new(exit: Exit, message: impl Into<String>) -> CommandError {
        CommandError { exit, message: message.into() }
    }

    /// Creates an error for a wrong command line ([`Exit::Usage`]).
    pub fn usage(message: impl Into<String>) -> CommandError {
        CommandError::new(Exit::Usage, message)
    }
}

/// Joins the message of an error and those of its causes with colons. A cause whose message is
/// already in the text is left out.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message += &format!(": {text}");
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
