//! The fields with which every statement of a publisher begins, and the reader of a statement.

use crate::checkpoint::Origin;
use crate::encoding;
use crate::line_reader::LineReader;
use crate::name::Name;

/// The error for a malformed statement, with the place and the expected text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} line {line}: expected {expected}")]
pub struct StatementError {
    /// The kind of the statement, `manifest` or `withdrawal`.
    pub kind: &'static str,
    /// The number of the last line that was read, at least 1.
    pub line: usize,
    /// The form of the text that is expected at this line or directly after it.
    pub expected: &'static str,
}

pub(crate) fn parse<T>(
    kind: &'static str,
    text: &str,
    read: impl FnOnce(&mut LineReader<'_>) -> Result<T, &'static str>,
) -> Result<T, StatementError> {
    let mut lines = LineReader::new(text);
    read(&mut lines).map_err(|expected| {
        let line = lines.line_number().max(1);
        StatementError { kind, line, expected }
    })
}

/// The release that a statement names, and the log that the statement is for.
pub(crate) struct Subject {
    pub(crate) log: Origin,
    pub(crate) product: Name,
    pub(crate) channel: Name,
    pub(crate) sequence: u64,
}

impl Subject {
    pub(crate) fn read(lines: &mut LineReader<'_>) -> Result<Subject, &'static str> {
        let origin = lines.field("log").and_then(|text| text.parse().ok());
        let log = origin.ok_or("'log ORIGIN'")?;
        let mut name = |word, expected| {
            lines.field(word).and_then(|text| text.parse::<Name>().ok()).ok_or(expected)
        };
        let product = name("product", "'product NAME', a safe name")?;
        let channel = name("channel", "'channel NAME', a safe name")?;
        let sequence = number(lines.field("sequence")).filter(|&n| n > 0);
        let sequence = sequence.ok_or("'sequence N', from 1")?;
        Ok(Subject { log, product, channel, sequence })
    }
}

/// Reads a decimal number below 2^63.
pub(crate) fn number(text: Option<&str>) -> Option<u64> {
    text.and_then(encoding::decimal).filter(|&n| n < 1 << 63)
}
