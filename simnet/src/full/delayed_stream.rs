//! A byte stream in memory whose bytes arrive a fixed time after they were sent.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{self};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, Sleep, sleep_until};

/// One end of a byte stream with delays.
pub(super) struct DelayedStream {
    sender: Option<UnboundedSender<(Instant, Vec<u8>)>>,
    delay: Duration,
    receiver: UnboundedReceiver<(Instant, Vec<u8>)>,
    front: Option<BytesInFlight>,
}

struct BytesInFlight {
    bytes: Vec<u8>,
    read: usize,
    due: Pin<Box<Sleep>>,
}

/// Makes both ends of a stream. Bytes take `there` from the first end to the second, and `back` in
/// the other direction.
pub(super) fn delayed_stream_pair(
    there: Duration,
    back: Duration,
) -> (DelayedStream, DelayedStream) {
    let (to, at) = mpsc::unbounded_channel();
    let (from, here) = mpsc::unbounded_channel();
    let end = |sender, delay, receiver| DelayedStream {
        sender: Some(sender),
        delay,
        receiver,
        front: None,
    };
    (end(to, there, here), end(from, back, at))
}

impl AsyncRead for DelayedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(front) = &mut self.front {
                ready!(front.due.as_mut().poll(cx));
                let rest = &front.bytes[front.read..];
                let count = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..count]);
                front.read += count;
                if front.read == front.bytes.len() {
                    self.front = None;
                }
                return Poll::Ready(Ok(()));
            }
            match ready!(self.receiver.poll_recv(cx)) {
                None => return Poll::Ready(Ok(())),
                Some((_, bytes)) if bytes.is_empty() => {}
                Some((due, bytes)) => {
                    let due = Box::pin(sleep_until(due));
                    self.front = Some(BytesInFlight { bytes, read: 0, due });
                }
            }
        }
    }
}

impl AsyncWrite for DelayedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let due = Instant::now() + self.delay;
        let sent =
            self.sender.as_ref().is_some_and(|sender| sender.send((due, bytes.into())).is_ok());
        Poll::Ready(if sent { Ok(bytes.len()) } else { Err(io::ErrorKind::BrokenPipe.into()) })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sender = None;
        Poll::Ready(Ok(()))
    }
}
