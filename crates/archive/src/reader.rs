//! Reads an archive entry by entry, each judged before anything is done with it.

use std::io::Read;

use crate::decoder::{Packed, truncated};
use crate::error::{Broken, UnpackError, quoted};
use crate::header::{BLOCK, Header, Kind};
use crate::limits::MAX_ENTRIES;
use crate::path::{Names, Path, Target};
use crate::pax::Extension;
use crate::pax::{self};
use crate::sink::Sink;
use crate::totals::Totals;

/// The most blocks of zeros at the end: two, and what fills GNU's record of twenty.
const MAX_END: usize = 21;

/// Reads all of it, and says how much there was: at most `bound`.
pub(crate) fn read<S: Sink>(
    packed: &mut Packed<impl Read>,
    bound: Totals,
    sink: &mut S,
) -> Result<Totals, UnpackError<S::Error>> {
    let mut reader = Reader { packed, bound, found: Totals { unpacked: 0, entries: 0 } };
    let mut names = Names::default();
    while let Some((entry, header, extension)) = reader.header().map_err(UnpackError::widen)? {
        reader.entry(&entry, header, extension, &mut names, sink)?;
    }
    reader.end().map_err(UnpackError::widen)?;
    Ok(reader.found)
}

struct Reader<'a, R: Read> {
    packed: &'a mut Packed<R>,
    bound: Totals,
    found: Totals,
}

/// An entry's number and its name as far as it is known, to complain about.
struct Entry {
    number: u64,
    name: String,
}

impl Entry {
    fn broken(&self, why: impl Into<String>) -> UnpackError {
        Broken { entry: Some((self.number, self.name.clone())), why: why.into() }.into()
    }
}

impl<R: Read> Reader<'_, R> {
    /// The next entry's header, with its extended header if it has one; `None` for the first block
    /// of zeros.
    fn header(&mut self) -> Result<Option<(Entry, Header, Extension)>, UnpackError> {
        let number = self.found.entries + 1;
        let mut extension = None;
        loop {
            let mut block = [0; BLOCK];
            if !self.packed.fill(&mut block)? {
                return Err(truncated());
            }
            let entry = Entry { number, name: Header::name_in(&block) };
            if block == [0; BLOCK] {
                return match extension {
                    None => Ok(None),
                    Some(_) => Err(entry.broken("an extended header without its entry")),
                };
            }
            let header = Header::read(&block).map_err(|why| entry.broken(why))?;
            if header.kind != Kind::Extended {
                return Ok(Some((entry, header, extension.unwrap_or_default())));
            }
            if extension.is_some() {
                return Err(entry.broken("a second extended header"));
            }
            if !(1..=pax::MAX_BYTES).contains(&header.size) {
                let (size, most) = (header.size, pax::MAX_BYTES);
                let why = format!("an extended header of {size} bytes; {most} are the most");
                return Err(entry.broken(why));
            }
            let mut bytes = vec![0; header.size as usize];
            if !self.packed.fill(&mut bytes)? {
                return Err(truncated());
            }
            self.filling(&entry, header.size)?;
            extension = Some(Extension::read(&bytes).map_err(|why| entry.broken(why))?);
        }
    }

    fn entry<S: Sink>(
        &mut self,
        entry: &Entry,
        header: Header,
        extension: Extension,
        names: &mut Names,
        sink: &mut S,
    ) -> Result<(), UnpackError<S::Error>> {
        let (name, target) = extension.apply(&header).map_err(|why| entry.broken(why).widen())?;
        let entry = &Entry { number: entry.number, name: quoted(&name) };
        let broken = |why: String| entry.broken(why).widen();
        self.count(entry, header.size).map_err(UnpackError::widen)?;
        let is_dir = header.kind == Kind::Directory;
        let path = Path::read(&name, is_dir).map_err(broken)?;
        names.add(&path, is_dir).map_err(broken)?;
        match header.kind {
            Kind::Directory => sink.directory(&path).map_err(UnpackError::Sink)?,
            Kind::Link => {
                let target = Target::read(&target, &path).map_err(broken)?;
                sink.link(&path, &target).map_err(UnpackError::Sink)?;
            }
            Kind::File | Kind::Extended => {
                sink.file(&path, header.executable).map_err(UnpackError::Sink)?;
                let mut left = header.size;
                while left > 0 {
                    let bytes = self.packed.next(left).map_err(UnpackError::widen)?;
                    let count = bytes.len();
                    if count == 0 {
                        return Err(truncated().widen());
                    }
                    sink.bytes(bytes).map_err(UnpackError::Sink)?;
                    self.packed.consume(count);
                    left -= count as u64;
                }
                self.filling(entry, header.size).map_err(UnpackError::widen)?;
            }
        }
        Ok(())
    }

    /// One more entry with so many bytes, if there may be.
    fn count(&mut self, entry: &Entry, size: u64) -> Result<(), UnpackError> {
        let Totals { unpacked, entries } = self.bound;
        if self.found.entries >= entries {
            let whose = if entries < MAX_ENTRIES { "that were signed" } else { "that are taken" };
            return Err(entry.broken(format!("more than the {entries} entries {whose}")));
        }
        self.found.entries += 1;
        let total = self.found.unpacked.checked_add(size).filter(|&total| total <= unpacked);
        let Some(total) = total else {
            let why = format!("more than the {unpacked} bytes unpacked that were signed");
            return Err(entry.broken(why));
        };
        self.found.unpacked = total;
        Ok(())
    }

    /// The zeros up to the next block.
    fn filling(&mut self, entry: &Entry, size: u64) -> Result<(), UnpackError> {
        let mut filling = [0; BLOCK];
        let filling = &mut filling[..size.wrapping_neg() as usize % BLOCK];
        if !filling.is_empty() && !self.packed.fill(filling)? {
            return Err(truncated());
        }
        if filling.iter().any(|&byte| byte != 0) {
            return Err(entry.broken("its last block is not filled up with zeros"));
        }
        Ok(())
    }

    /// After the first block of zeros: at least one more, not many, and nothing else.
    fn end(&mut self) -> Result<(), UnpackError> {
        let broken = |why: &str| Err(Broken { entry: None, why: why.to_owned() }.into());
        let mut blocks = 1;
        loop {
            let mut block = [0; BLOCK];
            if !self.packed.fill(&mut block)? {
                break;
            }
            if block != [0; BLOCK] {
                return broken("bytes after the block of zeros that ends the archive");
            }
            blocks += 1;
            if blocks > MAX_END {
                return broken("more zeros at the end than fill a record");
            }
        }
        if blocks < 2 {
            return broken("the archive ends after one block of zeros; two end it");
        }
        self.packed.finish()
    }
}
