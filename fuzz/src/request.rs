//! HTTP requests to a node that serves files, over a connection in memory.
//!
//! Whatever is asked, an answer is one of HTTP/1.0 or 1.1 without a date, and its status is one of those that
//! the server knows. No path reaches the files but one that begins after the first slash.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use unanimity_net::Listener;
use unanimity_net::file_server::{Bounds, Served, Shelf, serve_all};

use crate::stream::{Scripted, run};

const FILE: &[u8] = b"0123456789";

struct Files;

impl Shelf for Files {
    fn open(&self, path: &str) -> io::Result<Served> {
        match path {
            "checkpoint" => Ok(Served::fleeting(FILE.to_vec())),
            "tile/0/000" => Served::lasting(io::Cursor::new(FILE)),
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
            // The connection has its time before the listener ends.
            None => {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
    }
}

/// Checks the answers to one connection's requests; the first byte says in which pieces they come.
pub fn check(data: &[u8]) {
    let Some((&piece, requests)) = data.split_first() else { return };
    let said: Arc<Mutex<Vec<u8>>> = Arc::default();
    let piece = usize::from(piece) * usize::from(piece);
    let stream = Scripted::new(requests, piece, said.clone());
    let second = Duration::from_secs(1);
    let bounds = Bounds { connections: 1, sure: second, lasts: 60 * second, rate: None };
    let serving = serve_all(Arc::new(Files), Once(Some(stream)), bounds);
    run(serving);
    let said = said.lock().expect("one thread");
    if said.is_empty() {
        return;
    }
    let status = (said.strip_prefix(b"HTTP/1.1 "))
        .or_else(|| said.strip_prefix(b"HTTP/1.0 "))
        .and_then(|rest| rest.first_chunk::<3>());
    let status = status.expect("an answer of HTTP/1");
    assert!(
        [b"200", b"206", b"400", b"404", b"405", b"414", b"416", b"431"].contains(&status),
        "{}",
        status.escape_ascii()
    );
    let text = said.to_ascii_lowercase();
    assert!(!text.windows(7).any(|window| window == b"\ndate: "));
}
