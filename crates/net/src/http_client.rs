//! HTTP/1.1 (RFC 9112) to a mirror: one `GET` after the other on a connection, as many connections
//! as there are files in flight, all on circuits that nobody else's requests share.
//!
//! A request has a path, a host and at times a range: nothing that tells one node from another. An
//! answer that is anything but the file is an error. Nothing is followed, decoded or remembered.

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
use unanimity_config::address::url::Site;

use crate::connector::{Web, not_connected};
use crate::deadline::{READ_TIMEOUT, in_time};
use crate::pace::Pace;
use crate::tls::Tls;

/// How many header lines a request or an answer may have.
pub(crate) const MAX_HEADERS: usize = 64;
/// The most bytes of a header, and of what is read at once.
pub(crate) const MAX_BUFFER: usize = 64 * 1024;
/// Connections that are kept for the next request.
const MAX_IDLE: usize = 8;
/// A mirror that is asked over a network. Clones share connections.
#[derive(Clone)]
pub(crate) struct Remote {
    site: Arc<Site>,
    /// The network that it is reached by, if there is one.
    web: Option<Arc<dyn Web>>,
    session: Arc<Session>,
    tls: Option<Arc<Tls>>,
}

/// Connections that are nobody else's.
#[derive(Default)]
struct Session {
    web: OnceLock<Arc<dyn Web>>,
    idle: Mutex<VecDeque<SendRequest<Empty<Bytes>>>>,
}

/// A file on its way.
pub(crate) struct Body {
    incoming: Incoming,
    /// Where in the file its first byte is.
    pub(crate) begins: u64,
    pace: Pace,
    /// The connection, for the next request once this one is over.
    rest: Option<(Arc<Session>, SendRequest<Empty<Bytes>>)>,
}

impl Remote {
    pub(crate) fn new(site: Site, web: Option<Arc<dyn Web>>) -> Remote {
        Remote {
            tls: site.tls.then(|| Arc::new(Tls::web())),
            site: Arc::new(site),
            web,
            session: Arc::default(),
        }
    }

    pub(crate) fn pinned(site: Site, web: Option<Arc<dyn Web>>, tls: Tls) -> Remote {
        Remote { tls: Some(Arc::new(tls)), ..Remote::new(site, web) }
    }

    /// The same mirror with circuits and connections of its own.
    pub(crate) fn anew(&self) -> Remote {
        Remote { session: Arc::default(), ..self.clone() }
    }

    /// Asks for a file from a byte on. What comes may begin earlier ([`Body::begins`]).
    pub(crate) async fn get(&self, path: &str, from: u64, floor: u64) -> io::Result<Body> {
        loop {
            let idle = self.session.idle().pop_back();
            let (mut sender, is_used) = match idle {
                Some(mut sender) => match timeout(READ_TIMEOUT, sender.ready()).await {
                    Ok(Ok(())) => (sender, true),
                    _ => continue,
                },
                None => (in_time(self.connect()).await?, false),
            };
            let answer = sender.send_request(self.request(path, from)?);
            match timeout(READ_TIMEOUT, answer).await {
                Ok(Ok(answer)) => {
                    let begins = check(answer.status(), answer.headers(), from)?;
                    let rest = Some((self.session.clone(), sender));
                    return Ok(Body {
                        incoming: answer.into_body(),
                        begins,
                        pace: Pace::new(floor),
                        rest,
                    });
                }
                // A host ends a connection that nobody uses for a while; then there is no answer at all.
                Ok(Err(error))
                    if is_used
                        && (error.is_incomplete_message()
                            || error.is_canceled()
                            || error.is_closed()) => {}
                Ok(Err(error)) => return Err(broken(&error)),
                Err(_) => {
                    let why = format!("no answer within {READ_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, why));
                }
            }
        }
    }

    fn request(&self, path: &str, from: u64) -> io::Result<Request<Empty<Bytes>>> {
        let request = Request::get(format!("{}/{path}", self.site.prefix()))
            .header(HOST, self.site.authority())
            .header(ACCEPT_ENCODING, "identity");
        let request =
            if from > 0 { request.header(RANGE, format!("bytes={from}-")) } else { request };
        request.body(Empty::new()).map_err(io::Error::other)
    }

    async fn connect(&self) -> io::Result<SendRequest<Empty<Bytes>>> {
        let web = self.web.as_ref().ok_or_else(not_connected)?;
        let stream = self.session.web.get_or_init(|| web.apart()).connect(&self.site).await?;
        let stream = match &self.tls {
            Some(tls) => tls.connect(&self.site.host, stream).await?,
            None => stream,
        };
        let connected = Builder::new()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(stream))
            .await;
        let (sender, connection) = connected.map_err(|error| broken(&error))?;
        // It ends with the sender and the last body.
        tokio::spawn(connection);
        Ok(sender)
    }
}

impl Session {
    fn idle(&self) -> std::sync::MutexGuard<'_, VecDeque<SendRequest<Empty<Bytes>>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    /// How many bytes are still to come, if that was said.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next bytes; none at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            let frame = self.pace.wait(self.incoming.frame()).await?;
            match frame.transpose().map_err(|error| broken(&error))? {
                // A trailer may follow the bytes of a body in chunks; it is not for us.
                Some(frame) => match frame.into_data() {
                    Ok(bytes) if !bytes.is_empty() => {
                        self.pace.count(bytes.len())?;
                        return Ok(bytes);
                    }
                    _ => {}
                },
                None => {
                    if let Some((session, sender)) = self.rest.take()
                        && !sender.is_closed()
                    {
                        let mut idle = session.idle();
                        idle.push_back(sender);
                        idle.truncate(MAX_IDLE);
                    }
                    return Ok(Bytes::new());
                }
            }
        }
    }
}

/// Whether an answer is the file, and where in it it begins.
fn check(status: StatusCode, headers: &HeaderMap, from: u64) -> io::Result<u64> {
    let wrong = |kind, why: String| Err(io::Error::new(kind, why));
    let invalid = io::ErrorKind::InvalidData;
    if headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return wrong(invalid, "it was compressed, which was not asked for".to_owned());
    }
    match status {
        StatusCode::OK => Ok(0),
        StatusCode::PARTIAL_CONTENT if from > 0 => {
            let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let begin = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
            match begin.map(|(begin, _)| begin.parse() == Ok(from)) {
                Some(true) => Ok(from),
                _ => wrong(invalid, format!("not the range that was asked for: {range:?}")),
            }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => {
            wrong(io::ErrorKind::NotFound, "the mirror does not have it".to_owned())
        }
        status if status.is_redirection() => {
            wrong(invalid, format!("it points elsewhere ({status}), and nothing is followed"))
        }
        status => wrong(invalid, format!("the mirror answers {status}")),
    }
}

/// What broke, with its cause: hyper keeps that apart.
fn broken(error: &hyper::Error) -> io::Error {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    io::Error::other(format!("{error}{}", cause.unwrap_or_default()))
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.site.fmt(f)
    }
}
