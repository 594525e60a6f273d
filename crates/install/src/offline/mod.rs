//! The offline installer: verifies again and installs a release that an untrusted downloader left
//! in the spool.
//!
//! The installer has its own state ([`OfflineInstaller::open`]), its own peer list, and its own
//! clock. It has no network and reads the files of a [`SpoolReader`](crate::spool::SpoolReader).
//! From them it repeats every check of a client's cycle:
//!
//! 1. The proof bundle verifies: the publisher's threshold, the log, and every peer in both rounds.
//! 2. Every peer's latest cosignature is younger than `freshness`, and none is from the future.
//! 3. Every entry from the installer's stored head to the bundle's head is present. The entries
//!    hash to the bundle's head and pass the pinned head.
//! 4. No entry speaks against the release: no withdrawal, no other release of its sequence, and
//!    nothing newer in an unknown format.
//! 5. The sequence of the release is above the highest sequence that was installed here.
//! 6. The artifact, copied to a directory to which only the installer may write, has the signed
//!    length and digest.
//!
//! The downloader can therefore hold a release back, but only for as long as `freshness`. After
//! that, the installer refuses the old proof. Without a network, the installer cannot know whether
//! there is a newer release.

mod error;
mod installer;
mod replay;

pub use error::OfflineInstallError;
pub use installer::OfflineInstaller;
