//! Hosts of a log's files, and what they are asked for.

use std::future::Future;
use std::io;

use unanimity_protocol::Tile;

/// Somebody who serves hash tiles: a mirror's files, or a peer that is asked. Never believed.
pub trait TileSource: Sync {
    /// The tile's bytes: 32 for each hash of its width.
    fn tile(&self, tile: Tile) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// Somebody who serves bundles of entries. Never believed.
pub trait EntrySource: Sync {
    /// The bytes of the file at a path such as [`entries_path`](unanimity_protocol::log_path::entries_path)
    /// says, at most `limit` of them; more is an error.
    fn entries(&self, path: &str, limit: u64) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}
