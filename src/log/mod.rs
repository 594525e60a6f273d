//! The audit log as files: C2SP tlog-tiles, written by one and readable from anywhere.
//!
//! ```text
//! checkpoint                     the newest head, signed
//! tile/0/x001/234                256 leaf hashes of 32 bytes
//! tile/1/004.p/210               the 210 hashes that a partial tile has so far
//! tile/entries/x001/234          256 entries, each a big-endian u16 length and its bytes
//! artifact/SHA256                what manifests name, by digest
//! ```
//!
//! An entry is a signed note, so the log is also the feed of releases. No file here needs
//! to be trusted: [`writer`] makes them, [`site`] publishes them, [`reader`] gives back only what hashes
//! up to a head.

mod error;
pub mod reader;
pub mod site;
pub mod store;
pub mod writer;

pub use store::TileStore;
pub use writer::LogWriter;

use std::future::Future;
use std::io;

use unanimity_protocol::Tile;

/// Somebody who serves hash tiles: a mirror's files, or a peer that is asked. Never believed.
pub trait Tiles: Sync {
    /// The tile's bytes: 32 for each hash of its width.
    fn tile(&self, tile: Tile) -> impl Future<Output = io::Result<Vec<u8>>> + Send;
}

/// The most new entries that one reading of a log takes in, 2^22: 128 MiB of leaf hashes. A head
/// that claims more is refused: it is cheap to sign, and its entries would fill our memory.
pub const MAX_GROWTH: u64 = 1 << 22;
