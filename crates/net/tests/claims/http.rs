//! Mirrors over HTTP: requests, accepted answers, and refused answers.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, pending};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::{Instant, sleep};
use unanimity_config::{MirrorSpec, MirrorUrl};
use unanimity_log::{HEDGE_DELAY, hedged};
use unanimity_net::{ByteStream, MIN_RATE, Mirror, RATE_WINDOW, READ_TIMEOUT, WebConnector};
use unanimity_testkit::hostile_mirror::ONION;

/// The behaviour of a host on one connection.
type HostScript = Box<dyn FnOnce(DuplexStream) -> BoxFuture<'static, ()> + Send>;

/// A network with one host, which follows one script for each connection.
#[derive(Clone, Default)]
struct ScriptedHost {
    scripts: Arc<Mutex<VecDeque<HostScript>>>,
    connections: Arc<AtomicUsize>,
    circuits: Arc<AtomicUsize>,
}

impl WebConnector for ScriptedHost {
    fn connect<'a>(&'a self, _: &'a MirrorUrl) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let script = self.scripts.lock().unwrap().pop_front();
        Box::pin(async move {
            let script = script.ok_or(io::ErrorKind::ConnectionRefused)?;
            let (ours, theirs) = duplex(64 * 1024);
            tokio::spawn(script(theirs));
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        self.circuits.fetch_add(1, Ordering::SeqCst);
        Arc::new(self.clone())
    }
}

/// Reads the head of the next request, up to its empty line.
async fn read_request(stream: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

impl ScriptedHost {
    fn with_scripts(scripts: Vec<HostScript>) -> (ScriptedHost, Mirror) {
        let host = ScriptedHost {
            scripts: Arc::new(Mutex::new(scripts.into())),
            ..ScriptedHost::default()
        };
        let web: Arc<dyn WebConnector> = Arc::new(host.clone());
        let spec: MirrorSpec = format!("http://{ONION}/mirror").parse().unwrap();
        let mirror = Mirror::from_spec(&spec, Some(&web)).unwrap();
        (host, mirror)
    }

    /// Answers the first request with these bytes and disconnects.
    fn responding_with(bytes: impl AsRef<[u8]>) -> (ScriptedHost, Mirror) {
        ScriptedHost::with_scripts(vec![send(bytes)])
    }
}

fn send(bytes: impl AsRef<[u8]>) -> HostScript {
    let bytes = bytes.as_ref().to_vec();
    Box::new(move |mut stream| {
        Box::pin(async move {
            read_request(&mut stream).await;
            stream.write_all(&bytes).await.ok();
        })
    })
}

/// Answers with the bytes of `head`, and then repeats `with` forever.
fn flood(head: &str, with: &str) -> HostScript {
    let (head, with) = (head.to_owned(), with.repeat(1000));
    Box::new(move |mut stream| {
        Box::pin(async move {
            read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.ok();
            while stream.write_all(with.as_bytes()).await.is_ok() {}
        })
    })
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test(start_paused = true)]
async fn request_has_only_path_host_and_range() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let recorded = seen.clone();
    let script: HostScript = Box::new(move |mut stream| {
        Box::pin(async move {
            for _ in 0..2 {
                let head = read_request(&mut stream).await;
                let mut lines: Vec<String> = head.lines().map(str::to_ascii_lowercase).collect();
                lines.retain(|line| !line.is_empty());
                recorded.lock().unwrap().push(lines);
                stream.write_all(ok("here").as_bytes()).await.unwrap();
            }
        })
    });
    let (host, mirror) = ScriptedHost::with_scripts(vec![script]);
    assert_eq!(mirror.read("tile/0/000", 100).await.unwrap(), b"here");
    let mut rest = mirror.open("artifact/ab", 7, MIN_RATE).await.unwrap();
    // This host does not support ranges and sends the complete file.
    assert_eq!(rest.position(), 0);
    assert_eq!(&rest.next().await.unwrap()[..], b"here");
    assert_eq!(
        *seen.lock().unwrap(),
        [
            vec![
                "get /mirror/tile/0/000 http/1.1".to_owned(),
                format!("host: {ONION}"),
                "accept-encoding: identity".to_owned(),
            ],
            vec![
                "get /mirror/artifact/ab http/1.1".to_owned(),
                format!("host: {ONION}"),
                "accept-encoding: identity".to_owned(),
                "range: bytes=7-".to_owned(),
            ],
        ]
    );
    assert_eq!(host.connections.load(Ordering::SeqCst), 1, "a connection is used again");
}

#[tokio::test(start_paused = true)]
async fn answer_that_is_not_the_file_is_an_error() {
    let many = |count: usize| "X-A: b\r\n".repeat(count);
    let page = "<html>sorry</html>";
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    let table: Vec<(&str, String)> = vec![
        ("cut off in the body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".into()),
        ("cut off in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf".into()),
        ("cut off in the head", "HTTP/1.1 200 OK\r\nContent-Le".into()),
        ("hung up", String::new()),
        ("another protocol", "220 mail.example ESMTP\r\n".into()),
        ("10,000 header lines", format!("HTTP/1.1 200 OK\r\n{}\r\n", many(10_000))),
        ("65 header lines", format!("HTTP/1.1 200 OK\r\n{}\r\n", many(65))),
        ("an endless header line", format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(1 << 20))),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhere".into()),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nhere".into()),
        ("a length beyond the limit", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1u64 << 40)),
        ("more than the limit", ok(&"x".repeat(101))),
        ("compressed", format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{page}", page.len())),
        ("compressed twice", "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx".into()),
        ("301", "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n".into()),
        ("302", "HTTP/1.1 302 Found\r\nLocation: https://other.example/\r\nContent-Length: 0\r\n\r\n".into()),
        ("307", "HTTP/1.1 307 Temporary\r\nLocation: /mirror/file2\r\nContent-Length: 0\r\n\r\n".into()),
        ("308", status("308 Permanent Redirect")),
        ("404", status("404 Not Found")),
        ("410", status("410 Gone")),
        ("403", status("403 Forbidden")),
        ("429", status("429 Too Many Requests")),
        ("500", status("500 Internal Server Error")),
        ("204", "HTTP/1.1 204 No Content\r\n\r\n".into()),
        ("a part that was not requested", "HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n\r\nhalf".into()),
        ("another protocol, please", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n".into()),
    ];
    let mut messages = String::new();
    for (case, answer) in table {
        let (host, mirror) = ScriptedHost::responding_with(&answer);
        let error = mirror.read("file", 100).await.expect_err(case);
        assert_eq!(error.kind() == io::ErrorKind::NotFound, ["404", "410"].contains(&case));
        assert_eq!(host.connections.load(Ordering::SeqCst), 1, "{case}: no redirect is followed");
        messages += &format!("{case}: {error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/answers_that_are_not_the_file.txt"]);
}

#[tokio::test(start_paused = true)]
async fn client_accepts_every_http_framing() {
    for answer in [
        ok("here"),
        "HTTP/1.1 200 OK\r\n\r\nhere".into(),
        "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nhere".into(),
        "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 4\r\n\r\nhere".into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n2\r\nre\r\n0\r\n\r\n".into(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n4;a=b\r\nhere\r\n0\r\nx: y\r\n\r\n".into(),
        format!("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n{}", ok("here")),
    ] {
        let (_host, mirror) = ScriptedHost::responding_with(&answer);
        assert_eq!(mirror.read("file", 4).await.expect(&answer), b"here");
    }
    // Reading stops at the limit. An error page with status 200 is a file like any other.
    let (_host, mirror) =
        ScriptedHost::with_scripts(vec![flood("HTTP/1.1 200 OK\r\n\r\n", "sorry ")]);
    let error = mirror.read("file", 1000).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
    assert!(error.to_string().contains("more than 1000 bytes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn client_accepts_only_the_requested_range() {
    let part = |range: &str| {
        format!("HTTP/1.1 206 Partial\r\nContent-Range: {range}\r\nContent-Length: 2\r\n\r\nre")
    };
    let (_host, mirror) = ScriptedHost::responding_with(part("bytes 2-3/4"));
    let mut opened = mirror.open("file", 2, MIN_RATE).await.unwrap();
    assert_eq!(
        (opened.position(), &opened.next().await.unwrap()[..], opened.position()),
        (2, &b"re"[..], 4)
    );
    assert!(opened.next().await.unwrap().is_empty());
    let mut messages = String::new();
    for range in [
        "bytes 1-2/4",
        "bytes 0-3/4",
        "bytes 3-4/4",
        "bytes */4",
        "lines 2-3/4",
        "2-3/4",
        "bytes -2-3/4",
        "",
    ] {
        let (_host, mirror) = ScriptedHost::responding_with(part(range));
        let error = mirror.open("file", 2, MIN_RATE).await.unwrap_err();
        messages += &format!("{error}\n");
    }
    let (_host, mirror) =
        ScriptedHost::responding_with("HTTP/1.1 206 Partial\r\nContent-Length: 2\r\n\r\nre");
    mirror.open("file", 2, MIN_RATE).await.unwrap_err();
    let (_host, mirror) = ScriptedHost::responding_with(
        "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n",
    );
    let error = mirror.open("file", 2, MIN_RATE).await.unwrap_err();
    messages += &format!("{error}\n");
    snapbox::assert_data_eq!(messages, snapbox::file!["words/other_ranges.txt"]);
}

/// Sends a head, and then a number of bytes at a time.
fn trickle(head: &'static str, every: Duration, bytes: usize) -> HostScript {
    Box::new(move |mut stream| {
        Box::pin(async move {
            read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.ok();
            loop {
                sleep(every).await;
                if stream.write_all(&vec![b'x'; bytes]).await.is_err() {
                    return;
                }
            }
        })
    })
}

#[tokio::test(start_paused = true)]
async fn client_gives_up_on_a_slow_host() {
    let silent: fn() -> HostScript = || {
        Box::new(|mut stream| {
            Box::pin(async move {
                read_request(&mut stream).await;
                pending::<()>().await;
            })
        })
    };
    let second = Duration::from_secs(1);
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    let mut messages = String::new();
    for (case, script, within) in [
        ("nothing", silent(), READ_TIMEOUT),
        ("an endless head", trickle("HTTP/1.1 200 OK\r\nX: ", second, 1), READ_TIMEOUT),
        ("a body that stops", trickle(head, 1000 * second, 1), RATE_WINDOW),
        ("a byte per second", trickle(head, second, 1), RATE_WINDOW),
        ("nearly enough", trickle(head, second, MIN_RATE as usize - 1), RATE_WINDOW),
    ] {
        let began = Instant::now();
        let (_host, mirror) = ScriptedHost::with_scripts(vec![script]);
        let error = mirror.read("file", 1 << 40).await.expect_err(case);
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{case}: {error}");
        messages += &format!("{case}: {error}\n");
        let took = began.elapsed();
        assert!((within..within + second).contains(&took), "{case}: after {took:?}");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/slow_hosts.txt"]);
    // Twice the minimum rate is fast enough for any length.
    let (_host, mirror) =
        ScriptedHost::with_scripts(vec![trickle(head, second, 2 * MIN_RATE as usize)]);
    let mut opened = mirror.open("file", 0, MIN_RATE).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 10 * RATE_WINDOW {
        assert!(!opened.next().await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn client_retries_only_on_a_reused_connection() {
    let (host, mirror) =
        ScriptedHost::with_scripts(vec![send(ok("one")), send(ok("two")), send("")]);
    assert_eq!(mirror.read("file", 100).await.unwrap(), b"one");
    tokio::task::yield_now().await;
    assert_eq!(mirror.read("file", 100).await.unwrap(), b"two");
    assert_eq!(host.connections.load(Ordering::SeqCst), 2);
    // The third script disconnects on a connection that was made for this request.
    mirror.read("file", 100).await.unwrap_err();
    assert_eq!(host.connections.load(Ordering::SeqCst), 3);
    let error = mirror.read("file", 100).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn isolated_mirror_uses_its_own_circuits() {
    let (host, mirror) = ScriptedHost::with_scripts((0..4).map(|_| send(ok("here"))).collect());
    let seen = || {
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (count(&host.circuits), count(&host.connections))
    };
    mirror.read("file", 100).await.unwrap();
    mirror.clone().read("file", 100).await.unwrap();
    assert_eq!(seen(), (1, 2));
    let isolated = mirror.isolated();
    assert_eq!(isolated, mirror);
    isolated.read("file", 100).await.unwrap();
    assert_eq!(seen(), (2, 3));
    mirror.read("file", 100).await.unwrap();
    assert_eq!(seen(), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn hedged_returns_the_first_good_answer() {
    let second = Duration::from_secs(1);
    // For each host: when it answers, and whether the answer is good. Then the expected result and
    // time.
    for (hosts, counts, after) in [
        (&[(1, true), (0, true)][..], Ok(0), second),
        (&[(10, true), (1, true)], Ok(1), HEDGE_DELAY + second),
        (&[(4, true), (9, true)], Ok(0), 4 * second),
        (&[(1, false), (1, true)], Ok(1), 2 * second),
        (&[(10, false), (20, false), (2, true)], Ok(2), 2 * HEDGE_DELAY + 2 * second),
        (&[(5, false), (1, false)], Err(vec![1, 0]), 5 * second),
        (&[], Err(vec![]), Duration::ZERO),
    ] {
        let began = Instant::now();
        let found = hedged(0..hosts.len(), |host| async move {
            let (takes, good) = hosts[host];
            sleep(takes * second).await;
            if good { Ok(host) } else { Err(host) }
        });
        assert_eq!((found.await, began.elapsed()), (counts, after), "{hosts:?}");
    }
}

#[tokio::test]
async fn mirror_without_a_network_fails_with_the_reason() {
    let spec: MirrorSpec = format!("http://{ONION}/").parse().unwrap();
    let mirror = Mirror::from_spec(&spec, None).unwrap();
    let error = mirror.read("checkpoint", 100).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    snapbox::assert_data_eq!(error.to_string(), snapbox::file!["words/no_network.txt"]);
}

#[test]
fn mirror_spec_accepts_directories_onion_services_and_tls_hosts() {
    for (text, shown) in [
        ("file:/srv/log", "file:/srv/log"),
        ("https://example.org", "https://example.org"),
        ("https://example.org/", "https://example.org"),
        ("https://Example.ORG:443/a/b/", "https://example.org/a/b"),
        ("HTTPS://example.org:8443/a", "https://example.org:8443/a"),
        ("https://192.0.2.1/a", "https://192.0.2.1/a"),
        ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
        ("https://xn--bcher-kva.example/a%20b", "https://xn--bcher-kva.example/a%20b"),
    ] {
        let mirror: MirrorSpec = text.parse().expect(text);
        assert_eq!(mirror.to_string(), shown);
    }
    for (text, shown) in [
        (format!("http://{ONION}"), format!("http://{ONION}")),
        (format!("http://{}:80/", ONION.to_uppercase()), format!("http://{ONION}")),
        (format!("http://{ONION}:8080/a"), format!("http://{ONION}:8080/a")),
        (format!("https://{ONION}/a"), format!("https://{ONION}/a")),
    ] {
        let mirror: MirrorSpec = text.parse().expect(&text);
        assert_eq!(mirror.to_string(), shown);
    }
}

#[test]
fn mirror_spec_refuses_other_urls_with_the_reason() {
    let mistyped = ONION.replacen('l', "m", 1);
    let mut messages = String::new();
    for text in [
        "",
        "/srv/log",
        "example.org/log",
        "ftp://example.org/",
        "FILE:/srv",
        "file:srv/log",
        "file:",
        "file:./log",
        "http://example.org/",
        "http://127.0.0.1/",
        "http://localhost:8080/",
        "https://",
        "https:///a",
        "https://user@example.org/",
        "https://user:pass@example.org/",
        "https://example.org/?a=b",
        "https://example.org/a#b",
        "https://example.org:0/",
        "https://example.org:65536/",
        "https://example.org:/",
        "https://exa_mple.org/",
        "https://example..org/",
        "https://[::g]/",
        "https://example.org/a/../b",
        "https://example.org/./b",
        "https://exam ple.org/",
        &format!("http://{mistyped}/"),
        "http://short.onion/",
    ] {
        let error = text.parse::<MirrorSpec>().expect_err(text);
        messages += &format!("{error}\n");
    }
    snapbox::assert_data_eq!(messages, snapbox::file!["words/invalid_mirror_specs.txt"]);
}
