//! What a command has to say, for people and for programs.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::outcome::Exit;

/// What a verb has to say.
#[derive(Serialize, Deserialize)]
pub struct CommandOutput {
    /// How it ended.
    pub exit: Exit,
    /// For people.
    pub text: String,
    /// For programs: an object.
    pub json: Value,
    /// Whether the text says why it did not end well, and belongs on standard error.
    pub failed: bool,
    /// Whether the text is a file's content, to be written as it is unless a person looks.
    pub data: bool,
}

impl CommandOutput {
    /// It ended well.
    pub fn ok(text: impl Into<String>, json: Value) -> CommandOutput {
        CommandOutput { exit: Exit::Done, text: text.into(), json, failed: false, data: false }
    }

    /// It ended well, and the text is a file's content.
    pub fn data(text: impl Into<String>, json: Value) -> CommandOutput {
        CommandOutput { data: true, ..CommandOutput::ok(text, json) }
    }

    /// Prints it, as one line of JSON or as text, which goes to standard error after the program's name if
    /// the verb did not end well. Returns how the program ends.
    pub fn finish(self, program: &str, verb: &str, json: bool) -> ExitCode {
        let printed = if json {
            print(&format_report(verb, self.exit, self.json))
        } else if self.failed {
            // Nobody is left to tell if this fails.
            writeln!(std::io::stderr(), "{program}: {}", escape_for_terminal(self.text.trim_end()))
                .ok();
            Ok(())
        } else if self.data && !std::io::stdout().is_terminal() {
            print(&self.text)
        } else {
            print(&escape_for_terminal(&self.text))
        };
        match printed {
            Ok(()) => ExitCode::from(self.exit as u8),
            Err(error) => {
                let stderr = &mut std::io::stderr();
                writeln!(stderr, "{program}: cannot write to standard output: {error}").ok();
                ExitCode::from(Exit::Disk as u8)
            }
        }
    }
}

impl From<CommandError> for CommandOutput {
    fn from(CommandError { exit, message }: CommandError) -> CommandOutput {
        let json = json!({ "message": message });
        CommandOutput { exit, text: message, json, failed: true, data: false }
    }
}

/// Text that may hold other people's words, as it may go to a terminal: everything but printable
/// ASCII, Latin letters with marks, line ends and our own dash is escaped, so that nothing moves the
/// cursor, turns the line around, hides or looks like something else.
pub fn escape_for_terminal(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' | '\n' | '—' | '…' => seen.push(c),
            '\u{c0}'..='\u{24f}' if c.is_alphabetic() => seen.push(c),
            _ => seen.extend(c.escape_unicode()),
        }
    }
    seen
}

/// One line of JSON in the schema "unanimity/v1".
pub fn format_report(verb: &str, exit: Exit, fields: Value) -> String {
    let mut report = json!({
        "schema": "unanimity/v1",
        "verb": verb,
        "exit": exit as u8,
        "outcome": exit.word(),
    });
    if let (Some(report), Value::Object(fields)) = (report.as_object_mut(), fields) {
        report.extend(fields);
    }
    format!("{report}\n")
}

/// Prints to standard output; whoever closed the other end wants no more.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// A path for programs; what is not UTF-8 in it is replaced.
pub fn path_json(path: &Path) -> Value {
    path.to_string_lossy().into()
}
