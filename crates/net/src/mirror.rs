//! Mirrors: hosts of static files, never trusted. HTTP over Tor, directories (`file:`), and whatever
//! a simulation plays.
//!
//! A directory may be somebody else's disk, and a network's file system can hold up whoever reads
//! it for as long as it likes. So every read is made in a thread of its own, and given up when it
//! takes too long.

use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::{
    fmt,
    io::{self},
};

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use unanimity_config::{MirrorSpec, Site};
use unanimity_log::{EntrySource, Tiles};
use unanimity_protocol::Tile;

use crate::connector::Web;
use crate::deadline::{in_time, work};
use crate::http_client::Remote;
use crate::mirror_file::{Bytes, Opened, Rest, of};
use crate::pace::FLOOR;
use crate::tls::{PinError, Tls};

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
    Web(Remote),
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

    /// The mirror of a configuration. A host is reached over `web`; without one, all that is read
    /// from it is an error.
    pub fn from_spec(spec: &MirrorSpec, web: Option<&Arc<dyn Web>>) -> Result<Mirror, PinError> {
        let web = web.cloned();
        let remote = match spec {
            MirrorSpec::Directory(directory) => return Ok(Mirror::directory(directory)),
            MirrorSpec::Site(site) => Remote::new(site.clone(), web),
            MirrorSpec::Pinned { site, pem, .. } => {
                Remote::pinned(site.clone(), web, Tls::pinned(pem)?)
            }
        };
        Ok(Mirror { name: spec.to_string(), place: Place::Web(remote) })
    }

    /// A host that is called by this name.
    pub fn named(name: impl Into<String>, site: Site, web: &Arc<dyn Web>) -> Mirror {
        let place = Place::Web(Remote::new(site, Some(web.clone())));
        Mirror { name: name.into(), place }
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

async fn read_all(remote: &Remote, path: &str, limit: u64) -> io::Result<Vec<u8>> {
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

impl Tiles for &Mirror {
    async fn tile(&self, tile: Tile) -> io::Result<Vec<u8>> {
        let limit = |tile: Tile| 32 * u64::from(tile.width);
        match self.read(&tile.path(), limit(tile)).await {
            // A partial tile may be gone once the full one exists.
            Err(error) if error.kind() == io::ErrorKind::NotFound && tile != tile.full() => {
                let mut bytes = self.read(&tile.full().path(), limit(tile.full())).await?;
                bytes.truncate(limit(tile) as usize);
                Ok(bytes)
            }
            read => read,
        }
    }
}

impl EntrySource for &Mirror {
    async fn entries(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.read(path, limit).await
    }
}
