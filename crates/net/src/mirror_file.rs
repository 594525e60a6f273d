//! One file of a mirror, read piece by piece.

use std::io::Read;
use std::sync::Arc;
use std::{
    fmt,
    io::{self},
};

use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use crate::deadline::work;

pub use hyper::body::Bytes as Piece;

use crate::http_client::Body;

/// The most bytes that are read at once of a large file.
pub const PIECE_BYTES: u64 = 1024 * 1024;

/// What a mirror's file is read from.
pub type Bytes = Box<dyn Read + Send>;

/// Says of which file an error is.
pub(crate) fn of(path: &str) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// A file of a mirror's, read piece by piece.
pub struct Opened {
    pub(crate) path: String,
    pub(crate) at: u64,
    pub(crate) rest: Rest,
}

pub(crate) enum Rest {
    Read {
        /// `None` once a read has failed.
        bytes: Option<Bytes>,
        /// `None` where reading takes no time.
        turn: Option<Arc<Mutex<Option<AbortHandle>>>>,
    },
    Body(Body),
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

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({}, at {})", self.path, self.at)
    }
}
