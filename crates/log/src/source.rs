//! Sources of a log's tiles and entries: mirrors and peers, never trusted.

use std::future::Future;
use std::io;

use unanimity_protocol::Tile;

/// A host that serves hash tiles: a mirror or a peer. Its answers are not trusted.
pub trait TileSource: Sync {
    /// Reads the tile's bytes: 32 for each hash of its width.
    fn tile(&self, tile: Tile) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// A host that serves bundles of entries. Its answers are not trusted.
pub trait EntrySource: Sync {
    /// Reads the bundle at a path from
    /// [`entries_path`](unanimity_protocol::log_path::entries_path).
    ///
    /// The error is [`io::ErrorKind::FileTooLarge`] if it has more than `limit` bytes, and
    /// [`io::ErrorKind::NotFound`] if the host does not have it.
    fn entries(&self, path: &str, limit: u64) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}
