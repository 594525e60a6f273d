//! The file server: its answers, its limits, and clients that misuse it.

use std::io::Cursor;
use std::io::{self};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, timeout};
use unanimity_client::ArtifactCache;
use unanimity_config::OnionAddress;
use unanimity_net::Transport as _;
use unanimity_net::file_server::{FileStore, ServedFile, ServerLimits, serve_files};
use unanimity_protocol::Hash;
use unanimity_storage::Storage;
use unanimity_testkit::MemoryNetwork;
use unanimity_testkit::sample_artifact::sample_artifact;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{HOUR, MINUTE, SECOND};

const LIMITS: ServerLimits = ServerLimits {
    max_connections: 3,
    min_hold: SECOND,
    max_connection_age: MINUTE,
    bytes_per_second: None,
};

/// A few files with fixed bytes, and one that cannot be opened.
struct FixedFiles;

impl FileStore for FixedFiles {
    fn open(&self, path: &str) -> io::Result<ServedFile> {
        match path {
            "ten" => ServedFile::immutable(Cursor::new(b"0123456789".to_vec())),
            "large" => ServedFile::immutable(Cursor::new(vec![7; 1 << 20])),
            "now" => Ok(ServedFile::mutable(b"now".to_vec())),
            "broken" => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

struct TestServer(MemoryNetwork);

impl TestServer {
    fn start(limits: ServerLimits) -> TestServer {
        let network = MemoryNetwork::default();
        tokio::spawn(serve_files(Arc::new(FixedFiles), network.listen(address()), limits));
        TestServer(network)
    }

    async fn connect(&self) -> DuplexStream {
        self.0.dial(&address()).await.unwrap()
    }

    /// Sends these bytes on a new connection and returns everything that comes back, in lower case.
    async fn exchange_raw(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        // The server may close the connection before it has read everything.
        stream.write_all(request.as_bytes()).await.ok();
        let mut answer = Vec::new();
        timeout(HOUR, stream.read_to_end(&mut answer)).await.unwrap().ok();
        String::from_utf8_lossy(&answer).to_lowercase()
    }
}

fn address() -> OnionAddress {
    OnionAddress { key: [1; 32], port: 80 }
}

fn get(path: &str, more: &str) -> String {
    format!("GET /{path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n")
}

#[tokio::test(start_paused = true)]
async fn server_answers_full_files_ranges_and_cache_lifetimes() {
    let host = TestServer::start(LIMITS);
    for (request, status, lines, body) in [
        (
            get("ten", ""),
            "200 ok",
            &["content-length: 10", "immutable", "accept-ranges: bytes"][..],
            "0123456789",
        ),
        (get("now", ""), "200 ok", &["content-length: 3", "cache-control: no-store"], "now"),
        (
            get("ten", "Range: bytes=4-\r\n"),
            "206 partial content",
            &["content-length: 6", "content-range: bytes 4-9/10"],
            "456789",
        ),
        (
            get("ten", "Range: bytes=0-\r\n"),
            "206 partial content",
            &["content-range: bytes 0-9/10"],
            "0123456789",
        ),
        (
            get("ten", "Range: bytes=10-\r\n"),
            "416 range not satisfiable",
            &["content-range: bytes */10"],
            "",
        ),
        (get("ten", "Range: bytes=99999999999999999999-\r\n"), "200 ok", &[], "0123456789"),
        (get("ten", "Range: bytes=18446744073709551615-\r\n"), "416 ", &[], ""),
        (get("ten", "Range: bytes=1-2\r\n"), "200 ok", &[], "0123456789"),
        (get("ten", "Range: bytes=-2\r\n"), "200 ok", &[], "0123456789"),
        (get("ten", "").replace("GET", "HEAD"), "200 ok", &["content-length: 10"], ""),
        (
            get("ten", "").replace("GET", "POST"),
            "405 method not allowed",
            &["allow: get, head"],
            "",
        ),
        (get("ten", "").replace("GET", "DELETE"), "405 ", &[], ""),
        (get("nine", ""), "404 not found", &["content-length: 0"], ""),
        (get("broken", ""), "500 ", &[], ""),
        ("rubbish\r\n\r\n".to_owned(), "400 ", &[], ""),
    ] {
        let answer = host.exchange_raw(&request).await;
        let (head, found) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{request}{head}");
        for line in lines {
            assert!(head.contains(line), "{request}{head}");
        }
        assert_eq!(found, body, "{request}");
        assert!(!head.contains("date:") && !head.contains("server:"), "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn stalling_or_flooding_clients_do_not_block_others() {
    let host = TestServer::start(LIMITS);
    // The client sends nothing, or half of a request.
    for begun in ["", "GET /ten HT"] {
        let began = Instant::now();
        host.exchange_raw(begun).await;
        assert_eq!(began.elapsed(), Duration::from_secs(30), "{begun:?}");
    }
    // The client sends too many header lines, or one that is too long.
    let lines = get("ten", &"X: y\r\n".repeat(65));
    assert!(host.exchange_raw(&lines).await.starts_with("http/1.1 431"));
    let long = get("ten", &format!("X: {}\r\n", "y".repeat(70_000)));
    assert!(host.exchange_raw(&long).await.starts_with("http/1.1 431"));
    // Clients use all connections and do not read.
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut stream = host.connect().await;
        stream.write_all(get("large", "").as_bytes()).await.unwrap();
        held.push(stream);
    }
    let began = Instant::now();
    assert!(host.exchange_raw(&get("ten", "")).await.ends_with("0123456789"));
    assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
    // A client that does not read is disconnected, even if no other client waits.
    let began = Instant::now();
    let mut stream = host.connect().await;
    stream.write_all(get("large", "").as_bytes()).await.unwrap();
    sleep(2 * MINUTE + SECOND).await;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.len() < 1 << 20, "{} in {:?}", answer.len(), began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn old_connection_finishes_its_answer_and_takes_no_other_request() {
    let bytes_per_second = Some((1 << 20) / 90);
    let host = TestServer::start(ServerLimits { bytes_per_second, ..LIMITS });
    let mut stream = host.connect().await;
    let keep = get("large", "").replace("Connection: close\r\n", "");
    stream.write_all(keep.repeat(2).as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // The answer takes 90 s. A connection takes no further request after 60 s.
    assert!((1 << 20..(1 << 20) + 1000).contains(&answer.len()), "{}", answer.len());
    assert!((80..100).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn all_clients_together_stay_below_the_rate() {
    let host = TestServer::start(ServerLimits {
        bytes_per_second: Some(64 * 1024),
        max_connection_age: HOUR,
        min_hold: HOUR,
        ..LIMITS
    });
    let began = Instant::now();
    let request = get("large", "");
    let (one, other, third) = tokio::join!(
        host.exchange_raw(&request),
        host.exchange_raw(&request),
        host.exchange_raw(&request)
    );
    assert!([one, other, third].iter().all(|answer| answer.len() > 1 << 20));
    assert!((46..50).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn disconnecting_clients_do_not_use_up_the_rate() {
    let limits = ServerLimits {
        max_connections: 32,
        min_hold: 5 * SECOND,
        max_connection_age: HOUR,
        bytes_per_second: Some(1 << 20),
    };
    let host = TestServer::start(limits);
    for _ in 0..1000 {
        let mut stream = host.connect().await;
        stream.write_all(get("large", "").as_bytes()).await.unwrap();
        // The server begins to answer.
        sleep(Duration::from_millis(1)).await;
    }
    let began = Instant::now();
    assert!(host.exchange_raw(&get("large", "")).await.len() > 1 << 20);
    assert!(began.elapsed() < 10 * SECOND, "{:?}", began.elapsed());
    // Clients that stay connected and do not read use up nothing either.
    let mut held = Vec::new();
    for _ in 0..96 {
        let mut stream = host.connect().await;
        stream.write_all(get("large", "").as_bytes()).await.unwrap();
        held.push(stream);
    }
    let began = Instant::now();
    assert!(host.exchange_raw(&get("ten", "")).await.ends_with("0123456789"));
    assert!(began.elapsed() < 30 * SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn ranges_beyond_the_end_reveal_nothing_of_the_file_system() {
    let state = scratch_dir();
    let artifacts = ArtifactCache::new(state.path(), 1 << 20, Storage::default());
    artifacts.insert(&sample_artifact(b"abc"), &b"abc"[..]).unwrap();
    let network = MemoryNetwork::default();
    tokio::spawn(serve_files(Arc::new(artifacts), network.listen(address()), LIMITS));
    let host = TestServer(network);
    let path = format!("artifact/{}", Hash::digest(b"abc"));
    for from in [3, 1 << 40, 1 << 44, 1 << 62, 1 << 63, u64::MAX] {
        let answer = host.exchange_raw(&get(&path, &format!("Range: bytes={from}-\r\n"))).await;
        assert!(answer.starts_with("http/1.1 416"), "{from}: {answer}");
    }
    assert!(host.exchange_raw(&get(&path, "Range: bytes=2-\r\n")).await.ends_with("\r\n\r\nc"));
}
