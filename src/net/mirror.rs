//! Mirrors: hosts of static files, never trusted. For now, directories (`file:`).

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A place where a log's tiles and artifacts are served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror {
    directory: PathBuf,
}

/// The text does not name a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mirror: write file:/absolute/directory (this version reads no other kind)")]
pub struct MirrorError(String);

impl Mirror {
    /// A directory on this machine.
    pub fn directory(directory: impl Into<PathBuf>) -> Mirror {
        Mirror { directory: directory.into() }
    }

    /// Reads a whole file below the mirror's prefix; longer than `limit` bytes is an error.
    pub async fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("{path} has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(bytes)
    }

    /// Opens a file below the mirror's prefix.
    pub fn open(&self, path: &str) -> io::Result<File> {
        open_plain(&self.directory.join(path))
    }
}

/// Opens a plain file and nothing else: a pipe could hold us up for ever.
pub(crate) fn open_plain(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its writer, so open without waiting and look first.
    let without_waiting = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(without_waiting).open(path)?;
    if !file.metadata()?.is_file() {
        let message = format!("{} is not a plain file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') => Ok(Mirror { directory: path.into() }),
            _ => Err(MirrorError(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file:{}", self.directory.display())
    }
}
