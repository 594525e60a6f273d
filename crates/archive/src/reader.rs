//! The loop over the entries of an archive. Each entry is checked before the sink receives it.

use std::io::Read;

use crate::decoder::{Decoder, truncated};
use crate::error::{ArchiveError, ArchiveViolation, quote};
use crate::header::{BLOCK_BYTES, EntryKind, Header};
use crate::limits::MAX_ENTRIES;
use crate::path::{EntryPath, LinkTarget, TakenPaths};
use crate::pax::ExtendedHeader;
use crate::pax::{self};
use crate::sink::TreeSink;
use crate::totals::Totals;

/// The most blocks of zeros at the end: two, and up to 19 that fill GNU's record of 20 blocks.
const MAX_END_BLOCKS: usize = 21;

/// Reads the whole archive into the sink and returns the archive's totals. Refuses an archive whose
/// totals exceed `bound`.
pub(crate) fn read<S: TreeSink>(
    decoder: &mut Decoder<impl Read>,
    bound: Totals,
    sink: &mut S,
) -> Result<Totals, ArchiveError<S::Error>> {
    let mut reader = ArchiveReader { decoder, bound, found: Totals { unpacked: 0, entries: 0 } };
    let mut names = TakenPaths::default();
    while let Some((entry, header, extension)) =
        reader.read_header().map_err(ArchiveError::with_sink_error)?
    {
        reader.read_entry(&entry, header, extension, &mut names, sink)?;
    }
    reader.read_end().map_err(ArchiveError::with_sink_error)?;
    Ok(reader.found)
}

struct ArchiveReader<'a, R: Read> {
    decoder: &'a mut Decoder<R>,
    bound: Totals,
    found: Totals,
}

/// The number of an entry and its quoted name as far as it is known, for violations.
struct EntryLabel {
    number: u64,
    name: String,
}

impl EntryLabel {
    fn violation(&self, why: impl Into<String>) -> ArchiveError {
        ArchiveViolation { entry: Some((self.number, self.name.clone())), why: why.into() }.into()
    }
}

impl<R: Read> ArchiveReader<'_, R> {
    /// Reads the header of the next entry, and the extended header before it, if any. `None` if the
    /// next block is all zeros: the end of the archive begins there.
    fn read_header(
        &mut self,
    ) -> Result<Option<(EntryLabel, Header, ExtendedHeader)>, ArchiveError> {
        let number = self.found.entries + 1;
        let mut extension = None;
        loop {
            let mut block = [0; BLOCK_BYTES];
            if !self.decoder.fill(&mut block)? {
                return Err(truncated());
            }
            let entry = EntryLabel { number, name: Header::name_in(&block) };
            if block == [0; BLOCK_BYTES] {
                return match extension {
                    None => Ok(None),
                    Some(_) => Err(entry.violation("an extended header without an entry after it")),
                };
            }
            let header = Header::parse(&block).map_err(|why| entry.violation(why))?;
            if header.kind != EntryKind::Extended {
                return Ok(Some((entry, header, extension.unwrap_or_default())));
            }
            if extension.is_some() {
                return Err(entry.violation("a second extended header for one entry"));
            }
            if !(1..=pax::MAX_BYTES).contains(&header.size) {
                let (size, most) = (header.size, pax::MAX_BYTES);
                let why = format!("an extended header of {size} bytes; {most} are the most");
                return Err(entry.violation(why));
            }
            let mut bytes = vec![0; header.size as usize];
            if !self.decoder.fill(&mut bytes)? {
                return Err(truncated());
            }
            self.read_padding(&entry, header.size)?;
            extension = Some(ExtendedHeader::parse(&bytes).map_err(|why| entry.violation(why))?);
        }
    }

    fn read_entry<S: TreeSink>(
        &mut self,
        entry: &EntryLabel,
        header: Header,
        extension: ExtendedHeader,
        names: &mut TakenPaths,
        sink: &mut S,
    ) -> Result<(), ArchiveError<S::Error>> {
        let (name, target) =
            extension.apply(&header).map_err(|why| entry.violation(why).with_sink_error())?;
        let entry = &EntryLabel { number: entry.number, name: quote(&name) };
        let violation = |why: String| entry.violation(why).with_sink_error();
        self.count_entry(entry, header.size).map_err(ArchiveError::with_sink_error)?;
        let is_dir = header.kind == EntryKind::Directory;
        let path = EntryPath::parse(&name, is_dir).map_err(violation)?;
        names.add(&path, is_dir).map_err(violation)?;
        match header.kind {
            EntryKind::Directory => sink.directory(&path).map_err(ArchiveError::Sink)?,
            EntryKind::Link => {
                let target = LinkTarget::parse(&target, &path).map_err(violation)?;
                sink.link(&path, &target).map_err(ArchiveError::Sink)?;
            }
            EntryKind::File | EntryKind::Extended => {
                sink.file(&path, header.executable).map_err(ArchiveError::Sink)?;
                let mut left = header.size;
                while left > 0 {
                    let bytes = self.decoder.peek(left).map_err(ArchiveError::with_sink_error)?;
                    let count = bytes.len();
                    if count == 0 {
                        return Err(truncated().with_sink_error());
                    }
                    sink.bytes(bytes).map_err(ArchiveError::Sink)?;
                    self.decoder.consume(count);
                    left -= count as u64;
                }
                self.read_padding(entry, header.size).map_err(ArchiveError::with_sink_error)?;
            }
        }
        Ok(())
    }

    /// Counts one more entry of `size` bytes. Refuses it if the totals become larger than the
    /// bound.
    fn count_entry(&mut self, entry: &EntryLabel, size: u64) -> Result<(), ArchiveError> {
        let Totals { unpacked, entries } = self.bound;
        if self.found.entries >= entries {
            let limit = if entries < MAX_ENTRIES { "that were signed" } else { "that are allowed" };
            return Err(entry.violation(format!("more than the {entries} entries {limit}")));
        }
        self.found.entries += 1;
        let total = self.found.unpacked.checked_add(size).filter(|&total| total <= unpacked);
        let Some(total) = total else {
            let why = format!("more than the {unpacked} bytes unpacked that were signed");
            return Err(entry.violation(why));
        };
        self.found.unpacked = total;
        Ok(())
    }

    /// Skips the padding between an entry's content and the next block. Refuses padding other than
    /// zeros.
    fn read_padding(&mut self, entry: &EntryLabel, size: u64) -> Result<(), ArchiveError> {
        let mut padding = [0; BLOCK_BYTES];
        let padding = &mut padding[..size.wrapping_neg() as usize % BLOCK_BYTES];
        if !padding.is_empty() && !self.decoder.fill(padding)? {
            return Err(truncated());
        }
        if padding.iter().any(|&byte| byte != 0) {
            return Err(entry.violation("the last block of its content is not padded with zeros"));
        }
        Ok(())
    }

    /// Reads the end of the archive after its first block of zeros: 1 to 20 more blocks of zeros,
    /// then the end of the file.
    fn read_end(&mut self) -> Result<(), ArchiveError> {
        let violation =
            |why: &str| Err(ArchiveViolation { entry: None, why: why.to_owned() }.into());
        let mut blocks = 1;
        loop {
            let mut block = [0; BLOCK_BYTES];
            if !self.decoder.fill(&mut block)? {
                break;
            }
            if block != [0; BLOCK_BYTES] {
                return violation("bytes after the block of zeros that ends the archive");
            }
            blocks += 1;
            if blocks > MAX_END_BLOCKS {
                return violation("more than 21 blocks of zeros at the end");
            }
        }
        if blocks < 2 {
            return violation("the archive ends after one block of zeros; two are required");
        }
        self.decoder.finish()
    }
}
