//! A connection in memory whose other end sends prepared bytes in pieces, and then ends.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Runs a future to its end in simulated time. The future may wait only for streams in memory and
/// for timers.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// Our end of a connection whose other end follows a script.
pub struct Scripted {
    script: Vec<u8>,
    /// The number of bytes of `script` that have been read.
    at: usize,
    /// The limit of one read, in bytes.
    piece: usize,
    /// Whether the other end waits for the first bytes from our end, before it sends.
    waits: bool,
    /// The task of our end that waits for the script.
    waker: Option<Waker>,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    /// A stream whose other end sends `script`, at most `piece` bytes at once, and then ends. Bytes
    /// that our end writes are appended to `received`.
    pub fn new(script: &[u8], piece: usize, received: Arc<Mutex<Vec<u8>>>) -> Scripted {
        let (script, piece) = (script.to_vec(), piece.max(1));
        Scripted { script, at: 0, piece, waits: false, waker: None, received }
    }

    /// Lets the other end wait for the first bytes from our end, before it sends.
    #[must_use]
    pub fn answering(self) -> Scripted {
        Scripted { waits: true, ..self }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.waits {
            self.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let rest = &self.script[self.at..];
        let count = rest.len().min(self.piece).min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.received.lock().expect("one thread").extend_from_slice(bytes);
        self.waits = false;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
