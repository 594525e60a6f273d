//! HTTP answers of a mirror, over a connection in memory.
//!
//! A read never yields more than its limit, nor more bytes than the mirror sent. A file that was opened
//! begins at its first byte or at the one that was asked for. What is read came from an answer with
//! status 200, or 206 where a part was asked for.

use std::io;
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use unanimity_config::Site;
use unanimity_net::{FLOOR, Mirror, Stream, Web};

use crate::stream::{Scripted, run};

/// The most bytes that are read of a file.
const LIMIT: u64 = 512;

struct Host {
    answers: Vec<u8>,
    piece: usize,
    said: Arc<Mutex<Vec<u8>>>,
}

impl Web for Host {
    fn connect<'a>(&'a self, _: &'a Site) -> BoxFuture<'a, io::Result<Box<dyn Stream>>> {
        let stream = Scripted::new(&self.answers, self.piece, self.said.clone()).answering();
        Box::pin(async { Ok(Box::new(stream) as Box<dyn Stream>) })
    }

    fn apart(&self) -> Arc<dyn Web> {
        Arc::new(Host { answers: self.answers.clone(), piece: self.piece, said: self.said.clone() })
    }
}

/// Checks what one mirror answers to a whole read, and to one from a byte on. The first two bytes say
/// in which pieces the answers come, and from where on is read.
pub fn check(data: &[u8]) {
    let Some((&[piece, from], answers)) = data.split_first_chunk::<2>() else { return };
    run(async {
        let said: Arc<Mutex<Vec<u8>>> = Arc::default();
        let piece = usize::from(piece) * usize::from(piece);
        let host = Host { answers: answers.to_vec(), piece, said: said.clone() };
        let web: Arc<dyn Web> = Arc::new(host);
        let mirror = Mirror::named("mirror", Site::onion([7; 32]), &web);
        // The second uses the connection of the first, if that can be used again.
        let reads = [read(&mirror).await, read(&mirror).await];
        if reads[0].is_some() {
            assert!(has_status(answers, b"200"));
        }
        let sent: usize = reads.iter().flatten().sum();
        assert!(sent <= 2 * answers.len());
        begins_where_it_should(&mirror, u64::from(from), answers).await;
        let said = said.lock().expect("one thread");
        assert!(said.is_empty() || said.starts_with(b"GET /tile/0/000 HTTP/1.1\r\n"));
    });
}

async fn read(mirror: &Mirror) -> Option<usize> {
    let bytes = mirror.read("tile/0/000", LIMIT).await.ok()?;
    assert!(bytes.len() as u64 <= LIMIT);
    Some(bytes.len())
}

async fn begins_where_it_should(mirror: &Mirror, from: u64, answers: &[u8]) {
    let Ok(mut opened) = mirror.anew().open("artifact", from, FLOOR).await else { return };
    assert!(opened.at() == 0 || opened.at() == from);
    assert!(has_status(answers, if opened.at() == 0 { b"200" } else { b"206" }));
    let mut sent = 0;
    while let Ok(piece) = opened.next().await
        && !piece.is_empty()
    {
        sent += piece.len();
    }
    assert!(sent <= answers.len());
}

/// Whether there is a status line with this status, after any number of interim ones.
fn has_status(answers: &[u8], status: &[u8]) -> bool {
    let line = [b" ", status].concat();
    answers.windows(line.len()).any(|window| window == line)
}
