//! Mirrors: hosts of static files, never trusted. For now, directories (`file:`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::str::FromStr;

use crate::durable;

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
        durable::open_plain(&self.directory.join(path))
            .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))
    }
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
