//! The wire: the questions and answers of peers and their frames, files from one mirror, and a server of files. Whom
//! to ask, and in which order, is the caller's.
//!
//! The seam for tests and simulators is the byte stream, so framing, limits and codec run
//! there too. A deployment gets no stream but Tor's; there is deliberately no plain TCP.

mod connection_limit;
mod connector;
mod deadline;
pub mod file_server;
mod http_client;
pub mod message;
mod min_rate;
mod mirror;
mod mirror_file;
mod stream;
mod tls;
mod transport;

pub use connection_limit::ConnectionLimit;
pub use connector::{DeferredConnector, WebConnector, isolated_connector};
pub use deadline::READ_TIMEOUT;
pub use min_rate::{MIN_RATE, RATE_WINDOW};
pub use mirror::Mirror;
pub use mirror_file::{BoxedReader, MirrorFile, PIECE_BYTES, Piece};
pub use stream::ByteStream;
pub use tls::RootCertificateError;
pub use transport::{Listener, NoTransport, Transport};
