//! The witness as a mirror: its log as C2SP tlog-tiles over HTTP, on port 80 of its onion service,
//! for listed clients.
//!
//! ```text
//! /checkpoint                 the head, if a mirror has shown it recently and no fork has latched
//! /tile/L/N[.p/W]             the tree
//! /tile/entries/N[.p/W]       the entries below the head, as far as they are stored
//! ```
//!
//! Any client of tlog-tiles can read these files. No witness cosigns a head because of them: a
//! witness advances only along trees that its own mirrors served, and no mirror of a node may be
//! one of its peers.

use std::io::Cursor;
use std::io::{self};
use std::sync::Arc;

use unanimity_net::Listener;
use unanimity_net::file_server::{FileStore, ServedFile, ServerLimits, serve_files};
use unanimity_protocol::log_path::LogPath;
use unanimity_storage::Clock;

use crate::{MIN_CONNECTION_HOLD, STREAM_TIMEOUT, Witness};

/// Limits for the clients of the file server. A client that needs more time connects again.
pub const FILE_SERVER_LIMITS: ServerLimits = ServerLimits {
    max_connections: 32,
    min_hold: MIN_CONNECTION_HOLD,
    max_connection_age: STREAM_TIMEOUT,
    bytes_per_second: None,
};

impl<C: Clock + 'static> FileStore for Witness<C> {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        let found = match (path, LogPath::parse(path)) {
            ("checkpoint", _) => {
                let fork = self.evidence.find_unacknowledged().map_err(io::Error::other)?;
                let head = self.head().filter(|_| self.is_fresh() && fork.is_none());
                return match head {
                    Some(head) => Ok(ServedFile::mutable(head.note().as_bytes().to_vec())),
                    None => Err(io::ErrorKind::NotFound.into()),
                };
            }
            (_, Some(LogPath::Hashes(tile))) => self.read_tile(tile),
            (_, Some(LogPath::Entries { index, width })) => self.read_bundle(index, width),
            (_, None) => Ok(None),
        };
        let bytes = found.map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
        ServedFile::immutable(Cursor::new(bytes))
    }
}

impl<C: Clock + 'static> Witness<C> {
    /// Serves the log as files to every connection, until the listener ends.
    pub async fn serve_files(self: Arc<Self>, listener: impl Listener) {
        serve_files(self, listener, FILE_SERVER_LIMITS).await;
    }
}
