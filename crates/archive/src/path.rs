//! Names and link targets in an archive. Each path has one spelling, and no path leads out of the
//! tree.

use std::collections::BTreeMap;

use crate::error::quote;
use crate::limits::MAX_NAMES_BYTES;

/// The most bytes of a path.
pub const MAX_PATH_BYTES: usize = 1024;

/// The most bytes of one name on a path: the limit of common file systems.
pub const MAX_NAME_BYTES: usize = 255;

/// The most names on a path. While a tree is written, up to this number of directories are open.
pub const MAX_DEPTH: usize = 64;

/// The path of an entry: relative to the root of the tree, and below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryPath(String);

impl EntryPath {
    /// Parses the name of an entry. The name of a directory may end with a slash.
    pub(crate) fn parse(bytes: &[u8], is_dir: bool) -> Result<EntryPath, String> {
        let path = parse_printable(bytes, "name")?;
        if path.starts_with('/') {
            return Err("an absolute name".to_owned());
        }
        let path = path.strip_suffix('/').filter(|_| is_dir).unwrap_or(path);
        path.split('/').try_for_each(|part| check_part(part, PathKind::Name))?;
        let depth = path.split('/').count();
        if depth > MAX_DEPTH {
            return Err(format!("a path of {depth} names; {MAX_DEPTH} are the most"));
        }
        Ok(EntryPath(path.to_owned()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that contains the entry. `None` if that directory is the root of the tree.
    fn parent(&self) -> Option<&str> {
        Some(self.0.rsplit_once('/')?.0)
    }

    /// The number of directories above the entry.
    fn depth(&self) -> usize {
        self.0.bytes().filter(|&byte| byte == b'/').count()
    }
}

/// The target of a symbolic link, relative to the directory of the link: `../` repeated, then
/// names.
///
/// The target has at most one `..` for each directory above the link. The first `..` starts in a
/// real directory of the tree, so the `..` parts stay in the tree. The names after these parts may
/// lead through other links, and the target of each such link stays in the tree by the same rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTarget(String);

impl LinkTarget {
    /// Parses the target of the link at the path `link`.
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
            .try_for_each(|part| check_part(part, PathKind::LinkTarget))
            .map_err(|why| format!("a link to {}: {why}", quote(bytes)))?;
        Ok(LinkTarget(target.to_owned()))
    }

    /// The target as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Parses a text of at most [`MAX_PATH_BYTES`] printable ASCII characters without a backslash.
///
/// Every terminal, file system and reader of archives interprets such a text alike.
fn parse_printable<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, String> {
    if bytes.len() > MAX_PATH_BYTES {
        return Err(format!("a {what} of {} bytes; {MAX_PATH_BYTES} are the most", bytes.len()));
    }
    if let Some(byte) = bytes.iter().find(|&&byte| !(b' '..=b'~').contains(&byte) || byte == b'\\')
    {
        let byte = byte.escape_ascii();
        return Err(format!(
            "'{byte}' in a {what}: only printable ASCII without a backslash is accepted"
        ));
    }
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}

/// What a path is in the archive.
#[derive(Clone, Copy)]
enum PathKind {
    Name,
    LinkTarget,
}

/// Refuses an empty or too long part of a path, `.` and `..`.
fn check_part(part: &str, kind: PathKind) -> Result<(), String> {
    let why = match (part, kind) {
        ("", PathKind::Name) => "an empty part in a name",
        ("", PathKind::LinkTarget) => "an empty part in a link target",
        (".", PathKind::Name) => {
            "'.' in a name; give tar the entries of the directory, not '.' itself"
        }
        (".", PathKind::LinkTarget) => "'.' in a link target; write the target without '.'",
        ("..", PathKind::Name) => "'..' in a name",
        ("..", PathKind::LinkTarget) => "'..' after a name",
        _ if part.len() > MAX_NAME_BYTES => {
            let length = part.len();
            return Err(format!("a part of {length} bytes; {MAX_NAME_BYTES} are the most"));
        }
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

/// The paths of the entries read so far, to refuse duplicates and missing directories.
#[derive(Default)]
pub(crate) struct TakenPaths {
    /// The entries by their paths in lower case.
    taken: BTreeMap<Box<str>, Taken>,
    bytes: usize,
}

struct Taken {
    /// The path as the archive spells it, if it has upper-case letters.
    spelt: Option<Box<str>>,
    is_dir: bool,
}

impl TakenPaths {
    /// Adds the path of an entry. The directory above it must have an entry already.
    pub(crate) fn add(&mut self, path: &EntryPath, is_dir: bool) -> Result<(), String> {
        if let Some(above) = path.parent() {
            match self.get(above) {
                None => {
                    let why = "its directory has no entry before it; give tar the directory, too";
                    return Err(why.to_owned());
                }
                Some((spelt, _)) if spelt != above => return Err(case_conflict(spelt)),
                Some((_, false)) => {
                    return Err(format!("{} is not a directory", quote(above.as_bytes())));
                }
                Some((_, true)) => {}
            }
        }
        match self.get(path.as_str()) {
            Some((spelt, _)) if spelt == path.as_str() => {
                return Err("a second entry of this name".to_owned());
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

    /// Finds an entry by its path, regardless of letter case. Returns the entry's own spelling of
    /// the path, and whether the entry is a directory.
    fn get(&self, path: &str) -> Option<(&str, bool)> {
        let (key, taken) = self.taken.get_key_value(&*path.to_ascii_lowercase())?;
        Some((taken.spelt.as_deref().unwrap_or(key), taken.is_dir))
    }
}

fn case_conflict(other: &str) -> String {
    format!("the name differs from {} only in letter case", quote(other.as_bytes()))
}
