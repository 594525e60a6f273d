//! The output of a command, as text and as JSON.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command_error::CommandError;
use crate::outcome::Exit;

/// The output of a command: its exit code, its text, and the fields of its JSON report.
#[derive(Serialize, Deserialize)]
pub struct CommandOutput {
    /// The exit code.
    pub exit: Exit,
    /// The text for people.
    pub text: String,
    /// The fields of the JSON report: an object.
    pub json: Value,
    /// Whether the text is an error message, which goes to standard error.
    pub failed: bool,
    /// Whether the text is the content of a file. Such text is escaped only if standard output is a
    /// terminal.
    pub data: bool,
}

impl CommandOutput {
    /// Makes the output of a successful command.
    pub fn ok(text: impl Into<String>, json: Value) -> CommandOutput {
        CommandOutput { exit: Exit::Done, text: text.into(), json, failed: false, data: false }
    }

    /// Makes the output of a successful command whose text is the content of a file.
    pub fn data(text: impl Into<String>, json: Value) -> CommandOutput {
        CommandOutput { data: true, ..CommandOutput::ok(text, json) }
    }

    /// Prints the output: one line of JSON, or the text. An error message goes to standard error
    /// after the name of the program.
    ///
    /// Returns the exit code of the program: that of the output, or [`Exit::Disk`] if standard
    /// output cannot be written.
    pub fn finish(self, program: &str, verb: &str, json: bool) -> ExitCode {
        let printed = if json {
            print(&format_report(verb, self.exit, self.json))
        } else if self.failed {
            // A failure to write to standard error cannot be reported.
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

/// Escapes text with untrusted parts for a terminal.
///
/// Printable ASCII, accented Latin letters, line feeds, the dash `—` and the ellipsis `…` stay. All
/// other characters are escaped, because they could move the cursor, reverse the line, be invisible
/// or look like another character.
pub fn escape_for_terminal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' | '\n' | '—' | '…' => escaped.push(c),
            '\u{c0}'..='\u{24f}' if c.is_alphabetic() => escaped.push(c),
            _ => escaped.extend(c.escape_unicode()),
        }
    }
    escaped
}

/// Formats a report as one line of JSON in the schema `unanimity/v1`: the verb, the exit code, the
/// outcome, and `fields`.
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

/// Prints text to standard output. A pipe that its reader has closed is not an error.
pub fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// A path as a JSON string. Bytes that are not UTF-8 are replaced by U+FFFD.
pub fn path_json(path: &Path) -> Value {
    path.to_string_lossy().into()
}
