//! Mirrors: hosts of static files that are never trusted. A mirror is HTTP over Tor, a directory
//! (`file:`), or a function of a test or simulation.
//!
//! A directory may be on a network file system, which can block a reader for any time. So each read
//! runs on a thread of its own, and fails after [`READ_TIMEOUT`](crate::READ_TIMEOUT).

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
use unanimity_config::{MirrorSpec, MirrorUrl};
use unanimity_log::{EntrySource, TileSource};
use unanimity_protocol::Tile;

use crate::connector::WebConnector;
use crate::deadline::{run_blocking, with_read_timeout};
use crate::http_client::HttpClient;
use crate::min_rate::MIN_RATE;
use crate::mirror_file::{BoxedReader, FileSource, MirrorFile, with_path};
use crate::tls::{RootCertificateError, Tls};

type OpenFn = dyn Fn(&str) -> io::Result<BoxedReader> + Send + Sync;
type FetchFn = dyn Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync;

/// A host that serves a log's tiles and artifacts. Clones share connections.
#[derive(Clone)]
pub struct Mirror {
    name: String,
    backend: MirrorBackend,
}

#[derive(Clone)]
enum MirrorBackend {
    /// Files whose reads may block a thread.
    Blocking {
        open: Arc<OpenFn>,
        /// The last read of this mirror, locked while a read waits. A mirror that stalls can block
        /// one thread only.
        last_read: Arc<Mutex<Option<AbortHandle>>>,
    },
    /// An async function that fetches complete files.
    Async(Arc<FetchFn>),
    /// A host that speaks HTTP.
    Http(HttpClient),
}

impl Mirror {
    /// Makes a mirror of a directory on this machine.
    pub fn from_directory(directory: impl Into<PathBuf>) -> Mirror {
        let directory = directory.into();
        Mirror::from_blocking_fn(format!("file:{}", directory.display()), move |path| {
            Ok(Box::new(unanimity_storage::open_regular_file(&directory.join(path))?))
        })
    }

    /// Makes a mirror of a function that opens files by path. Both opening and reading may block.
    pub fn from_blocking_fn(
        name: impl Into<String>,
        open: impl Fn(&str) -> io::Result<BoxedReader> + Send + Sync + 'static,
    ) -> Mirror {
        let backend = MirrorBackend::Blocking { open: Arc::new(open), last_read: Arc::default() };
        Mirror { name: name.into(), backend }
    }

    /// Makes a mirror that a configuration names. A host is reached over `web`. Without `web`,
    /// every read from a host fails.
    pub fn from_spec(
        spec: &MirrorSpec,
        web: Option<&Arc<dyn WebConnector>>,
    ) -> Result<Mirror, RootCertificateError> {
        let web = web.cloned();
        let client = match spec {
            MirrorSpec::Directory(directory) => return Ok(Mirror::from_directory(directory)),
            MirrorSpec::Url(site) => HttpClient::new(site.clone(), web),
            MirrorSpec::Pinned { url: site, pem, .. } => {
                HttpClient::with_tls(site.clone(), web, Tls::from_pem(pem)?)
            }
        };
        Ok(Mirror { name: spec.to_string(), backend: MirrorBackend::Http(client) })
    }

    /// Makes a mirror of a host, with the given name instead of the URL.
    pub fn from_url(
        name: impl Into<String>,
        site: MirrorUrl,
        web: &Arc<dyn WebConnector>,
    ) -> Mirror {
        let backend = MirrorBackend::Http(HttpClient::new(site, Some(web.clone())));
        Mirror { name: name.into(), backend }
    }

    /// A copy of this mirror, with circuits and connections of its own. The host cannot link the
    /// requests of the original and the copy to one node.
    pub fn isolated(&self) -> Mirror {
        let backend = match &self.backend {
            MirrorBackend::Http(client) => MirrorBackend::Http(client.isolated()),
            other => other.clone(),
        };
        Mirror { name: self.name.clone(), backend }
    }

    /// Makes a mirror of an async function that fetches complete files. Waiting for it blocks no
    /// thread.
    pub fn from_async_fn(
        name: impl Into<String>,
        fetch: impl Fn(&str) -> BoxFuture<'static, io::Result<Vec<u8>>> + Send + Sync + 'static,
    ) -> Mirror {
        Mirror { name: name.into(), backend: MirrorBackend::Async(Arc::new(fetch)) }
    }

    /// Reads a complete file at a path below the mirror's prefix.
    ///
    /// The error is [`io::ErrorKind::FileTooLarge`] if the file has more than `limit` bytes, and
    /// [`io::ErrorKind::NotFound`] if the mirror does not have the file.
    pub async fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let bytes = match &self.backend {
            MirrorBackend::Blocking { open, last_read } => {
                let (open, at) = (open.clone(), path.to_owned());
                let read = move || {
                    let mut bytes = Vec::new();
                    open(&at)?.take(limit + 1).read_to_end(&mut bytes)?;
                    Ok(bytes)
                };
                run_blocking(last_read, read).await
            }
            MirrorBackend::Async(fetch) => with_read_timeout(fetch(path)).await,
            MirrorBackend::Http(client) => read_all(client, path, limit).await,
        };
        let bytes = bytes.map_err(with_path(path))?;
        if bytes.len() as u64 > limit {
            let message = format!("{path} has more than {limit} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(bytes)
    }

    /// Opens a file below the mirror's prefix from byte `from` on. A mirror that cannot begin there
    /// begins earlier: see [`MirrorFile::position`].
    ///
    /// Reading fails if a host sends fewer than `min_rate` bytes per second.
    pub async fn open(&self, path: &str, from: u64, min_rate: u64) -> io::Result<MirrorFile> {
        let source = match &self.backend {
            MirrorBackend::Blocking { open, last_read } => {
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
                let bytes = run_blocking(last_read, skip).await.map_err(with_path(path))?;
                FileSource::Blocking { reader: Some(bytes), last_read: Some(last_read.clone()) }
            }
            MirrorBackend::Async(fetch) => {
                let mut bytes =
                    Cursor::new(with_read_timeout(fetch(path)).await.map_err(with_path(path))?);
                bytes.set_position(from);
                FileSource::Blocking { reader: Some(Box::new(bytes)), last_read: None }
            }
            MirrorBackend::Http(client) => {
                FileSource::Http(client.get(path, from, min_rate).await.map_err(with_path(path))?)
            }
        };
        let position = if let FileSource::Http(file) = &source { file.start } else { from };
        Ok(MirrorFile { path: path.to_owned(), position, source })
    }
}

async fn read_all(client: &HttpClient, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let mut body = client.get(path, 0, MIN_RATE).await?;
    let announced = body.remaining().unwrap_or(0);
    if announced > limit {
        let why = format!("the mirror announces {announced} bytes, and at most {limit} are read");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let mut bytes = Vec::with_capacity(announced as usize);
    // Reading stops beyond the limit. The caller makes the error.
    while bytes.len() as u64 <= limit {
        let next = body.next().await?;
        if next.is_empty() {
            break;
        }
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
}

/// Two mirrors are equal if their names are equal.
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

impl TileSource for &Mirror {
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
