//! The audit log as files (C2SP tlog-tiles): writing a log, exporting it, and reading it from hosts
//! that are not trusted.
//!
//! ```text
//! checkpoint                     the newest tree head, signed
//! tile/0/x001/234                256 leaf hashes of 32 bytes
//! tile/1/004.p/210               the 210 hashes that a partial tile has so far
//! tile/entries/x001/234          256 entries, each a big-endian u16 length and its bytes
//! artifact/SHA256                an artifact that a manifest names, by its digest
//! ```
//!
//! An entry is a signed note, such as a manifest, so the log is also the feed of releases. Clients
//! need not trust these files. [`LogWriter`] appends entries, [`export`] copies a log into a site,
//! and [`EntryReader`] returns only entries that hash up to a tree head.
//!
//! This crate decides which file holds what, and the order of the writes. `unanimity_storage`
//! makes each write durable.

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
