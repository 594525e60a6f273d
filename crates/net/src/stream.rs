//! The byte stream of a connection, as a trait object.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection: bytes in both directions.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}
