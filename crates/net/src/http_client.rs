//! The HTTP/1.1 client for mirrors (RFC 9112).
//!
//! One `GET` follows another on a connection, and each file in flight has its own connection. All
//! connections use circuits that carry no other traffic. A request has a path, a host and sometimes
//! a range: nothing that distinguishes one node from another. An answer that is not the file is an
//! error. The client follows no redirect, decodes no compression and stores no cookie.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{fmt, io};

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_RANGE, HOST, HeaderMap, RANGE};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use unanimity_config::address::url::MirrorUrl;

use crate::connector::{WebConnector, no_tor_error};
use crate::deadline::{READ_TIMEOUT, with_read_timeout};
use crate::min_rate::RateMonitor;
use crate::tls::Tls;

/// The most header lines of a request or an answer.
pub(crate) const MAX_HEADERS: usize = 64;
/// The most bytes that a connection buffers: of all header lines of a message, or of one read.
pub(crate) const MAX_BUFFER: usize = 64 * 1024;
/// The most connections that are kept for later requests.
const MAX_IDLE_CONNECTIONS: usize = 8;

/// A client of one mirror. Clones share connections.
#[derive(Clone)]
pub(crate) struct HttpClient {
    site: Arc<MirrorUrl>,
    /// The way to the mirror. `None` if there is no Tor.
    web: Option<Arc<dyn WebConnector>>,
    pool: Arc<ConnectionPool>,
    tls: Option<Arc<Tls>>,
}

/// The connections to one mirror, on circuits of their own.
#[derive(Default)]
struct ConnectionPool {
    web: OnceLock<Arc<dyn WebConnector>>,
    idle: Mutex<VecDeque<SendRequest<Empty<Bytes>>>>,
}

/// A file that is being received.
pub(crate) struct IncomingFile {
    incoming: Incoming,
    /// The position in the file of the first byte that is received.
    pub(crate) start: u64,
    rate_monitor: RateMonitor,
    /// The connection. It goes back to the pool when the file is complete.
    connection: Option<(Arc<ConnectionPool>, SendRequest<Empty<Bytes>>)>,
}

impl HttpClient {
    pub(crate) fn new(site: MirrorUrl, web: Option<Arc<dyn WebConnector>>) -> HttpClient {
        HttpClient {
            tls: site.tls.then(|| Arc::new(Tls::with_public_roots())),
            site: Arc::new(site),
            web,
            pool: Arc::default(),
        }
    }

    pub(crate) fn with_tls(
        site: MirrorUrl,
        web: Option<Arc<dyn WebConnector>>,
        tls: Tls,
    ) -> HttpClient {
        HttpClient { tls: Some(Arc::new(tls)), ..HttpClient::new(site, web) }
    }

    /// Another client of this mirror, with its own circuits and connections.
    pub(crate) fn isolated(&self) -> HttpClient {
        HttpClient { pool: Arc::default(), ..self.clone() }
    }

    /// Requests a file from byte `from` on. The answer may begin earlier: see
    /// [`IncomingFile::start`]. Receiving fails if the host sends fewer than `min_rate` bytes per
    /// second.
    pub(crate) async fn get(
        &self,
        path: &str,
        from: u64,
        min_rate: u64,
    ) -> io::Result<IncomingFile> {
        loop {
            let idle = self.pool.lock_idle().pop_back();
            let (mut sender, is_used) = match idle {
                Some(mut sender) => match timeout(READ_TIMEOUT, sender.ready()).await {
                    Ok(Ok(())) => (sender, true),
                    _ => continue,
                },
                None => (with_read_timeout(self.connect()).await?, false),
            };
            let answer = sender.send_request(self.build_request(path, from)?);
            match timeout(READ_TIMEOUT, answer).await {
                Ok(Ok(answer)) => {
                    let start = check_response(answer.status(), answer.headers(), from)?;
                    let connection = Some((self.pool.clone(), sender));
                    return Ok(IncomingFile {
                        incoming: answer.into_body(),
                        start,
                        rate_monitor: RateMonitor::new(min_rate),
                        connection,
                    });
                }
                // The host has closed an idle connection, so there was no answer. Try another one.
                Ok(Err(error))
                    if is_used
                        && (error.is_incomplete_message()
                            || error.is_canceled()
                            || error.is_closed()) => {}
                Ok(Err(error)) => return Err(to_io_error(&error)),
                Err(_) => {
                    let why = format!("no answer within {READ_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
        }
    }

    fn build_request(&self, path: &str, from: u64) -> io::Result<Request<Empty<Bytes>>> {
        let request = Request::get(format!("{}/{path}", self.site.prefix()))
            .header(HOST, self.site.authority())
            .header(ACCEPT_ENCODING, "identity");
        let request =
            if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
        request.body(Empty::new()).map_err(io::Error::other)
    }

    async fn connect(&self) -> io::Result<SendRequest<Empty<Bytes>>> {
        let no_tor = || no_tor_error("this program was built without Tor");
        let web = self.web.as_ref().ok_or_else(no_tor)?;
        let stream = self.pool.web.get_or_init(|| web.isolated()).connect(&self.site).await?;
        let stream = match &self.tls {
            Some(tls) => tls.connect(&self.site.host, stream).await?,
            None => stream,
        };
        let connected = Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = connected.map_err(|error| to_io_error(&error))?;
        // The task ends with the sender and the last body.
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl ConnectionPool {
    fn lock_idle(&self) -> std::sync::MutexGuard<'_, VecDeque<SendRequest<Empty<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IncomingFile {
    /// The bytes that are still to come, if the host has announced them.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// Receives the next bytes. Empty at the end of the file.
    pub(crate) async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            let frame = self.rate_monitor.wait_for(self.incoming.frame()).await?;
            match frame.transpose().map_err(|error| to_io_error(&error))? {
                // A trailer may follow a chunked body. It is ignored.
                Some(frame) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => {
                        self.rate_monitor.count_bytes(bytes.len())?;
                        return Ok(bytes);
                    }
                    _ => {}
                },
                None => {
                    if let Some((pool, sender)) = self.connection.take()
                        && !sender.is_closed()
                    {
                        let mut idle = pool.lock_idle();
                        idle.push_back(sender);
                        idle.truncate(MAX_IDLE_CONNECTIONS);
                    }
                    return Ok(Bytes::new());
                }
            }
        }
    }
}

/// Checks that an answer is the file. Returns the position in the file at which it begins.
fn check_response(status: StatusCode, headers: &HeaderMap, from: u64) -> io::Result<u64> {
    let refused = |kind, why: String| Err(io::Error::new(kind, why));
    let invalid = io::ErrorKind::InvalidData;
    if headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return refused(
            invalid,
            "the mirror sent it compressed, which was not requested".to_owned(),
        );
    }
    match status {
        StatusCode::OK => Ok(0),
        StatusCode::PARTIAL_CONTENT if from > 0 => {
            let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let start = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
            match start.map(|(start, _)| start.parse() == Ok(from)) {
                Some(true) => Ok(from),
                _ => refused(
                    invalid,
                    format!("the mirror sent another range than requested: {range:?}"),
                ),
            }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            refused(io::ErrorKind::NotFound, "the mirror does not have it".to_owned())
        }
        status if status.is_redirection() => {
            refused(invalid, format!("the mirror redirects ({status}), and redirects are refused"))
        }
        status => refused(invalid, format!("the mirror answers {status}")),
    }
}

/// Converts an error of hyper, and adds the error's cause to the message.
fn to_io_error(error: &hyper::Error) -> io::Error {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    io::Error::other(format!("{error}{}", cause.unwrap_or_default()))
}

impl fmt::Display for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
