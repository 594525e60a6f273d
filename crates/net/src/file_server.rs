//! The HTTP/1.1 file server (RFC 9112), on streams from a [`Listener`].
//!
//! The server answers `GET` and `HEAD` of files, complete or from a byte on. No answer identifies
//! the node: there is no `Server`, and no `Date`, which would show how its clock differs from others.

use std::convert::Infallible;
use std::io::{self};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    HeaderValue, RANGE,
};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Listener;
use crate::connection_limit::ConnectionLimit;
use crate::http_client::{MAX_BUFFER, MAX_HEADERS};

/// How long the head of a request may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of a file that are read at once, and so held for a slow client.
const SENT_PIECE_BYTES: usize = 16 * 1024;

/// The files that a server serves.
pub trait FileStore: Send + Sync + 'static {
    /// Opens the file at a path without its first slash. May block. The error is
    /// [`io::ErrorKind::NotFound`] if there is no such file.
    fn open(&self, path: &str) -> io::Result<ServedFile>;
}

/// A file that is ready to be sent.
pub struct ServedFile {
    length: u64,
    bytes: Box<dyn ReadSeek>,
    /// Whether the path will always have these bytes.
    is_immutable: bool,
}

trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

impl ServedFile {
    /// Makes a file whose path will always have these bytes. Clients may cache it.
    pub fn immutable(mut bytes: impl Read + Seek + Send + 'static) -> io::Result<ServedFile> {
        let length = bytes.seek(SeekFrom::End(0))?;
        Ok(ServedFile { length, bytes: Box::new(bytes), is_immutable: true })
    }

    /// Makes a file whose bytes can change, such as a log's `checkpoint`. Clients may not cache it.
    pub fn mutable(bytes: Vec<u8>) -> ServedFile {
        let length = bytes.len() as u64;
        ServedFile { length, bytes: Box::new(Cursor::new(bytes)), is_immutable: false }
    }
}

/// Limits on the connections of a file server.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// The most connections at once.
    pub max_connections: usize,
    /// The least time for which a connection is kept, however many others wait.
    pub min_hold: Duration,
    /// After this time a connection takes no further request. The answer in progress may last as
    /// long again.
    pub max_connection_age: Duration,
    /// Bytes per second for all connections together. `None`: no limit.
    pub bytes_per_second: Option<u64>,
}

/// Serves files to every client that connects, until the listener ends. The failure of a connection
/// affects no other connection.
pub async fn serve_files(
    files: Arc<impl FileStore>,
    mut listener: impl Listener,
    limits: ServerLimits,
) {
    let mut connections = ConnectionLimit::new(limits.max_connections, limits.min_hold);
    let rate = limits.bytes_per_second.map(|rate| Arc::new(RateLimiter::new(rate)));
    while let Ok(stream) = listener.accept().await {
        connections.acquire().await;
        let serving =
            serve_connection(files.clone(), stream, rate.clone(), limits.max_connection_age);
        connections.spawn(async move {
            if let Err(error) = serving.await {
                tracing::debug!("a client's connection failed: {error}");
            }
        });
    }
}

async fn serve_connection(
    files: Arc<impl FileStore>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    rate: Option<Arc<RateLimiter>>,
    max_age: Duration,
) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let (files, rate) = (files.clone(), rate.clone());
        async move { Ok::<_, Infallible>(respond(files, rate, &request).await) }
    });
    let connection = Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    match timeout(max_age, &mut connection).await {
        Ok(ended) => ended,
        // The answer in progress may last as long again. Then the client has to connect again.
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            timeout(max_age, connection).await.unwrap_or(Ok(()))
        }
    }
}

type ResponseBody = UnsyncBoxBody<Bytes, io::Error>;

fn empty_response(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

async fn respond(
    files: Arc<impl FileStore>,
    rate: Option<Arc<RateLimiter>>,
    request: &Request<Incoming>,
) -> Response<ResponseBody> {
    let method = request.method();
    if method != Method::GET && method != Method::HEAD {
        let mut refused = empty_response(StatusCode::METHOD_NOT_ALLOWED);
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let path = request.uri().path().strip_prefix('/').unwrap_or_default().to_owned();
    let from = parse_range_start(request.headers());
    let opened = spawn_blocking(move || {
        let mut served = files.open(&path)?;
        // A seek beyond the end would reveal the limits of the file system.
        if let Some(from) = from.filter(|from| *from < served.length) {
            served.bytes.seek(SeekFrom::Start(from))?;
        } else {
            served.bytes.rewind()?;
        }
        Ok::<_, io::Error>(served)
    });
    let served = match opened.await.map_err(io::Error::other).flatten() {
        Ok(served) => served,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return empty_response(StatusCode::NOT_FOUND);
        }
        Err(error) => {
            tracing::warn!("a file cannot be served: {error}");
            return empty_response(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    let (length, is_immutable) = (served.length, served.is_immutable);
    let range = from.map(|from| match from < length {
        true => Ok(format!("bytes {from}-{}/{length}", length - 1)),
        false => Err(format!("bytes */{length}")),
    });
    let left = length.saturating_sub(from.unwrap_or(0));
    let mut response = match &range {
        Some(Err(_)) => empty_response(StatusCode::RANGE_NOT_SATISFIABLE),
        _ if method == Method::HEAD => empty_response(StatusCode::OK),
        _ => Response::new(response_body(served.bytes, left, rate)),
    };
    let headers = response.headers_mut();
    if let Some(Ok(range) | Err(range)) = &range {
        headers.insert(CONTENT_RANGE, range.parse().expect("digits"));
    }
    if !matches!(range, Some(Err(_))) {
        headers.insert(CONTENT_LENGTH, left.into());
    }
    let kind = if is_immutable { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    let cache = if is_immutable { "max-age=31536000, immutable" } else { "no-store" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if matches!(range, Some(Ok(_))) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Parses `bytes=N-`, the one range that a continued download needs. A server may ignore every
/// other range (RFC 9110 section 14.2), and sends the complete file then.
fn parse_range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// Streams the next `left` bytes in pieces, each read on a blocking thread.
fn response_body(
    bytes: Box<dyn ReadSeek>,
    left: u64,
    rate: Option<Arc<RateLimiter>>,
) -> ResponseBody {
    let pieces = stream::try_unfold((bytes, left, rate), |(mut bytes, left, rate)| async move {
        if left == 0 {
            return Ok(None);
        }
        let count = left.min(SENT_PIECE_BYTES as u64);
        if let Some(rate) = &rate {
            rate.acquire(count).await;
        }
        let read = spawn_blocking(move || {
            let mut piece = vec![0; count as usize];
            bytes.read_exact(&mut piece)?;
            Ok::<_, io::Error>((piece, bytes))
        });
        let (piece, bytes) = read.await.map_err(io::Error::other).flatten()?;
        Ok(Some((Frame::data(Bytes::from(piece)), (bytes, left - count, rate))))
    });
    StreamBody::new(pieces).boxed_unsync()
}

/// A limit on the bytes per second of all connections together.
struct RateLimiter {
    per_second: u64,
    /// When the next byte is due. A connection holds the lock while it waits, so a client that
    /// disconnects while it waits uses none of the allowed bytes.
    next: Mutex<Instant>,
}

impl RateLimiter {
    fn new(per_second: u64) -> RateLimiter {
        RateLimiter { per_second: per_second.max(1), next: Mutex::new(Instant::now()) }
    }

    /// Waits until the next bytes may be sent, and reserves the time for `bytes` of them.
    async fn acquire(&self, bytes: u64) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        let duration = Duration::from_secs_f64(bytes as f64 / self.per_second as f64);
        *next = Instant::now() + duration;
    }
}
