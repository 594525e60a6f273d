//! One file of a mirror, read piece by piece.

use std::io::Read;
use std::sync::Arc;
use std::{
    fmt,
    io::{self},
};

use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::deadline::run_blocking;

pub use hyper::body::Bytes as Piece;

use crate::http_client::IncomingFile;

/// The most bytes that are read at once of a large file.
pub const PIECE_BYTES: u64 = 1024 * 1024;

/// What a mirror's file is read from.
pub type BoxedReader = Box<dyn Read + Send>;

/// Says of which file an error is.
pub(crate) fn with_path(path: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// A file of a mirror's, read piece by piece.
pub struct MirrorFile {
    pub(crate) path: String,
    pub(crate) position: u64,
    pub(crate) source: FileSource,
}

pub(crate) enum FileSource {
    Blocking {
        /// `None` once a read has failed.
        reader: Option<BoxedReader>,
        /// `None` where reading takes no time.
        last_read: Option<Arc<Mutex<Option<AbortHandle>>>>,
    },
    Http(IncomingFile),
}

impl MirrorFile {
    /// Where in the file the next piece begins: where it was opened, or before.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, at most [`PIECE_BYTES`]; none at the file's end.
    pub async fn next(&mut self) -> io::Result<Piece> {
        let piece = self.source.next().await.map_err(with_path(&self.path))?;
        self.position += piece.len() as u64;
        Ok(piece)
    }
}

impl FileSource {
    async fn next(&mut self) -> io::Result<Piece> {
        let (bytes, turn) = match self {
            FileSource::Http(body) => return body.next().await,
            FileSource::Blocking { reader: bytes, last_read } => (bytes, last_read),
        };
        let rest = bytes.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let read = move || {
            let (mut rest, mut piece) = (rest, Vec::with_capacity(PIECE_BYTES as usize));
            rest.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
            Ok((rest, piece))
        };
        let (rest, piece) = match turn {
            Some(turn) => run_blocking(turn, read).await?,
            None => read()?,
        };
        *bytes = Some(rest);
        Ok(piece.into())
    }
}

impl fmt::Debug for MirrorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, at {})", self.path, self.position)
    }
}
