//! The network protocols: messages between peers, reading files from a mirror, and a file server.
//! The caller decides which peers and mirrors to ask, and in which order.
//!
//! Tests and simulators replace only the byte stream, so framing, limits and codec run there, too.
//! In a deployment every stream goes through Tor. There is deliberately no plain TCP.

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
