//! Why an archive is refused.

use std::convert::Infallible;
use std::io;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError<E = Infallible> {
    /// It breaks a rule, here.
    #[error(transparent)]
    Refused(#[from] ArchiveViolation),
    /// Its bytes cannot be read.
    #[error("reading the archive: {0}")]
    Source(io::Error),
    /// The sink cannot take an entry.
    #[error("{0}")]
    Sink(E),
}

impl ArchiveError {
    /// An error of reading alone, where the sink can fail as well.
    pub(crate) fn with_sink_error<E>(self) -> ArchiveError<E> {
        match self {
            ArchiveError::Refused(broken) => ArchiveError::Refused(broken),
            ArchiveError::Source(error) => ArchiveError::Source(error),
        }
    }
}

/// The rule that an archive breaks, and where. Names are quoted, with everything but printable
/// ASCII escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", entry_prefix(.entry))]
pub struct ArchiveViolation {
    /// Which entry, counted from 1, and its name as far as it is known; `None` for the archive.
    pub entry: Option<(u64, String)>,
    /// What is wrong.
    pub why: String,
}

fn entry_prefix(entry: &Option<(u64, String)>) -> String {
    entry.as_ref().map_or_else(String::new, |(number, name)| format!("entry {number}, {name}: "))
}

/// Bytes from an archive for a person's terminal: quoted, escaped, and not endless.
pub(crate) fn quote(bytes: &[u8]) -> String {
    const SHOWN: usize = 120;
    let more = if bytes.len() > SHOWN { "..." } else { "" };
    format!("\"{}\"{more}", bytes[..bytes.len().min(SHOWN)].escape_ascii())
}
