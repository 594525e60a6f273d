//! A runtime for futures in synchronous tests.

use std::future::Future;

/// Runs a future that needs files and time but no network, and returns its output.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}
