//! Deadlines for reads from a mirror.

use std::io;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

/// The deadline for one step of a read: the connection to a host, the head of its answer, or one
/// read from a directory or a function.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Fails with [`io::ErrorKind::TimedOut`] if the work takes longer than [`READ_TIMEOUT`].
pub(crate) async fn with_read_timeout<T>(
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(READ_TIMEOUT, work).await.unwrap_or_else(|_| {
        let why = format!("the mirror sent nothing within {READ_TIMEOUT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

/// Runs blocking work, on a thread of its own. After [`READ_TIMEOUT`] the thread is abandoned.
///
/// While an abandoned thread of the mirror is still busy, further work fails at once.
pub(crate) async fn run_blocking<T: Send + 'static>(
    last_read: &Mutex<Option<AbortHandle>>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let mut last = last_read.lock().await;
    if last.as_ref().is_some_and(|last| !last.is_finished()) {
        let why = "the mirror is still busy with an earlier read";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    let task = spawn_blocking(work);
    *last = Some(task.abort_handle());
    with_read_timeout(async { task.await.map_err(io::Error::other)? }).await
}
