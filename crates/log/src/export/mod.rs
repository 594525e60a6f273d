//! Exporting a log into a site: a directory of static files that any host can serve.
//!
//! ```text
//! checkpoint, tile/..., artifact/SHA256     as in a log's directory
//! index.html                                the releases of the log, for people
//! ```
//!
//! The order of the writes makes an export safe:
//!
//! 1. Artifacts, entries and tiles are written durably.
//! 2. The checkpoint that implies them is written. A crash at any step leaves a site with a whole
//!    log, the older or the newer.
//! 3. The page is written. Everything that it says is in the log that the site serves.
//!
//! An export removes nothing. Partial tiles of older heads stay, for clients that are reading below
//! such a head. Other files in the directory stay, too, even an `index.html` of the operator.

mod error;
mod page;
mod site;
mod site_artifacts;
mod snapshot;

pub use error::ExportError;
pub use site::{ExportSummary, MissingArtifact, export};
pub use snapshot::{LogSnapshot, LoggedVersion};
