//! Installation of confirmed releases: verified artifacts, the switch with its hooks and its trial,
//! the journal, recovery and roll-back.
//!
//! ```text
//! ROOT/versions/2-1.1.0/hello     the artifact, or the tree from an archive
//! ROOT/proofs/2-1.1.0             the proof bundle of this version
//! ROOT/current -> versions/2-1.1.0
//! ROOT/journal.json               good versions, the version on trial, failed versions
//! ```
//!
//! The artifact is written into a directory of its own and synced, and the directory gets the name
//! of the version. Then `current` is replaced in one step. After a kill at any point, `current` is
//! the whole old version or the whole new version.
//!
//! [`HookSettings`](unanimity_config::HookSettings) lists the operator's hooks. [`Switch`]
//! describes the steps of a switch. [`InstallRoot::recover`] describes how an interrupted trial is
//! undone, and an interrupted roll-back completed.
//!
//! Hooks run through [`process::run`], in the thread that a [`HookRunner`] chooses. This crate, and
//! the program `unanimity-install` in it, link no network code and no async runtime.
//!
//! An archive needs these extra steps before `current` is replaced:
//!
//! 1. `versions/.2-1.1.0.new/.tree` is created, and the archive is unpacked into it
//!    ([`unanimity_archive`]). The source is the open file whose length and digest were verified.
//! 2. The length and digest of the bytes read are compared with the signed ones again.
//! 3. The whole tree is synced at once.
//! 4. The tree is renamed to `versions/2-1.1.0`, `versions/.2-1.1.0.new` with the archive is
//!    removed, and `versions` is synced.

pub mod advice;
mod artifact;
mod error;
mod hangup;
mod hooks;
mod interrupt;
pub mod journal;
mod leftovers;
mod offline;
mod open_root;
mod partial_download;
pub mod permissions;
pub mod process;
mod recover;
mod refusal;
mod replay_mismatch;
mod rollback;
mod root;
mod runner;
pub mod spool;
pub mod state_dirs;
mod switch;
mod tree_sink;
pub mod verbs;

pub use artifact::{PreparedVersion, VerifiedArtifact, artifact_for, verify_artifact};
pub use error::InstallError;
pub use hangup::ignores_hangup;
pub use interrupt::Interrupt;
pub use offline::{OfflineInstallError, OfflineInstaller};
pub use open_root::{root_from_config, root_with_withdrawn};
pub use partial_download::PartialDownload;
pub use refusal::{ArtifactMismatch, InstallRefusal};
pub use replay_mismatch::ReplayMismatch;
pub use rollback::{RollbackError, RollbackOutcome};
pub use root::{InstallRoot, Installed};
pub use runner::{BlockingHookRunner, HookRunner};
pub use state_dirs::{installer_head_path, installer_state_dir};
pub use switch::{Committed, Switch};
pub use tree_sink::StorageTreeSink;
