//! Bounds on reading a log: the number of new entries, and the number of requests in flight.

use std::io;
use std::ops::Range;

/// The most new entries that are read from a log at once: 2^22, or 128 MiB of leaf hashes.
///
/// A head that claims more new entries is refused. Such a head is cheap to sign, and its entries
/// would fill the client's memory.
pub const MAX_GROWTH: u64 = 1 << 22;

/// The most files that are requested at once. Requests overlap, because one round trip through Tor
/// takes as long as hashing thousands of entries.
pub(crate) const MAX_IN_FLIGHT: usize = 8;

/// Refuses a range of more than [`MAX_GROWTH`] entries.
pub(crate) fn check_growth(range: &Range<u64>) -> io::Result<()> {
    if range.end.saturating_sub(range.start) <= MAX_GROWTH {
        return Ok(());
    }
    let growth = range.end - range.start;
    let message =
        format!("the log claims {growth} new entries, and at most {MAX_GROWTH} are read at once");
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed: {what}"))
}
