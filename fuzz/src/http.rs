//! HTTP answers of a mirror, over a connection in memory.
//!
//! A read yields at most its limit, and at most the bytes that the mirror sent. An opened file
//! begins at its first byte, from an answer with status 200, or at the requested byte, from an
//! answer with status 206.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use unanimity_config::MirrorUrl;
use unanimity_net::{ByteStream, MIN_RATE, Mirror, WebConnector};

use crate::stream::{Scripted, run};

/// The limit of a read, in bytes.
const LIMIT: u64 = 512;

struct MirrorHost {
    answers: Vec<u8>,
    piece: usize,
    received: Arc<Mutex<Vec<u8>>>,
}

impl WebConnector for MirrorHost {
    fn connect<'a>(&'a self, _: &'a MirrorUrl) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        let stream = Scripted::new(&self.answers, self.piece, self.received.clone()).answering();
        Box::pin(async { Ok(Box::new(stream) as Box<dyn ByteStream>) })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        Arc::new(MirrorHost {
            answers: self.answers.clone(),
            piece: self.piece,
            received: self.received.clone(),
        })
    }
}

/// Checks two whole reads and one partial read of a mirror. The first two bytes of the input choose
/// the length of the mirror's pieces, and the first byte of the partial read.
pub fn check(data: &[u8]) {
    let Some((&[piece, from], answers)) = data.split_first_chunk::<2>() else { return };
    run(async {
        let received: Arc<Mutex<Vec<u8>>> = Arc::default();
        let piece = usize::from(piece) * usize::from(piece);
        let host = MirrorHost { answers: answers.to_vec(), piece, received: received.clone() };
        let web: Arc<dyn WebConnector> = Arc::new(host);
        let mirror = Mirror::from_url("mirror", MirrorUrl::from_onion_key([7; 32]), &web);
        // The second read reuses the connection of the first, if possible.
        let reads = [read(&mirror).await, read(&mirror).await];
        if reads[0].is_some() {
            assert!(has_status(answers, b"200"));
        }
        let sent: usize = reads.iter().flatten().sum();
        assert!(sent <= 2 * answers.len());
        check_partial_read(&mirror, u64::from(from), answers).await;
        let received = received.lock().expect("one thread");
        assert!(received.is_empty() || received.starts_with(b"GET /tile/0/000 HTTP/1.1\r\n"));
    });
}

async fn read(mirror: &Mirror) -> Option<usize> {
    let bytes = mirror.read("tile/0/000", LIMIT).await.ok()?;
    assert!(bytes.len() as u64 <= LIMIT);
    Some(bytes.len())
}

async fn check_partial_read(mirror: &Mirror, from: u64, answers: &[u8]) {
    let Ok(mut opened) = mirror.isolated().open("artifact", from, MIN_RATE).await else { return };
    assert!(opened.position() == 0 || opened.position() == from);
    assert!(has_status(answers, if opened.position() == 0 { b"200" } else { b"206" }));
    let mut sent = 0;
    while let Ok(piece) = opened.next().await
        && !piece.is_empty()
    {
        sent += piece.len();
    }
    assert!(sent <= answers.len());
}

/// Whether the mirror's bytes contain a status anywhere, because interim answers may precede the
/// final answer.
fn has_status(answers: &[u8], status: &[u8]) -> bool {
    let line = [b" ", status].concat();
    answers.windows(line.len()).any(|window| window == line)
}
