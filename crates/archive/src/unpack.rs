//! The public functions of the reader: checking an archive, and unpacking it into a sink.

use std::io::Read;

use unanimity_protocol::manifest::ArchiveFormat;

use crate::decoder::Decoder;
use crate::error::{ArchiveError, ArchiveViolation};
use crate::limits::MAX_ENTRIES;
use crate::reader;
use crate::sink::{NullSink, TreeSink};
use crate::totals::Totals;

/// Checks a whole archive without writing its entries anywhere. Returns the archive's totals, for
/// its manifest.
///
/// Fails if the source fails, or if the archive breaks a rule of this crate.
pub fn check(format: ArchiveFormat, source: impl Read) -> Result<Totals, ArchiveError> {
    let bound = Totals { unpacked: u64::MAX, entries: MAX_ENTRIES };
    reader::read(&mut Decoder::open(format, source)?, bound, &mut NullSink)
}

/// Unpacks an archive into a sink. Fails unless the archive's totals are exactly `signed`.
///
/// The sink receives no entry and no byte beyond the signed totals. On an error, the caller has to
/// discard everything that the sink has received.
pub fn unpack<S: TreeSink>(
    format: ArchiveFormat,
    signed: Totals,
    source: impl Read,
    sink: &mut S,
) -> Result<(), ArchiveError<S::Error>> {
    let bound = Totals { entries: signed.entries.min(MAX_ENTRIES), ..signed };
    let mut decoder = Decoder::open(format, source).map_err(ArchiveError::with_sink_error)?;
    let found = reader::read(&mut decoder, bound, sink)?;
    let mismatch = |what: &str, found, signed| {
        let why = format!("{found} {what} in all, and {signed} were signed");
        Err(ArchiveViolation { entry: None, why }.into())
    };
    if found.entries != signed.entries {
        return mismatch("entries", found.entries, signed.entries);
    }
    if found.unpacked != signed.unpacked {
        return mismatch("bytes unpacked", found.unpacked, signed.unpacked);
    }
    Ok(())
}
