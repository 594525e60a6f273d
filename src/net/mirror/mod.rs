//! Mirrors: hosts of static files, never trusted. HTTP over Tor, directories (`file:`), and whatever
//! a simulation plays.
//!
//! A directory may be somebody else's disk, and a network's file system can hold up whoever reads
//! it for as long as it likes. So every read is made in a thread of its own, and given up when it
//! takes too long.

pub mod host;
mod http;
mod race;
mod site;
#[cfg(feature = "tor")]
mod tls;

use std::fmt;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
pub use http::{FLOOR, FLOOR_WINDOW, Stream, Web};
use http::{MAX_BUFFER, MAX_HEADERS};
pub use hyper::body::Bytes as Piece;
pub use race::{PATIENCE, race, race_after};
pub use site::{Host, Site, SiteError};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

/// Where onion services serve files: the port of `http://` without one.
pub const WEB_PORT: u16 = 80;

/// How long a small file, or one piece of a large one, may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes that are read at once of a large file.
pub const PIECE_BYTES: u64 = 1024 * 1024;

/// What a mirror's file is read from.
pub type Bytes = Box<dyn Read + Send>;

type Open = dyn Fn(&str) -> io::Result<Bytes> + Send + Sync;
type Fetch = dyn Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync;

/// A place where a log's tiles and artifacts are served. Clones are the same place.
#[derive(Clone)]
pub struct Mirror {
    name: String,
    place: Place,
}

#[derive(Clone)]
enum Place {
    /// Files whose reading may block a thread.
    Files {
        open: Arc<Open>,
        /// Whoever reads has this; in it, the read that was begun last. No more than one thread can
        /// be lost to a mirror that stalls.
        turn: Arc<Mutex<Option<AbortHandle>>>,
    },
    /// Somebody who sends whole files.
    Played(Arc<Fetch>),
    /// HTTP.
    Web(http::Remote),
}

/// The text does not name a mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// A host that cannot be one.
    #[error(transparent)]
    Site(#[from] SiteError),
    /// A directory that is another one for everybody.
    #[error("{0:?} is no mirror: the directory has to be absolute: file:/absolute/directory")]
    Relative(String),
}

impl Mirror {
    /// A directory on this machine.
    pub fn directory(directory: impl Into<PathBuf>) -> Mirror {
        let directory = directory.into();
        Mirror::new(format!("file:{}", directory.display()), move |path| {
            Ok(Box::new(unanimity_storage::open_plain(&directory.join(path))?))
        })
    }

    /// Whatever opens files by their paths below a prefix. Both that and reading may block.
    pub fn new(
        name: impl Into<String>,
        open: impl Fn(&str) -> io::Result<Bytes> + Send + Sync + 'static,
    ) -> Mirror {
        let place = Place::Files { open: Arc::new(open), turn: Arc::default() };
        Mirror { name: name.into(), place }
    }

    /// A host that is asked over a network, once there is one ([`Mirror::connect`]).
    pub fn site(site: Site) -> Mirror {
        Mirror { name: site.to_string(), place: Place::Web(http::Remote::new(site)) }
    }

    /// A host that is called by this name, and asked over a network that is there already.
    pub fn named(name: impl Into<String>, site: Site, web: &Arc<dyn Web>) -> Mirror {
        let mirror = Mirror::site(site);
        mirror.connect(web);
        Mirror { name: name.into(), ..mirror }
    }

    /// The identity of the onion service that it is, if it is one.
    pub fn service(&self) -> Option<[u8; 32]> {
        match &self.place {
            Place::Web(remote) => remote.service(),
            _ => None,
        }
    }

    /// The same, if its certificate is one that these, in PEM, have signed.
    #[cfg_attr(
        not(feature = "tor"),
        expect(unused_variables, reason = "without Tor, it is never asked")
    )]
    pub fn pinned(site: Site, pem: &[u8]) -> Result<Mirror, String> {
        if !site.tls {
            return Err("only a mirror at https:// has a certificate".to_owned());
        }
        let name = site.to_string();
        #[cfg_attr(not(feature = "tor"), expect(unused_mut))]
        let mut remote = http::Remote::new(site);
        #[cfg(feature = "tor")]
        remote.pin(tls::Tls::pinned(pem).map_err(|error| error.to_string())?);
        Ok(Mirror { name, place: Place::Web(remote) })
    }

    /// Whether it is asked over a network.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Place::Web(_))
    }

    /// Says over which network it is asked, for all clones. Only the first time counts.
    pub fn connect(&self, web: &Arc<dyn Web>) {
        if let Place::Web(remote) = &self.place {
            // Whoever came first has connected it.
            remote.web.set(web.clone()).ok();
        }
    }

    /// The same mirror, on circuits and connections of its own: what is asked here and there
    /// cannot be told to come from one node.
    pub fn anew(&self) -> Mirror {
        let place = match &self.place {
            Place::Web(remote) => Place::Web(remote.anew()),
            other => other.clone(),
        };
        Mirror { name: self.name.clone(), place }
    }

    /// Whoever sends whole files, waiting without a thread.
    pub fn remote(
        name: impl Into<String>,
        fetch: impl Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync + 'static,
    ) -> Mirror {
        Mirror { name: name.into(), place: Place::Played(Arc::new(fetch)) }
    }

    /// Reads a whole file below the mirror's prefix; longer than `limit` bytes is an error.
    pub async fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = match &self.place {
            Place::Files { open, turn } => {
                let (open, at) = (open.clone(), path.to_owned());
                let read = move || {
                    let mut bytes = Vec::new();
                    open(&at)?.take(limit + 1).read_to_end(&mut bytes)?;
                    Ok(bytes)
                };
                work(turn, read).await
            }
            Place::Played(fetch) => in_time(fetch(path)).await,
            Place::Web(remote) => read_all(remote, path, limit).await,
        };
        let bytes = bytes.map_err(of(path))?;
        if bytes.len() as u64 > limit {
            let message = format!("{path} has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    /// Opens a file below the mirror's prefix, from a byte on. A mirror that cannot begin there
    /// begins earlier: see [`Opened::at`]. A host that sends fewer than `floor` bytes a second is
    /// too slow.
    pub async fn open(&self, path: &str, from: u64, floor: u64) -> io::Result<Opened> {
        let rest = match &self.place {
            Place::Files { open, turn } => {
                let (open, at) = (open.clone(), path.to_owned());
                let skip = move || {
                    let mut bytes = open(&at)?;
                    let skipped = io::copy(&mut bytes.by_ref().take(from), &mut io::sink())?;
                    if skipped == from {
                        Ok(bytes)
                    } else {
                        Err(io::ErrorKind::UnexpectedEof.into())
                    }
                };
                let bytes = work(turn, skip).await.map_err(of(path))?;
                Rest::Read { bytes: Some(bytes), turn: Some(turn.clone()) }
            }
            Place::Played(fetch) => {
                let mut bytes = Cursor::new(in_time(fetch(path)).await.map_err(of(path))?);
                bytes.set_position(from);
                Rest::Read { bytes: Some(Box::new(bytes)), turn: None }
            }
            Place::Web(remote) => {
                Rest::Body(remote.get(path, from, floor).await.map_err(of(path))?)
            }
        };
        let at = if let Rest::Body(body) = &rest { body.begins } else { from };
        Ok(Opened { path: path.to_owned(), at, rest })
    }
}

async fn read_all(remote: &http::Remote, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut body = remote.get(path, 0, FLOOR).await?;
    let announced = body.announced().unwrap_or(0);
    if announced > limit {
        let why = format!("{announced} bytes, of at most {limit}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let mut bytes = Vec::with_capacity(announced as usize);
    // Beyond the limit it is not read on; the caller says so.
    while bytes.len() as u64 <= limit {
        let next = body.next().await?;
        if next.is_empty() {
            break;
        }
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
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
    path: String,
    at: u64,
    rest: Rest,
}

enum Rest {
    Read {
        /// `None` once a read has failed.
        bytes: Option<Bytes>,
        /// `None` where reading takes no time.
        turn: Option<Arc<Mutex<Option<AbortHandle>>>>,
    },
    Body(http::Body),
}

impl Opened {
    /// Where in the file the next piece begins: where it was opened, or before.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next bytes, at most [`PIECE_BYTES`]; none at the file's end.
    pub async fn next(&mut self) -> io::Result<Piece> {
        let piece = self.rest.next().await.map_err(of(&self.path))?;
        self.at += piece.len() as u64;
        Ok(piece)
    }
}

impl Rest {
    async fn next(&mut self) -> io::Result<Piece> {
        let (bytes, turn) = match self {
            Rest::Body(body) => return body.next().await,
            Rest::Read { bytes, turn } => (bytes, turn),
        };
        let rest = bytes.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let read = move || {
            let (mut rest, mut piece) = (rest, Vec::with_capacity(PIECE_BYTES as usize));
            rest.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
            Ok((rest, piece))
        };
        let (rest, piece) = match turn {
            Some(turn) => work(turn, read).await?,
            None => read()?,
        };
        *bytes = Some(rest);
        Ok(piece.into())
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, MirrorError> {
        match text.strip_prefix("file:") {
            Some(path) if path.starts_with('/') => Ok(Mirror::directory(path)),
            Some(_) => Err(MirrorError::Relative(text.to_owned())),
            None => Ok(Mirror::site(text.parse()?)),
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
        write!(f, "Opened({}, at {})", self.path, self.at)
    }
}
