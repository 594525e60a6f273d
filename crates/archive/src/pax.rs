//! Extended headers (POSIX.1-2017, `pax`, "pax Extended Header"): lines of `LENGTH KEY=VALUE` for
//! values that do not fit into a header.
//!
//! The reader uses two keys, `path` and `linkpath`, and ignores times and owners. It refuses every
//! other key. Some refused keys make two readers see different archives (`size`, `GNU.sparse.*`,
//! `hdrcharset`). Other refused keys carry data that is not installed (`SCHILY.xattr.*`).

use crate::error::quote;
use crate::header::{Header, NAME_FIELD_BYTES};

/// The most bytes in the content of one extended header.
pub(crate) const MAX_BYTES: u64 = 8192;

/// Keys without an effect on the installed tree.
const IGNORED: [&[u8]; 7] = [b"atime", b"ctime", b"gid", b"gname", b"mtime", b"uid", b"uname"];

/// The path and the link target in one extended header. They apply to the entry after the header.
#[derive(Debug, Default)]
pub(crate) struct ExtendedHeader {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl ExtendedHeader {
    pub(crate) fn parse(mut bytes: &[u8]) -> Result<ExtendedHeader, String> {
        let mut extension = ExtendedHeader::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        while !bytes.is_empty() {
            let (key, value, rest) = split_record(bytes)
                .ok_or("an extended header that does not consist of lines LENGTH KEY=VALUE")?;
            bytes = rest;
            if seen.contains(&key) {
                return Err(format!("an extended header with two values for {}", quote(key)));
            }
            seen.push(key);
            match key {
                b"path" => extension.path = Some(value.to_vec()),
                b"linkpath" => extension.link = Some(value.to_vec()),
                b"size" => {
                    return Err("a size in an extended header: the header already has one".into());
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err("a sparse file; GNU tar stores all of it without --sparse".into());
                }
                _ if IGNORED.contains(&key) => {}
                _ => return Err(format!("an extended header with the key {}", quote(key))),
            }
        }
        Ok(extension)
    }

    /// Returns the path and the link target of the entry with this `header`.
    ///
    /// Fails if a field of `header` differs from the first 100 bytes of the extended value. Readers
    /// without support for extended headers use that field.
    pub(crate) fn apply(self, header: &Header) -> Result<(Vec<u8>, Vec<u8>), String> {
        let path = match self.path {
            None => header.path(),
            Some(path) if header.prefix.is_empty() && is_prefix_of(&header.name, &path) => path,
            Some(path) => {
                let (path, own) = (quote(&path), quote(&header.path()));
                return Err(format!("named {path} in the extended header and {own} in the header"));
            }
        };
        let link = match self.link {
            None => header.link.clone(),
            Some(link) if is_prefix_of(&header.link, &link) => link,
            Some(link) => {
                let (link, own) = (quote(&link), quote(&header.link));
                return Err(format!(
                    "a link to {link} in the extended header and to {own} in the header"
                ));
            }
        };
        Ok((path, link))
    }
}

/// Whether `field` is the whole name, or its first 100 bytes if the name is longer.
fn is_prefix_of(field: &[u8], whole: &[u8]) -> bool {
    field == &whole[..whole.len().min(NAME_FIELD_BYTES)]
}

/// Splits off the first record: its key, its value, and the bytes after it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let digits = bytes.iter().position(|&byte| byte == b' ')?;
    let length = parse_decimal(&bytes[..digits])?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(digits + 1..)?.strip_suffix(b"\n")?;
    let key = record.iter().position(|&byte| byte == b'=').filter(|&length| length > 0)?;
    Some((&record[..key], &record[key + 1..], rest))
}

/// Parses a decimal number of one to four digits without a leading zero.
fn parse_decimal(digits: &[u8]) -> Option<usize> {
    let is_number = (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if !is_number || digits[0] == b'0' {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}
