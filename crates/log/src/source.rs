//! Sources of a log's tiles and entries: mirrors and peers, whose answers are not trusted.

use std::future::Future;
use std::io;

use unanimity_protocol::Tile;

/// A host that serves hash tiles: a mirror or a peer. Its answers are not trusted.
pub trait TileSource: Sync {
    /// Reads the bytes of a tile: 32 for each of its `width` hashes.
    fn tile(&self, tile: Tile) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// A host that serves bundles of entries. Its answers are not trusted.
pub trait EntrySource: Sync {
    /// Reads the bundle at a path from
    /// [`entries_path`](unanimity_protocol::log_path::entries_path).
    ///
    /// Fails with [`io::ErrorKind::FileTooLarge`] if the bundle has more than `limit` bytes, and
    /// with [`io::ErrorKind::NotFound`] if the host does not have the bundle.
    fn entries(&self, path: &str, limit: u64) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}
