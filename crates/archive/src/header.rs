//! The parser of tar headers. A header has 512 bytes, and the parser checks each of them.
//!
//! POSIX.1-2017, `pax`, "ustar Interchange Format"; GNU tar 1.35, "Basic Tar Format".

use std::ops::Range;

use crate::error::quote;

/// The size of a block in bytes. A header is one block; contents are padded to whole blocks.
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
/// The magic field and the version field after it.
const MAGIC: Range<usize> = 257..265;
const USER: Range<usize> = 265..297;
const GROUP: Range<usize> = 297..329;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const PREFIX: Range<usize> = 345..500;
const PADDING: Range<usize> = 500..512;

/// The size of the fields [`Header::name`] and [`Header::link`] in bytes. Longer names need an
/// extended header.
pub(crate) const NAME_FIELD_BYTES: usize = 100;

/// The content of a header whose bytes are all checked, except for the rules for names.
#[derive(Debug)]
pub(crate) struct Header {
    pub(crate) kind: EntryKind,
    /// The name field, up to 100 bytes.
    pub(crate) name: Vec<u8>,
    /// The part of the path before the name, without the slash between them. May be empty.
    pub(crate) prefix: Vec<u8>,
    /// The target of a link. Empty for other entries.
    pub(crate) link: Vec<u8>,
    /// The size of the content in bytes. Zero except for files and extended headers.
    pub(crate) size: u64,
    /// Whether the owner may execute the file.
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
    /// Parses a header. The error text names the broken rule, for people.
    ///
    /// The caller handles a block of zeros, which ends the archive and is not a header.
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
            _ => return Err("the header is neither POSIX (ustar) nor GNU".to_owned()),
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
                return Err("a device number on an entry that is not a device".to_owned());
            }
        }
        // GNU tar uses the field for other data, such as the map of a sparse file.
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
            return Err(format!("mode {mode:o} is larger than 7777"));
        }
        let size = parse_octal(&block[SIZE], "size")?;
        if size != 0 && !matches!(kind, EntryKind::File | EntryKind::Extended) {
            return Err(format!("{size} bytes of content on a directory or link"));
        }
        let link = parse_text(&block[LINK], "link target")?.to_vec();
        if link.is_empty() == (kind == EntryKind::Link) {
            let why = if link.is_empty() {
                "a link without a target"
            } else {
                "a link target on an entry that is not a link"
            };
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

    /// The path according to the header alone: prefix, slash and name.
    pub(crate) fn path(&self) -> Vec<u8> {
        match &self.prefix[..] {
            [] => self.name.clone(),
            prefix => [prefix, b"/", &self.name].concat(),
        }
    }

    /// The quoted name field of a block, for error messages. The block may be an invalid header.
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
            return Err(format!("entry kind {} is not supported", quote(&[flag])));
        }
    };
    Err(what.to_owned())
}

/// Parses a text field: the bytes up to the first zero, with only zeros after it.
fn parse_text<'a>(field: &'a [u8], what: &str) -> Result<&'a [u8], String> {
    let length = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at(length);
    if rest.iter().any(|&byte| byte != 0) {
        return Err(format!("bytes after the end of the {what}"));
    }
    Ok(text)
}

/// Parses a number field: octal digits, then one or more zero bytes or spaces.
fn parse_octal(field: &[u8], what: &str) -> Result<u64, String> {
    if field[0] & 0x80 != 0 {
        return Err(format!("the {what} is in base 256"));
    }
    let length = field.iter().position(|byte| !(b'0'..=b'7').contains(byte));
    let (digits, rest) = field.split_at(length.unwrap_or(field.len()));
    let is_terminated = !rest.is_empty() && rest.iter().all(|byte| [0, b' '].contains(byte));
    if digits.is_empty() || !is_terminated {
        return Err(format!("the {what} is not an octal number: {}", quote(field)));
    }
    Ok(digits.iter().fold(0, |number, digit| number << 3 | u64::from(digit - b'0')))
}

/// Parses a number field like [`parse_octal`]. A field of zero bytes counts as 0.
fn parse_octal_or_empty(field: &[u8], what: &str) -> Result<u64, String> {
    if field.iter().all(|&byte| byte == 0) { Ok(0) } else { parse_octal(field, what) }
}
