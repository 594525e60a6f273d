//! The audit log as files: C2SP tlog-tiles, which file holds what and in which order they are written. The writing itself
//! is storage's.
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
//! to be trusted: [`LogWriter`] makes them, [`export`] publishes them, [`EntryReader`] gives back only what hashes
//! up to a head.

mod bounds;
mod entry_reader;
mod error;
pub mod export;
mod hedge;
mod pending;
mod source;
mod tile_reader;
mod tile_store;
mod writer;

pub use bounds::MAX_GROWTH;
pub use entry_reader::{EntryReadError, EntryReader};
pub use error::{EntryError, WriteError};
pub use hedge::{HEDGE_DELAY, hedged, hedged_after};
pub use source::{EntrySource, TileSource};
pub use tile_reader::{TileReader, read_leaves};
pub use tile_store::{PendingGrowth, TileStore, write_files};
pub use writer::LogWriter;
