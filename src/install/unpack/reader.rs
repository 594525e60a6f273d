//! Reads an archive entry by entry, each judged before anything is done with it.

use std::io::Read;

use super::fill::Sink;
use super::header::{BLOCK, Header, Kind};
use super::packed::{Packed, truncated};
use super::path::{Names, Path, Target};
use super::pax::{self, Extension};
use super::{Broken, MAX_ENTRIES, Totals, UnpackError, quoted};

/// The most blocks of zeros at the end: two, and what fills GNU's record of twenty.
const MAX_END: usize = 21;

/// Reads all of it, and says how much there was: at most `bound`.
pub(super) fn read(
    packed: &mut Packed<impl Read>,
    bound: Totals,
    sink: &mut impl Sink,
) -> Result<Totals, UnpackError> {
    let mut reader = Reader { packed, bound, found: Totals { unpacked: 0, entries: 0 } };
    let mut names = Names::default();
    while let Some((entry, header, extension)) = reader.header()? {
        reader.entry(&entry, header, extension, &mut names, sink)?;
    }
    reader.end()?;
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

    fn entry(
        &mut self,
        entry: &Entry,
        header: Header,
        extension: Extension,
        names: &mut Names,
        sink: &mut impl Sink,
    ) -> Result<(), UnpackError> {
        let (name, target) = extension.apply(&header).map_err(|why| entry.broken(why))?;
        let entry = &Entry { number: entry.number, name: quoted(&name) };
        self.count(entry, header.size)?;
        let is_dir = header.kind == Kind::Directory;
        let path = Path::read(&name, is_dir).map_err(|why| entry.broken(why))?;
        names.add(&path, is_dir).map_err(|why| entry.broken(why))?;
        match header.kind {
            Kind::Directory => sink.directory(&path)?,
            Kind::Link => {
                let target = Target::read(&target, &path).map_err(|why| entry.broken(why))?;
                sink.link(&path, &target)?;
            }
            Kind::File | Kind::Extended => {
                sink.file(&path, header.executable)?;
                let mut left = header.size;
                while left > 0 {
                    let bytes = self.packed.next(left)?;
                    let count = bytes.len();
                    if count == 0 {
                        return Err(truncated());
                    }
                    sink.bytes(bytes)?;
                    self.packed.consume(count);
                    left -= count as u64;
                }
                self.filling(entry, header.size)?;
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
