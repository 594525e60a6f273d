//! A connection in memory: the other end's bytes, cut into pieces, and then its end.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Runs to its end what waits for streams in memory and for time only. Time passes at once.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(future)
}

/// One end of a connection whose other end has a script.
pub struct Scripted {
    script: Vec<u8>,
    at: usize,
    /// The most bytes of one read.
    piece: usize,
    /// Whether it waits for a first word from our end; then, who waits for that.
    waits: bool,
    waker: Option<Waker>,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    /// The other end sends `script`, at most `piece` bytes at once, and ends. What is written to it is
    /// put behind what is in `said`.
    pub fn new(script: &[u8], piece: usize, said: Arc<Mutex<Vec<u8>>>) -> Scripted {
        let (script, piece) = (script.to_vec(), piece.max(1));
        Scripted { script, at: 0, piece, waits: false, waker: None, said }
    }

    /// The other end sends nothing before something was written to it.
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
        self.said.lock().expect("one thread").extend_from_slice(bytes);
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
