//! Installing by somebody who has no network, what somebody else fetched who is not believed.
//!
//! The installer has its own memory ([`OfflineInstaller::open`]), its own list of peers, its own clock, and
//! the files of a [`SpoolReader`](crate::spool::Spool). From these it finds out again all that a cycle of the client would:
//!
//! 1. the proof bundle verifies: the publisher's threshold, the log, every peer in both rolls;
//! 2. every peer's latest cosignature is younger than `freshness`, and none is from the future;
//! 3. every entry from its own stored head to the bundle's is there, hashes to that head, comes past
//!    the pinned one, and leaves the release standing: no conflict, nothing newer in a format that it
//!    cannot read;
//! 4. the release is newer than what is installed;
//! 5. the artifact, copied to where only the installer writes, has the signed length and digest.
//!
//! Whoever fetches can therefore hold a release back for as long as `freshness`, and no longer without
//! being refused; whether there is a newer one, nobody can know who has no network.

mod error;
mod installer;
mod replay;

pub use error::OfflineInstallError;
pub use installer::OfflineInstaller;
