//! One file of a mirror, received piece by piece.

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

/// The most bytes of a large file that are read at once: 1 MiB.
pub const PIECE_BYTES: u64 = 1024 * 1024;

/// The reader of a file that a blocking mirror opened.
pub type BoxedReader = Box<dyn Read + Send>;

/// Adds the file's path to an error.
pub(crate) fn with_path(path: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// An open file of a mirror, received piece by piece.
pub struct MirrorFile {
    pub(crate) path: String,
    pub(crate) position: u64,
    pub(crate) source: FileSource,
}

pub(crate) enum FileSource {
    Blocking {
        /// `None` once a read has failed.
        reader: Option<BoxedReader>,
        /// The mirror's last read. Other reads wait or fail while it lasts. `None` if reads do not
        /// block.
        last_read: Option<Arc<Mutex<Option<AbortHandle>>>>,
    },
    Http(IncomingFile),
}

impl MirrorFile {
    /// The position in the file at which the next piece begins. Before the first piece it may be
    /// less than requested.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Receives the next bytes, at most [`PIECE_BYTES`]. Empty at the end of the file.
    pub async fn next(&mut self) -> io::Result<Piece> {
        let piece = self.source.next().await.map_err(with_path(&self.path))?;
        self.position += piece.len() as u64;
        Ok(piece)
    }
}

impl FileSource {
    async fn next(&mut self) -> io::Result<Piece> {
        let (reader, last_read) = match self {
            FileSource::Http(body) => return body.next().await,
            FileSource::Blocking { reader, last_read } => (reader, last_read),
        };
        let rest = reader.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let read = move || {
            let (mut rest, mut piece) = (rest, Vec::with_capacity(PIECE_BYTES as usize));
            rest.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
            Ok((rest, piece))
        };
        let (rest, piece) = match last_read {
            Some(last_read) => run_blocking(last_read, read).await?,
            None => read()?,
        };
        *reader = Some(rest);
        Ok(piece.into())
    }
}

impl fmt::Debug for MirrorFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MirrorFile({}, at {})", self.path, self.position)
    }
}
