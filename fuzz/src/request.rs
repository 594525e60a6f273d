//! HTTP requests to a node that serves files, over a connection in memory.
//!
//! The first answer is HTTP/1.0 or 1.1, and has a status that the server documents. No answer has a
//! date. The file store gets the requested path without its first slash.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unanimity_net::Listener;
use unanimity_net::file_server::{FileStore, ServedFile, ServerLimits, serve_files};

use crate::stream::{Scripted, run};

const FILE: &[u8] = b"0123456789";

struct Files;

impl FileStore for Files {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        match path {
            "checkpoint" => Ok(ServedFile::mutable(FILE.to_vec())),
            "tile/0/000" => ServedFile::immutable(io::Cursor::new(FILE)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

struct Once(Option<Scripted>);

impl Listener for Once {
    type Stream = Scripted;

    async fn accept(&mut self) -> io::Result<Scripted> {
        match self.0.take() {
            Some(stream) => Ok(stream),
            // The listener fails only after the connection has reached its maximum age.
            None => {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }
}

/// Checks the answers to one connection's requests. The first byte chooses the length of the pieces
/// in which the requests arrive.
pub fn check(data: &[u8]) {
    let Some((&piece, requests)) = data.split_first() else { return };
    let sent: Arc<Mutex<Vec<u8>>> = Arc::default();
    let piece = usize::from(piece) * usize::from(piece);
    let stream = Scripted::new(requests, piece, sent.clone());
    let second = Duration::from_secs(1);
    let limits = ServerLimits {
        max_connections: 1,
        min_hold: second,
        max_connection_age: 60 * second,
        bytes_per_second: None,
    };
    let serving = serve_files(Arc::new(Files), Once(Some(stream)), limits);
    run(serving);
    let sent = sent.lock().expect("one thread");
    if sent.is_empty() {
        return;
    }
    let status = (sent.strip_prefix(b"HTTP/1.1 "))
        .or_else(|| sent.strip_prefix(b"HTTP/1.0 "))
        .and_then(|rest| rest.first_chunk::<3>());
    let status = status.expect("an answer of HTTP/1");
    assert!(
        [b"200", b"206", b"400", b"404", b"405", b"414", b"416", b"431"].contains(&status),
        "{}",
        status.escape_ascii()
    );
    let text = sent.to_ascii_lowercase();
    assert!(!text.windows(7).any(|window| window == b"\ndate: "));
}
