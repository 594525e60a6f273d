//! Names in an archive: one spelling each, none that leads anywhere else, no two for one place.

use std::collections::BTreeMap;

use crate::error::quote;
use crate::limits::MAX_NAMES_BYTES;

/// The most bytes of a path.
pub const MAX_PATH_BYTES: usize = 1024;

/// The most bytes of one name on a path: what file systems hold.
pub const MAX_NAME_BYTES: usize = 255;

/// The most names on a path. While a tree is written, as many directories are open.
pub const MAX_DEPTH: usize = 64;

/// Where an entry goes: relative to the top of the tree, and below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryPath(String);

impl EntryPath {
    /// Reads an entry's name. A directory's may end with a slash.
    pub(crate) fn parse(bytes: &[u8], is_dir: bool) -> Result<EntryPath, String> {
        let path = parse_printable(bytes, "name")?;
        if path.starts_with('/') {
            return Err("an absolute name".to_owned());
        }
        let path = path.strip_suffix('/').filter(|_| is_dir).unwrap_or(path);
        path.split('/').try_for_each(check_name)?;
        let depth = path.split('/').count();
        if depth > MAX_DEPTH {
            return Err(format!("{depth} names deep, and {MAX_DEPTH} are the most"));
        }
        Ok(EntryPath(path.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory it is in; `None` at the top.
    fn parent(&self) -> Option<&str> {
        Some(self.0.rsplit_once('/')?.0)
    }

    /// In how many directories it is.
    fn depth(&self) -> usize {
        self.0.bytes().filter(|&byte| byte == b'/').count()
    }
}

/// Where a symbolic link leads, seen from the directory it is in: `../` some times, then names.
///
/// Nothing climbs but those at the beginning, and they start in a real directory of the tree, so
/// they cannot climb out of it. The names after them may lead through other links, each of which
/// ends in the tree by the same rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTarget(String);

impl LinkTarget {
    /// Reads the target of the link at a path.
    pub(crate) fn parse(bytes: &[u8], link: &EntryPath) -> Result<LinkTarget, String> {
        let target = parse_printable(bytes, "link target")?;
        if target.starts_with('/') {
            return Err(format!("a link to the absolute name {}", quote(bytes)));
        }
        let climbs = target.split('/').take_while(|&name| name == "..").count();
        if climbs > link.depth() {
            return Err(format!("a link out of the tree, to {}", quote(bytes)));
        }
        (target.split('/').skip(climbs))
            .try_for_each(check_name)
            .map_err(|why| format!("a link to {}: {why}", quote(bytes)))?;
        Ok(LinkTarget(target.to_owned()))
    }

    /// The target as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Text that means the same to every terminal, file system and reader.
fn parse_printable<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, String> {
    if bytes.len() > MAX_PATH_BYTES {
        return Err(format!("a {what} of {} bytes; {MAX_PATH_BYTES} are the most", bytes.len()));
    }
    if let Some(byte) = bytes.iter().find(|&&byte| !(b' '..=b'~').contains(&byte) || byte == b'\\')
    {
        let byte = byte.escape_ascii();
        return Err(format!("'{byte}' in a {what}: printable ASCII without a backslash is taken"));
    }
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// A name on a path, and neither a way elsewhere nor nothing.
fn check_name(name: &str) -> Result<(), String> {
    let why = match name {
        "" => "an empty part in a name",
        "." => "'.' in a name; for tar, name what is in a directory and not '.' itself",
        ".." => "'..' in a name",
        _ if name.len() > MAX_NAME_BYTES => {
            let length = name.len();
            return Err(format!("a part of {length} bytes; {MAX_NAME_BYTES} are the most"));
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

/// The places that are taken.
#[derive(Default)]
pub(crate) struct TakenPaths {
    /// By their names in small letters.
    taken: BTreeMap<Box<str>, Taken>,
    bytes: usize,
}

struct Taken {
    /// As it was spelt, where that is different.
    spelt: Option<Box<str>>,
    is_dir: bool,
}

impl TakenPaths {
    /// Takes a place in a directory that is there.
    pub(crate) fn add(&mut self, path: &EntryPath, is_dir: bool) -> Result<(), String> {
        if let Some(above) = path.parent() {
            match self.get(above) {
                None => return Err("its directory has no entry before it (name directories, not only the files in them)".to_owned()),
                Some((spelt, _)) if spelt != above => return Err(case_conflict(spelt)),
                Some((_, false)) => {
                    return Err(format!("{} is no directory", quote(above.as_bytes())));
                }
                Some((_, true)) => {}
            }
        }
        match self.get(path.as_str()) {
            Some((spelt, _)) if spelt == path.as_str() => {
                return Err("there is an entry of this name before it".to_owned());
            }
            Some((spelt, _)) => return Err(case_conflict(spelt)),
            None => {}
        }
        self.bytes += path.as_str().len();
        if self.bytes > MAX_NAMES_BYTES {
            return Err(format!("names of more than {MAX_NAMES_BYTES} bytes in all"));
        }
        let key = path.as_str().to_ascii_lowercase();
        let spelt = (key != path.as_str()).then(|| path.as_str().into());
        self.taken.insert(key.into(), Taken { spelt, is_dir });
        Ok(())
    }

    /// What has this name, or one alike: how that is spelt, and whether it is a directory.
    fn get(&self, path: &str) -> Option<(&str, bool)> {
        let (key, taken) = self.taken.get_key_value(&*path.to_ascii_lowercase())?;
        Some((taken.spelt.as_deref().unwrap_or(key), taken.is_dir))
    }
}

fn case_conflict(other: &str) -> String {
    format!("only the case of letters tells it from {}", quote(other.as_bytes()))
}
