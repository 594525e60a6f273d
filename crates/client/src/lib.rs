//! One cycle of the client: call the roll, read the log from mirrors, decide, fetch the release, and maybe install.
//! The order in which the client asks its mirrors is decided here; the peer role draws its own.
//!
//! The roll is called at every cycle, also when nothing is new: only the peers' larger heads
//! show that a mirror is frozen. Everything is read before anything is decided, and every
//! fact is stored only after the check it records.

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
