//! Reads an archive entry by entry, each judged before anything is done with it.

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

/// The most blocks of zeros at the end: two, and what fills GNU's record of twenty.
const MAX_END_BLOCKS: usize = 21;

/// Reads all of it, and says how much there was: at most `bound`.
pub(crate) fn read<S: TreeSink>(
    packed: &mut Decoder<impl Read>,
    bound: Totals,
    sink: &mut S,
) -> Result<Totals, ArchiveError<S::Error>> {
    let mut reader = ArchiveReader { packed, bound, found: Totals { unpacked: 0, entries: 0 } };
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
    packed: &'a mut Decoder<R>,
    bound: Totals,
    found: Totals,
}

/// An entry's number and its name as far as it is known, to complain about.
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
    /// The next entry's header, with its extended header if it has one; `None` for the first block
    /// of zeros.
    fn read_header(
        &mut self,
    ) -> Result<Option<(EntryLabel, Header, ExtendedHeader)>, ArchiveError> {
        let number = self.found.entries + 1;
        let mut extension = None;
        loop {
            let mut block = [0; BLOCK_BYTES];
            if !self.packed.fill(&mut block)? {
                return Err(truncated());
            }
            let entry = EntryLabel { number, name: Header::name_in(&block) };
            if block == [0; BLOCK_BYTES] {
                return match extension {
                    None => Ok(None),
                    Some(_) => Err(entry.violation("an extended header without its entry")),
                };
            }
            let header = Header::parse(&block).map_err(|why| entry.violation(why))?;
            if header.kind != EntryKind::Extended {
                return Ok(Some((entry, header, extension.unwrap_or_default())));
            }
            if extension.is_some() {
                return Err(entry.violation("a second extended header"));
            }
            if !(1..=pax::MAX_BYTES).contains(&header.size) {
                let (size, most) = (header.size, pax::MAX_BYTES);
                let why = format!("an extended header of {size} bytes; {most} are the most");
                return Err(entry.violation(why));
            }
            let mut bytes = vec![0; header.size as usize];
            if !self.packed.fill(&mut bytes)? {
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
        let broken = |why: String| entry.violation(why).with_sink_error();
        self.count_entry(entry, header.size).map_err(ArchiveError::with_sink_error)?;
        let is_dir = header.kind == EntryKind::Directory;
        let path = EntryPath::parse(&name, is_dir).map_err(broken)?;
        names.add(&path, is_dir).map_err(broken)?;
        match header.kind {
            EntryKind::Directory => sink.directory(&path).map_err(ArchiveError::Sink)?,
            EntryKind::Link => {
                let target = LinkTarget::parse(&target, &path).map_err(broken)?;
                sink.link(&path, &target).map_err(ArchiveError::Sink)?;
            }
            EntryKind::File | EntryKind::Extended => {
                sink.file(&path, header.executable).map_err(ArchiveError::Sink)?;
                let mut left = header.size;
                while left > 0 {
                    let bytes = self.packed.peek(left).map_err(ArchiveError::with_sink_error)?;
                    let count = bytes.len();
                    if count == 0 {
                        return Err(truncated().with_sink_error());
                    }
                    sink.bytes(bytes).map_err(ArchiveError::Sink)?;
                    self.packed.consume(count);
                    left -= count as u64;
                }
                self.read_padding(entry, header.size).map_err(ArchiveError::with_sink_error)?;
            }
        }
        Ok(())
    }

    /// One more entry with so many bytes, if there may be.
    fn count_entry(&mut self, entry: &EntryLabel, size: u64) -> Result<(), ArchiveError> {
        let Totals { unpacked, entries } = self.bound;
        if self.found.entries >= entries {
            let whose = if entries < MAX_ENTRIES { "that were signed" } else { "that are taken" };
            return Err(entry.violation(format!("more than the {entries} entries {whose}")));
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

    /// The zeros up to the next block.
    fn read_padding(&mut self, entry: &EntryLabel, size: u64) -> Result<(), ArchiveError> {
        let mut filling = [0; BLOCK_BYTES];
        let filling = &mut filling[..size.wrapping_neg() as usize % BLOCK_BYTES];
        if !filling.is_empty() && !self.packed.fill(filling)? {
            return Err(truncated());
        }
        if filling.iter().any(|&byte| byte != 0) {
            return Err(entry.violation("its last block is not filled up with zeros"));
        }
        Ok(())
    }

    /// After the first block of zeros: at least one more, not many, and nothing else.
    fn read_end(&mut self) -> Result<(), ArchiveError> {
        let broken = |why: &str| Err(ArchiveViolation { entry: None, why: why.to_owned() }.into());
        let mut blocks = 1;
        loop {
            let mut block = [0; BLOCK_BYTES];
            if !self.packed.fill(&mut block)? {
                break;
            }
            if block != [0; BLOCK_BYTES] {
                return broken("bytes after the block of zeros that ends the archive");
            }
            blocks += 1;
            if blocks > MAX_END_BLOCKS {
                return broken("more zeros at the end than fill a record");
            }
        }
        if blocks < 2 {
            return broken("the archive ends after one block of zeros; two end it");
        }
        self.packed.finish()
    }
}
