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
//! 2. The checkpoint is written. A crash at any step leaves a site with a whole log: the older log
//!    or the newer log.
//! 3. The page `index.html` is written. Everything on the page is in the log that the site serves.
//!
//! An export removes no file of the site. Partial tiles of older heads stay, for clients that are
//! reading below such a head. Other files in the directory stay, too, even an `index.html` that the
//! operator wrote.

mod error;
mod page;
mod site;
mod site_artifacts;
mod snapshot;

pub use error::ExportError;
pub use site::{ExportSummary, MissingArtifact, export};
pub use snapshot::{LogSnapshot, LoggedVersion};
