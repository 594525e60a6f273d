//! Runs what waits for others.

#[cfg(feature = "tor")]
use std::time::Duration;

use tokio::runtime::Builder;
#[cfg(feature = "tor")]
use tokio::runtime::Runtime;
use unanimity_report::{CommandError, Exit};

/// Runs what waits for others, on one thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    block_on_runtime(Builder::new_current_thread().enable_all(), work)
}

pub(super) fn block_on_runtime<T>(
    runtime: &mut Builder,
    work: impl Future<Output = T>,
) -> Result<T, CommandError> {
    let runtime = runtime.build();
    let runtime = runtime.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    let done = runtime.block_on(work);
    // A thread that waits for a stalled mirror is not waited for.
    runtime.shutdown_background();
    Ok(done)
}

/// How long the tasks of a run may take to notice that it is over.
#[cfg(feature = "tor")]
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// A runtime for a node at work.
#[cfg(feature = "tor")]
pub(super) fn new_runtime() -> Result<Runtime, CommandError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))
}
