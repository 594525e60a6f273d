//! Publishing a log: a directory of files that any static host can serve, brought up to date.
//!
//! ```text
//! checkpoint, tile/..., artifact/SHA256     as in a log's directory
//! index.html                                the same for people
//! ```
//!
//! The order is the safety, as it is in writing a log. Artifacts, entries and tiles are durable before
//! the checkpoint that implies them, so a crash at any step leaves a site that serves a whole log,
//! the older or the newer. The page comes last: all that it says is in the log that the site serves.
//!
//! Nothing is removed. Partial tiles of older heads stay, for clients that are reading below one; what
//! somebody else put there stays as well, an `index.html` of theirs included.

mod error;
mod page;
mod site;
mod site_artifacts;
mod snapshot;

pub use error::ExportError;
pub use site::{ExportSummary, MissingArtifact, export};
pub use snapshot::{LogSnapshot, LoggedVersion};
