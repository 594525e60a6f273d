//! The bounds of one reading of a log.

use std::io;
use std::ops::Range;

/// The most new entries that one reading of a log takes in, 2^22: 128 MiB of leaf hashes. A head
/// that claims more is refused: it is cheap to sign, and its entries would fill our memory.
pub const MAX_GROWTH: u64 = 1 << 22;

/// Files that are asked for at once: a round trip through Tor takes as long as hashing thousands of
/// entries.
pub(crate) const MAX_IN_FLIGHT: usize = 8;

pub(crate) fn check_growth(range: &Range<u64>) -> io::Result<()> {
    if range.end.saturating_sub(range.start) <= MAX_GROWTH {
        return Ok(());
    }
    let grown = range.end - range.start;
    let message =
        format!("the log claims {grown} new entries, and at most {MAX_GROWTH} are read at once");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} has not the form it must have"))
}
