//! The tokio runtimes of the commands.

#[cfg(feature = "tor")]
use std::time::Duration;

use tokio::runtime::Builder;
#[cfg(feature = "tor")]
use tokio::runtime::Runtime;
use unanimity_report::{CommandError, Exit};

/// Runs a future on one thread.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> Result<T, CommandError> {
    block_on_runtime(Builder::new_current_thread().enable_all(), work)
}

/// Runs a future on the runtime that `runtime` builds.
pub(super) fn block_on_runtime<T>(
    runtime: &mut Builder,
    work: impl Future<Output = T>,
) -> Result<T, CommandError> {
    let runtime = runtime.build();
    let runtime = runtime.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))?;
    let result = runtime.block_on(work);
    // This does not wait for threads, because a stalled mirror may block one.
    runtime.shutdown_background();
    Ok(result)
}

/// The time for the remaining tasks of a runtime to end.
#[cfg(feature = "tor")]
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes the runtime of a node: two worker threads.
#[cfg(feature = "tor")]
pub(super) fn new_runtime() -> Result<Runtime, CommandError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| CommandError::new(Exit::Failed, error.to_string()))
}
