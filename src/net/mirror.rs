//! Mirrors: hosts of static files, never trusted. For now, directories (`file:`), and whatever a
//! simulation plays.
//!
//! A directory may be somebody else's disk, and a network's file system can hold up whoever reads
//! it for as long as it likes. So every read is made in a thread of its own, and given up when it
//! takes too long.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

use crate::durable;

/// How long a small file, or one piece of a large one, may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes that are read at once of a large file.
pub const PIECE_BYTES: u64 = 256 * 1024;

/// What a mirror's file is read from.
pub type Bytes = Box<dyn Read + Send>;

type Open = dyn Fn(&str) -> io::Result<Bytes> + Send + Sync;
type Fetch = dyn Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync;

/// A place where a log's tiles and artifacts are served. Clones are the same place.
#[derive(Clone)]
pub struct Mirror {
    name: String,
    host: Host,
}

#[derive(Clone)]
enum Host {
    /// Files whose reading may block a thread.
    Files {
        open: Arc<Open>,
        /// Whoever reads has this; in it, the read that was begun last. No more than one thread can
        /// be lost to a mirror that stalls.
        turn: Arc<Mutex<Option<AbortHandle>>>,
    },
    /// Somebody who sends whole files.
    Remote(Arc<Fetch>),
}

/// The text does not name a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mirror: write file:/absolute/directory (this version reads no other kind)")]
pub struct MirrorError(String);

impl Mirror {
    /// A directory on this machine.
    pub fn directory(directory: impl Into<PathBuf>) -> Mirror {
        let directory = directory.into();
        Mirror::new(format!("file:{}", directory.display()), move |path| {
            Ok(Box::new(durable::open_plain(&directory.join(path))?))
        })
    }

    /// Whatever opens files by their paths below a prefix. Both that and reading may block.
    pub fn new(
        name: impl Into<String>,
        open: impl Fn(&str) -> io::Result<Bytes> + Send + Sync + 'static,
    ) -> Mirror {
        let host = Host::Files { open: Arc::new(open), turn: Arc::default() };
        Mirror { name: name.into(), host }
    }

    /// Whoever sends whole files, waiting without a thread.
    pub fn remote(
        name: impl Into<String>,
        fetch: impl Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync + 'static,
    ) -> Mirror {
        Mirror { name: name.into(), host: Host::Remote(Arc::new(fetch)) }
    }

    /// Reads a whole file below the mirror's prefix; longer than `limit` bytes is an error.
    pub async fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = match &self.host {
            Host::Files { open, turn } => {
                let (open, at) = (open.clone(), path.to_owned());
                let read = move || {
                    let mut bytes = Vec::new();
                    open(&at)?.take(limit + 1).read_to_end(&mut bytes)?;
                    Ok(bytes)
                };
                work(turn, read).await
            }
            Host::Remote(fetch) => in_time(fetch(path)).await,
        };
        let bytes = bytes.map_err(of(path))?;
        if bytes.len() as u64 > limit {
            let message = format!("{path} has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(bytes)
    }

    /// Opens a file below the mirror's prefix.
    pub async fn open(&self, path: &str) -> io::Result<Opened> {
        let rest = match &self.host {
            Host::Files { open, turn } => {
                let (open, at) = (open.clone(), path.to_owned());
                work(turn, move || open(&at)).await.map_err(of(path))?
            }
            Host::Remote(fetch) => {
                Box::new(Cursor::new(in_time(fetch(path)).await.map_err(of(path))?))
            }
        };
        Ok(Opened { mirror: self.clone(), path: path.to_owned(), rest: Some(rest) })
    }
}

/// Gives up what takes too long.
async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(READ_TIMEOUT, work).await.unwrap_or_else(|_| {
        let why = format!("nothing came within {READ_TIMEOUT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

/// Works on the mirror in a thread of its own, which is left to itself when it takes too long.
async fn work<T: Send + 'static>(
    turn: &Mutex<Option<AbortHandle>>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let mut last = turn.lock().await;
    if last.as_ref().is_some_and(|last| !last.is_finished()) {
        let why = "the mirror is still busy with an earlier read";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    let working = spawn_blocking(work);
    *last = Some(working.abort_handle());
    in_time(async { working.await.map_err(io::Error::other)? }).await
}

/// Says of which file an error is.
fn of(path: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// A file of a mirror's, read piece by piece.
pub struct Opened {
    mirror: Mirror,
    path: String,
    /// `None` once a read has failed.
    rest: Option<Bytes>,
}

impl Opened {
    /// The next bytes, at most [`PIECE_BYTES`]; none at the file's end.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        let rest = self.rest.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let read = move || {
            let (mut rest, mut piece) = (rest, Vec::new());
            rest.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
            Ok((rest, piece))
        };
        let (rest, piece) = match &self.mirror.host {
            Host::Files { turn, .. } => work(turn, read).await.map_err(of(&self.path))?,
            // It is here already.
            Host::Remote(_) => read()?,
        };
        self.rest = Some(rest);
        Ok(piece)
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') => Ok(Mirror::directory(path)),
            _ => Err(MirrorError(text.to_owned())),
        }
    }
}

/// By name.
impl PartialEq for Mirror {
    fn eq(&self, other: &Mirror) -> bool {
        self.name == other.name
    }
}

impl Eq for Mirror {}

impl fmt::Display for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mirror({})", self.name)
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, {})", self.mirror, self.path)
    }
}
