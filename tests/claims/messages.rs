//! Messages that people read, collected by a test and compared with a file in `words/`.
//!
//! `SNAPSHOTS=overwrite cargo test -p unanimity --test claims` records the files again.

use std::path::Path;

/// The messages of one test: a line `case: message` each. Further lines of a message are indented.
///
/// What differs from run to run is replaced: the test's directory, the programs' directory, times,
/// hashes, keys and signatures.
pub(crate) struct Messages {
    directory: String,
    text: String,
}

impl Messages {
    /// No messages yet. `directory` is the test's scratch directory.
    pub(crate) fn new(directory: &Path) -> Messages {
        Messages { directory: directory.display().to_string(), text: String::new() }
    }

    pub(crate) fn add(&mut self, case: &str, message: &str) {
        let programs = Path::new(env!("CARGO_BIN_EXE_unanimity")).parent().unwrap();
        let message = message.trim_end().replace(&self.directory, "[DIR]");
        let message = redact_random(&message.replace(programs.to_str().unwrap(), "[PROGRAMS]"));
        self.text += &format!("{case}: {}\n", message.replace('\n', "\n    "));
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Replaces times, hexadecimal of at least 16 digits, base64 of at least 40 characters and onion
/// names.
fn redact_random(text: &str) -> String {
    let mut redacted = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let taken = if rest.get(..20).is_some_and(is_time) {
            redacted += "[TIME]";
            20
        } else if end > 0 {
            redacted += &redact_word(&rest[..end]);
            end
        } else {
            redacted.push(first);
            first.len_utf8()
        };
        rest = &rest[taken..];
    }
    redacted
}

/// Whether a text is a time as RFC 3339 has it, in UTC and whole seconds.
fn is_time(text: &str) -> bool {
    let matches = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    text.bytes().zip(b"0000-00-00T00:00:00Z").all(matches)
}

/// Replaces a word of letters, digits, `+`, `/` and `=`, or the hexadecimal in it.
fn redact_word(word: &str) -> String {
    let has = |is: fn(&u8) -> bool| word.as_bytes().iter().any(is);
    if word.len() >= 40 && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) {
        return "[BASE64]".to_owned();
    }
    let redact_part = |part: &str| {
        let digits = part.trim_end_matches(['+', '/', '=']);
        let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if digits.len() >= 16 && digits.chars().all(is_hex) {
            format!("[HEX]{}", &part[digits.len()..])
        } else if digits.len() == 56 {
            format!("[ONION]{}", &part[digits.len()..])
        } else {
            part.to_owned()
        }
    };
    word.split_inclusive(['+', '/', '=']).map(redact_part).collect()
}
