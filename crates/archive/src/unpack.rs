//! Reading an archive to its end: to check it, or to unpack it into a sink.

use std::io::Read;

use unanimity_protocol::manifest::ArchiveFormat;

use crate::decoder::Decoder;
use crate::error::{ArchiveError, ArchiveViolation};
use crate::limits::MAX_ENTRIES;
use crate::reader;
use crate::sink::{NullSink, TreeSink};
use crate::totals::Totals;

/// Reads an archive to its end and unpacks nothing: what it comes to, if it can be installed.
pub fn check(format: ArchiveFormat, source: impl Read) -> Result<Totals, ArchiveError> {
    let bound = Totals { unpacked: u64::MAX, entries: MAX_ENTRIES };
    reader::read(&mut Decoder::open(format, source)?, bound, &mut NullSink)
}

/// Unpacks an archive into a sink. On an error, what the sink has taken is to be thrown away. It stops at what is more than was signed, before any of that is written.
pub fn unpack<S: TreeSink>(
    format: ArchiveFormat,
    signed: Totals,
    source: impl Read,
    sink: &mut S,
) -> Result<(), ArchiveError<S::Error>> {
    let bound = Totals { entries: signed.entries.min(MAX_ENTRIES), ..signed };
    let mut packed = Decoder::open(format, source).map_err(ArchiveError::with_sink_error)?;
    let found = reader::read(&mut packed, bound, sink)?;
    let short = |what: &str, found, signed| {
        let why = format!("{found} {what} in all, and {signed} were signed");
        Err(ArchiveViolation { entry: None, why }.into())
    };
    if found.entries != signed.entries {
        return short("entries", found.entries, signed.entries);
    }
    if found.unpacked != signed.unpacked {
        return short("bytes unpacked", found.unpacked, signed.unpacked);
    }
    Ok(())
}
