//! Installs what every peer confirmed: versions, the switch, its trial, the journal, and the way back. Runs the
//! operator's commands around a switch; which there are is config's.
//!
//! ```text
//! ROOT/versions/2-1.1.0/hello     the artifact; or, of an archive, its tree
//! ROOT/proofs/2-1.1.0             its proof bundle
//! ROOT/current -> versions/2-1.1.0
//! ROOT/journal.json               which proved good, which is on trial, which failed
//! ```
//!
//! The artifact is written into a directory of its own, synced, and named; then `current` is
//! swapped in one step. A kill at any point leaves `current` at the old version or the new, whole.
//! [`HookSettings`](unanimity_config::Procedure) lists the operator's hooks. [`InstallDownloaded`] describes how a failed
//! version is undone.
//!
//! Hooks run through [`process::run_hook`], in the thread that a [`HookRunner`] chooses. So this crate, and the
//! program `unanimity-install` in it, link no network code and no runtime.
//!
//! An archive has these extra steps before the swap:
//!
//! 1. `versions/.2-1.1.0.new/.tree` is made anew, and everything in the archive is made in it, read
//!    from the open file whose length and digest were verified ([`unanimity_archive`]);
//! 2. the length and digest of the bytes read are compared with the signed ones again;
//! 3. the tree is synced, all of it at once;
//! 4. the tree is renamed to `versions/2-1.1.0`, `versions/.2-1.1.0.new` with the archive is removed,
//!    and `versions` is synced.

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
