//! Errors of reading an archive, and the violation for which an archive is refused.

use std::convert::Infallible;
use std::io;

/// The reason why an archive was not checked or not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError<E = Infallible> {
    /// The archive breaks a rule of this crate.
    #[error(transparent)]
    Refused(#[from] ArchiveViolation),
    /// The source of the archive failed.
    #[error("cannot read the archive: {0}")]
    Source(io::Error),
    /// The sink failed to write an entry.
    #[error("{0}")]
    Sink(E),
}

impl ArchiveError {
    /// Converts an error that is not from a sink to the error type of any sink.
    pub(crate) fn with_sink_error<E>(self) -> ArchiveError<E> {
        match self {
            ArchiveError::Refused(violation) => ArchiveError::Refused(violation),
            ArchiveError::Source(error) => ArchiveError::Source(error),
        }
    }
}

/// The rule that an archive breaks, and the entry that breaks it. In names, everything except
/// printable ASCII is escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", entry_prefix(.entry))]
pub struct ArchiveViolation {
    /// The number of the entry, from 1, and its quoted name as far as it is known. `None` if the
    /// archive as a whole breaks the rule.
    pub entry: Option<(u64, String)>,
    /// The broken rule, for people.
    pub why: String,
}

fn entry_prefix(entry: &Option<(u64, String)>) -> String {
    entry.as_ref().map_or_else(String::new, |(number, name)| format!("entry {number}, {name}: "))
}

/// Quotes bytes of an archive for a terminal. The bytes are escaped, and cut after the first 120.
pub(crate) fn quote(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}
