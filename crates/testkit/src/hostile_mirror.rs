//! Mirrors over HTTP that do something wrong, beside honest ones.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::sleep;
use unanimity_client::{CycleError, CycleOutcome};
use unanimity_config::{MirrorSpec, MirrorUrl};
use unanimity_net::{ByteStream, Mirror, WebConnector};
use unanimity_protocol::{Refusal, Timestamp};

use crate::{ReleaseSpec, World};

/// An onion address, under which these mirrors are reached.
pub const ONION: &str = "lwdjqhcno6qwh3m2bcggcs2rvohlcz7tcymipalmlhkl6wdhsx3bzkqd.onion";

/// What a mirror does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HttpFault {
    /// Nothing.
    Honest,
    /// Refuses connections.
    Dead,
    /// Accepts, and never answers.
    Silent,
    /// So many bytes a second.
    Slow(usize),
    /// Breaks off an artifact after so many bytes, and announces more.
    Truncated(usize),
    /// At most so many bytes of an artifact on one connection; and announces the rest.
    Capped(usize),
    /// One byte of an artifact, a wrong one, and no more.
    Poison,
    /// The same, and announces no more.
    Short(usize),
    /// Goes on with the file, over and over.
    Endless,
    /// One bit wrong in the last byte of everything but the checkpoint.
    LateBit,
    /// Breaks off an artifact after so many bytes, the first of which is wrong.
    WrongStart(usize),
    /// Points elsewhere.
    Redirects,
    /// A page that says sorry, as if it were the file.
    ErrorPage,
    /// Says that it is compressed.
    Compressed,
    /// 10,000 header lines.
    HugeHeader,
    /// An honest log as it was a while ago.
    Frozen,
    /// Everything but the artifacts.
    NoArtifact,
}

/// Every fault, once. [`HostFault::Capped`] is not among them: such a mirror is of use.
pub const ALL_FAULTS: [HttpFault; 15] = [
    HttpFault::Poison,
    HttpFault::Dead,
    HttpFault::Silent,
    HttpFault::Slow(100),
    HttpFault::Truncated(200_000),
    HttpFault::Short(200_000),
    HttpFault::Endless,
    HttpFault::LateBit,
    HttpFault::WrongStart(200_000),
    HttpFault::Redirects,
    HttpFault::ErrorPage,
    HttpFault::Compressed,
    HttpFault::HugeHeader,
    HttpFault::Frozen,
    HttpFault::NoArtifact,
];

/// Hosts, by the port of their URL.
#[derive(Clone, Default)]
pub struct HostileMirrors {
    hosts: Vec<(PathBuf, HttpFault)>,
    /// Ranges of artifacts that were asked for: of which host, from which byte on.
    pub requested_ranges: Arc<Mutex<Vec<(usize, u64)>>>,
    /// How often circuits of somebody's own were asked for.
    pub isolations: Arc<AtomicUsize>,
}

impl WebConnector for HostileMirrors {
    fn connect<'a>(
        &'a self,
        site: &'a MirrorUrl,
    ) -> BoxFuture<'a, io::Result<Box<dyn ByteStream>>> {
        let number = usize::from(site.port) - 1;
        let (directory, fault) = self.hosts[number].clone();
        let asked = self.requested_ranges.clone();
        Box::pin(async move {
            if fault == HttpFault::Dead {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(64 * 1024);
            tokio::spawn(serve_connection(directory, fault, theirs, asked, number));
            Ok(Box::new(ours) as Box<dyn ByteStream>)
        })
    }

    fn isolated(&self) -> Arc<dyn WebConnector> {
        self.isolations.fetch_add(1, Ordering::SeqCst);
        Arc::new(self.clone())
    }
}

impl HostileMirrors {
    /// A host for each log's directory, with what it does wrong; the first has port 1.
    pub fn new(hosts: Vec<(PathBuf, HttpFault)>) -> HostileMirrors {
        HostileMirrors { hosts, ..HostileMirrors::default() }
    }

    /// The hosts as a client's mirrors.
    pub fn mirrors(&self) -> Vec<Mirror> {
        let web: Arc<dyn WebConnector> = Arc::new(self.clone());
        (1..=self.hosts.len())
            .map(|port| {
                let spec: MirrorSpec = format!("http://{ONION}:{port}").parse().unwrap();
                Mirror::from_spec(&spec, Some(&web)).unwrap()
            })
            .collect()
    }
}

/// Answers requests on one connection until it is closed.
async fn serve_connection(
    directory: PathBuf,
    fault: HttpFault,
    mut stream: DuplexStream,
    asked: Arc<Mutex<Vec<(usize, u64)>>>,
    number: usize,
) {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        let path = head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        let range = head.lines().find_map(|line| {
            let line = line.to_ascii_lowercase();
            line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<usize>().ok()
        });
        let is_artifact = path.starts_with("artifact/");
        if is_artifact {
            asked.lock().unwrap().push((number, range.unwrap_or(0) as u64));
        }
        if send_response(&directory, fault, &path, range, is_artifact, &mut stream).await.is_none()
        {
            return;
        }
    }
}

/// Answers one request; `None`: it hangs up.
async fn send_response(
    directory: &Path,
    fault: HttpFault,
    path: &str,
    range: Option<usize>,
    is_artifact: bool,
    stream: &mut DuplexStream,
) -> Option<()> {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
    let Ok(mut bytes) = fs::read(directory.join(path)) else {
        return stream.write_all(status("404 Not Found").as_bytes()).await.ok();
    };
    let mut announced = None;
    let mut header = String::new();
    match fault {
        HttpFault::Silent => std::future::pending().await,
        HttpFault::Redirects => {
            let elsewhere = "302 Found\r\nLocation: https://elsewhere.example/";
            return stream.write_all(status(elsewhere).as_bytes()).await.ok();
        }
        HttpFault::NoArtifact if is_artifact => {
            return stream.write_all(status("404 Not Found").as_bytes()).await.ok();
        }
        HttpFault::ErrorPage => bytes = b"<html>sorry, come back later</html>".to_vec(),
        HttpFault::Compressed => header = "Content-Encoding: gzip\r\n".to_owned(),
        HttpFault::HugeHeader => header = "X-Y: z\r\n".repeat(10_000),
        HttpFault::LateBit if path != "checkpoint" => *bytes.last_mut()? ^= 1,
        HttpFault::WrongStart(_) if is_artifact => bytes[0] ^= 1,
        HttpFault::Poison if is_artifact => bytes.iter_mut().for_each(|byte| *byte ^= 1),
        _ => {}
    }
    let begin = range.unwrap_or(0).min(bytes.len());
    let total = bytes.len();
    if let HttpFault::Truncated(at) | HttpFault::WrongStart(at) = fault
        && is_artifact
    {
        announced = Some(total - begin);
        bytes.truncate(at.max(begin));
    }
    let on_one_connection = match fault {
        HttpFault::Capped(most) => most,
        HttpFault::Poison => 1,
        _ => usize::MAX,
    };
    if is_artifact && on_one_connection < total - begin {
        announced = Some(total - begin);
        bytes.truncate(begin + on_one_connection);
    }
    if let HttpFault::Short(at) = fault
        && is_artifact
    {
        bytes.truncate(at.max(begin));
    }
    let body = &bytes[begin..];
    let announced = announced.unwrap_or(body.len());
    let first = match range {
        Some(_) => format!("206 Partial\r\nContent-Range: bytes {begin}-{}/{total}", total - 1),
        None => "200 OK".to_owned(),
    };
    if fault == HttpFault::Endless {
        stream.write_all(format!("HTTP/1.1 {first}\r\n\r\n").as_bytes()).await.ok()?;
        loop {
            stream.write_all(&bytes).await.ok()?;
        }
    }
    let head = format!("HTTP/1.1 {first}\r\n{header}Content-Length: {announced}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    if let HttpFault::Slow(bytes) = fault {
        for piece in body.chunks(bytes) {
            stream.write_all(piece).await.ok()?;
            sleep(Duration::from_secs(1)).await;
        }
    } else {
        stream.write_all(body).await.ok()?;
    }
    (body.len() == announced).then_some(())
}

/// The file of the release that is installed.
pub const OLD_ARTIFACT: &[u8] = b"#!/bin/sh\necho old\n";

/// 300,000 bytes, no two pieces of them alike.
pub fn new_artifact() -> Vec<u8> {
    (0..75_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// A circle in which release 1 is installed and release 2 would be at the next update; and a copy
/// of the log as it was before release 2.
pub async fn world_before_update(directory: &Path) -> (World, PathBuf) {
    world_before_update_to(directory, &new_artifact()).await
}

/// As [`world_before_update`], with this file as that of release 2.
pub async fn world_before_update_to(directory: &Path, new: &[u8]) -> (World, PathBuf) {
    let mut world = World::create(&directory.join("world"), 3, Timestamp(1_790_000_000)).unwrap();
    let before = directory.join("before");
    for (sequence, version, artifact) in [(1, "1.0.0", OLD_ARTIFACT), (2, "1.1.0", new)] {
        if sequence == 2 {
            let mut copy = std::process::Command::new("cp");
            copy.arg("-r").arg(world.log_directory()).arg(&before);
            assert!(copy.status().unwrap().success());
        }
        world.publish(&ReleaseSpec::new(sequence, version, artifact)).unwrap();
        world.poll_all().await.unwrap();
        let settling = world.update().await.1;
        assert!(matches!(settling, Err(CycleError::Refused(Refusal::Settling { .. }))));
        world.advance(Duration::from_secs(61 * 60));
        world.poll_all().await.unwrap();
        if sequence == 1 {
            assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
        }
    }
    (world, before)
}

/// A copy of the world whose client has these mirrors, a frozen one as the log was before.
pub async fn copy_with_mirrors(
    world: &World,
    place: &Path,
    before: &Path,
    faults: &[HttpFault],
) -> (World, HostileMirrors) {
    let mut world = world.copy_to(place).unwrap();
    world.poll_all().await.unwrap();
    let host = |&fault: &HttpFault| match fault {
        HttpFault::Frozen => (before.to_owned(), fault),
        _ => (world.log_directory(), fault),
    };
    let hosts = HostileMirrors::new(faults.iter().map(host).collect());
    world.mirrors = hosts.mirrors();
    (world, hosts)
}
