//! One cycle of the client: ask every peer, read the log, decide, download, install.
//!
//! Every cycle asks every peer, also without a new release. Only a peer's larger head shows that
//! all mirrors are frozen. A cycle reads everything before it decides anything. It stores each fact
//! only after the check that the fact records.
//!
//! This crate decides in which order the client asks its mirrors. A witness draws its own order.

mod answer_cache;
mod artifact_cache;
mod client;
mod cycle;
mod cycle_mode;
mod cycle_report;
mod cycle_status;
mod decide;
mod downloader;
mod error;
mod fill_spool;
mod hook_threads;
mod link_heads;
mod mirror_problem;
mod mirror_scores;
mod progress;
mod prove;
mod read_log;
mod record_mirrors;
mod round;
mod sources;
mod state;
mod stream;
mod tile_sources;

pub use answer_cache::{AnswerCache, Sharing};
pub use artifact_cache::ArtifactCache;
pub use client::Client;
pub use cycle_mode::CycleMode;
pub use cycle_report::{CycleOutcome, CycleReport};
pub use cycle_status::status_of;
pub use downloader::Downloader;
pub use error::{ClientError, CycleError};
pub use hook_threads::HookThreads;
pub use mirror_problem::MirrorProblem;
pub use progress::{CycleProgress, ProgressSink};
pub use round::{RetryDelays, ask_once, draw_retry_delays};
