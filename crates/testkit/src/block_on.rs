//! Futures in a test that is no future itself.

use std::future::Future;

/// What a future of files only comes to.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(future)
}
