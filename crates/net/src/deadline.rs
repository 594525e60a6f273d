//! Work that is given up when it takes too long.

use std::io;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

/// How long a small file, or one piece of a large one, may take.
pub const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Gives up what takes too long.
pub(crate) async fn with_read_timeout<T>(
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(READ_TIMEOUT, work).await.unwrap_or_else(|_| {
        let why = format!("nothing came within {READ_TIMEOUT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

/// Works on the mirror in a thread of its own, which is left to itself when it takes too long.
pub(crate) async fn run_blocking<T: Send + 'static>(
    last_read: &Mutex<Option<AbortHandle>>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let mut last = last_read.lock().await;
    if last.as_ref().is_some_and(|last| !last.is_finished()) {
        let why = "the mirror is still busy with an earlier read";
        return Err(io::Error::new(io::ErrorKind::TimedOut, why));
    }
    let working = spawn_blocking(work);
    *last = Some(working.abort_handle());
    with_read_timeout(async { working.await.map_err(io::Error::other)? }).await
}
