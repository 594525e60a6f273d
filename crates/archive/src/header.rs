//! One header of an archive: 512 bytes, every one of them judged.
//!
//! POSIX.1-2017, `pax`, "ustar Interchange Format"; GNU tar 1.35, "Basic Tar Format".

use std::ops::Range;

use crate::error::quote;

/// The size of headers, and what contents are filled up to, in bytes.
pub(crate) const BLOCK_BYTES: usize = 512;

const NAME: Range<usize> = 0..100;
const MODE: Range<usize> = 100..108;
const UID: Range<usize> = 108..116;
const GID: Range<usize> = 116..124;
const SIZE: Range<usize> = 124..136;
const TIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK: Range<usize> = 157..257;
/// With the version.
const MAGIC: Range<usize> = 257..265;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const PADDING: Range<usize> = 500..512;

/// The length of [`Header::name`] and [`Header::link`] up from which more may be in an extended header.
pub(crate) const NAME_FIELD_BYTES: usize = 100;

/// What a header says, every byte of it accounted for. Names are not judged yet.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: EntryKind,
    /// The name field, up to 100 bytes.
    pub(crate) name: Vec<u8>,
    /// What goes before it, with a slash between them; or nothing.
    pub(crate) prefix: Vec<u8>,
    /// Where a link points, else nothing.
    pub(crate) link: Vec<u8>,
    /// In bytes; zero for all but files and extended headers.
    pub(crate) size: u64,
    /// Whether its owner may execute it.
    pub(crate) executable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File,
    Directory,
    Link,
    Extended,
}

impl Header {
    /// Reads a header, which is not all zeros; or says what is wrong with it.
    pub(crate) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Header, String> {
        let sum: u64 = (block.iter().enumerate())
            .map(|(i, &byte)| u64::from(if CHECKSUM.contains(&i) { b' ' } else { byte }))
            .sum();
        if parse_octal(&block[CHECKSUM], "checksum")? != sum {
            return Err("the header's checksum is wrong".to_owned());
        }
        let is_gnu = match &block[MAGIC] {
            b"ustar\x0000" => false,
            b"ustar  \0" => true,
            _ => return Err("neither a POSIX header (ustar) nor GNU's".to_owned()),
        };
        let kind = parse_kind(block[TYPE])?;
        let mode = parse_octal(&block[MODE], "mode")?;
        for (field, what) in [(UID, "user id"), (GID, "group id"), (TIME, "time")] {
            parse_octal_or_empty(&block[field], what)?;
        }
        for (field, what) in [(USER, "user name"), (GROUP, "group name")] {
            parse_text(&block[field], what)?;
        }
        for (field, what) in [(MAJOR, "device number"), (MINOR, "device number")] {
            if parse_octal_or_empty(&block[field], what)? != 0 {
                return Err("a device number on what is no device".to_owned());
            }
        }
        // GNU keeps other things there, among them the map of a sparse file.
        if is_gnu && block[PREFIX].iter().any(|&byte| byte != 0) {
            return Err("a GNU header with extensions".to_owned());
        }
        if block[PADDING].iter().any(|&byte| byte != 0) {
            return Err("the header does not end in zeros".to_owned());
        }
        if kind != EntryKind::Extended && mode & 0o7000 != 0 {
            return Err(format!("a setuid, setgid or sticky bit (mode {mode:04o})"));
        }
        if mode > 0o7777 {
            return Err(format!("mode {mode:o} is none"));
        }
        let size = parse_octal(&block[SIZE], "size")?;
        if size != 0 && !matches!(kind, EntryKind::File | EntryKind::Extended) {
            return Err(format!("{size} bytes of content on what has none"));
        }
        let link = parse_text(&block[LINK], "link target")?.to_vec();
        if link.is_empty() == (kind == EntryKind::Link) {
            let why =
                if link.is_empty() { "a link to nowhere" } else { "a link target on no link" };
            return Err(why.to_owned());
        }
        let name = parse_text(&block[NAME], "name")?;
        if name.is_empty() {
            return Err("no name".to_owned());
        }
        let prefix = if is_gnu { &[] } else { parse_text(&block[PREFIX], "prefix")? };
        Ok(Header {
            kind,
            name: name.to_vec(),
            prefix: prefix.to_vec(),
            link,
            size,
            executable: mode & 0o100 != 0,
        })
    }

    /// The path that it gives by itself.
    pub(crate) fn path(&self) -> Vec<u8> {
        match &self.prefix[..] {
            [] => self.name.clone(),
            prefix => [prefix, b"/", &self.name].concat(),
        }
    }

    /// The name in a block that may be no header at all, for a person.
    pub(crate) fn name_in(block: &[u8; BLOCK_BYTES]) -> String {
        let name = block[NAME].split(|&byte| byte == 0).next();
        quote(name.unwrap_or_default())
    }
}

fn parse_kind(flag: u8) -> Result<EntryKind, String> {
    let what = match flag {
        b'0' => return Ok(EntryKind::File),
        b'2' => return Ok(EntryKind::Link),
        b'5' => return Ok(EntryKind::Directory),
        b'x' => return Ok(EntryKind::Extended),
        b'1' => "a hard link; GNU tar stores the file instead with --hard-dereference",
        b'3' | b'4' => "a device",
        b'6' => "a fifo",
        b'g' => "a global extended header, which would change every entry after it",
        b'L' | b'K' => "a GNU long name; GNU tar writes it as POSIX does with --format=posix",
        b'S' => "a sparse file; GNU tar stores all of it without --sparse",
        _ => {
            return Err(format!("an entry of kind {}, which is not taken", quote(&[flag])));
        }
    };
    Err(what.to_owned())
}

/// Bytes up to a zero, or all; after a zero there are only zeros.
fn parse_text<'a>(field: &'a [u8], what: &str) -> Result<&'a [u8], String> {
    let length = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at(length);
    if rest.iter().any(|&byte| byte != 0) {
        return Err(format!("bytes after the end of the {what}"));
    }
    Ok(text)
}

/// Octal digits, then at least one zero or space, and nothing else.
fn parse_octal(field: &[u8], what: &str) -> Result<u64, String> {
    if field[0] & 0x80 != 0 {
        return Err(format!("the {what} is in base 256"));
    }
    let length = field.iter().position(|byte| !(b'0'..=b'7').contains(byte));
    let (digits, rest) = field.split_at(length.unwrap_or(field.len()));
    let ended = !rest.is_empty() && rest.iter().all(|byte| [0, b' '].contains(byte));
    if digits.is_empty() || !ended {
        return Err(format!("the {what} is not an octal number: {}", quote(field)));
    }
    Ok(digits.iter().fold(0, |number, digit| number << 3 | u64::from(digit - b'0')))
}

/// The same, or not filled in at all.
fn parse_octal_or_empty(field: &[u8], what: &str) -> Result<u64, String> {
    if field.iter().all(|&byte| byte == 0) { Ok(0) } else { parse_octal(field, what) }
}
