//! Extended headers: what does not fit into a header, as lines of `LENGTH KEY=VALUE`.
//!
//! POSIX.1-2017, `pax`, "pax Extended Header". Two keys count, `path` and `linkpath`. Others would
//! have one reader see another archive than the next (`size`, `GNU.sparse.*`, `hdrcharset`) or
//! carry what is not installed (`SCHILY.xattr.*`), and are refused by name.

use crate::error::quote;
use crate::header::{Header, NAME_FIELD_BYTES};

/// The most bytes of one extended header.
pub(crate) const MAX_BYTES: u64 = 8192;

/// Keys that say nothing about what is installed.
const IGNORED: [&[u8]; 7] = [b"atime", b"ctime", b"gid", b"gname", b"mtime", b"uid", b"uname"];

/// What one extended header adds to the entry after it.
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
                .ok_or("an extended header that is not lines of LENGTH KEY=VALUE")?;
            bytes = rest;
            if seen.contains(&key) {
                return Err(format!("an extended header that says {} twice", quote(key)));
            }
            seen.push(key);
            match key {
                b"path" => extension.path = Some(value.to_vec()),
                b"linkpath" => extension.link = Some(value.to_vec()),
                b"size" => {
                    return Err("a size in an extended header: it is in the header already".into());
                }
                _ if key.starts_with(b"GNU.sparse.") => {
                    return Err("a sparse file; GNU tar stores all of it without --sparse".into());
                }
                _ if IGNORED.contains(&key) => {}
                _ => return Err(format!("an extended header with {}", quote(key))),
            }
        }
        Ok(extension)
    }

    /// The path and the link target of the entry after it. A reader that knows of no extended
    /// headers has to find the beginning of the same names.
    pub(crate) fn apply(self, header: &Header) -> Result<(Vec<u8>, Vec<u8>), String> {
        let path = match self.path {
            None => header.path(),
            Some(path) if header.prefix.is_empty() && is_prefix_of(&header.name, &path) => path,
            Some(path) => {
                let (path, own) = (quote(&path), quote(&header.path()));
                return Err(format!("named {path} in its extended header, and {own} in its own"));
            }
        };
        let link = match self.link {
            None => header.link.clone(),
            Some(link) if is_prefix_of(&header.link, &link) => link,
            Some(link) => {
                let (link, own) = (quote(&link), quote(&header.link));
                return Err(format!(
                    "a link to {link} in its extended header, and to {own} in its own"
                ));
            }
        };
        Ok((path, link))
    }
}

/// Whether a field of a header is as much of a name as fits into it.
fn is_prefix_of(field: &[u8], whole: &[u8]) -> bool {
    field == &whole[..whole.len().min(NAME_FIELD_BYTES)]
}

/// The first record: its key, its value, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let digits = bytes.iter().position(|&byte| byte == b' ')?;
    let length = parse_decimal(&bytes[..digits])?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let record = record.get(digits + 1..)?.strip_suffix(b"\n")?;
    let key = record.iter().position(|&byte| byte == b'=').filter(|&length| length > 0)?;
    Some((&record[..key], &record[key + 1..], rest))
}

/// A number in one spelling, and of no more digits than a length here can have.
fn parse_decimal(digits: &[u8]) -> Option<usize> {
    let is_number = (1..=4).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if !is_number || digits[0] == b'0' {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}
