//! HTTP mirrors with faults, beside honest ones.

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

/// The onion address of all hosts in [`HostileMirrors`], without a port.
pub const ONION: &str = "lwdjqhcno6qwh3m2bcggcs2rvohlcz7tcymipalmlhkl6wdhsx3bzkqd.onion";

/// A mirror's fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HttpFault {
    /// No fault.
    Honest,
    /// Refuses connections.
    Dead,
    /// Accepts connections, and never answers.
    Silent,
    /// Sends this many bytes a second.
    Slow(usize),
    /// Ends an artifact after this many bytes, and announces all that remain.
    Truncated(usize),
    /// Sends at most this many bytes of an artifact on one connection, and announces all that
    /// remain.
    Capped(usize),
    /// Sends one wrong byte of an artifact on each connection, and announces all that remain.
    Poison,
    /// Ends an artifact after this many bytes, and announces only the bytes that it sends.
    Short(usize),
    /// Sends the file again and again, without an end.
    Endless,
    /// Flips one bit in the last byte of every file but the checkpoint.
    LateBit,
    /// Flips a bit in an artifact's first byte, ends the artifact after this many bytes, and
    /// announces all that remain.
    WrongStart(usize),
    /// Answers with a redirect to another host.
    Redirects,
    /// Answers with an error page of status 200, in place of the file.
    ErrorPage,
    /// Claims in a header that the file is compressed.
    Compressed,
    /// Sends 10,000 header lines.
    HugeHeader,
    /// Serves an honest log in an earlier state.
    Frozen,
    /// Serves every file but the artifacts.
    NoArtifact,
}

/// Every fault once, except [`HttpFault::Honest`] and [`HttpFault::Capped`]: from such mirrors, a
/// client can download.
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

/// HTTP hosts, each with a fault and on a port of its own. The first host has port 1.
#[derive(Clone, Default)]
pub struct HostileMirrors {
    hosts: Vec<(PathBuf, HttpFault)>,
    /// The requests for artifacts: the host's index from 0, and the first requested byte.
    pub requested_ranges: Arc<Mutex<Vec<(usize, u64)>>>,
    /// How often a client asked for an isolated connector.
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
    /// Makes a host for each log directory, with the fault beside it. The first host has port 1.
    pub fn new(hosts: Vec<(PathBuf, HttpFault)>) -> HostileMirrors {
        HostileMirrors { hosts, ..HostileMirrors::default() }
    }

    /// Returns the hosts as a client's mirrors.
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

/// Answers one request. Returns `None` if the host then closes the connection.
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
    let max_bytes = match fault {
        HttpFault::Capped(limit) => limit,
        HttpFault::Poison => 1,
        _ => usize::MAX,
    };
    if is_artifact && max_bytes < total - begin {
        announced = Some(total - begin);
        bytes.truncate(begin + max_bytes);
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

/// The artifact of release 1, which is installed.
pub const OLD_ARTIFACT: &[u8] = b"#!/bin/sh\necho old\n";

/// Returns the artifact of release 2: 300,000 bytes, without a repeated part.
pub fn new_artifact() -> Vec<u8> {
    (0..75_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect()
}

/// Makes a world in which release 1 is installed and the next update installs release 2. Also
/// returns a copy of the log before release 2.
pub async fn world_before_update(directory: &Path) -> (World, PathBuf) {
    world_before_update_to(directory, &new_artifact()).await
}

/// Makes a world as [`world_before_update`] does, with `new` as the artifact of release 2.
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

/// Copies a world to `directory`, with a mirror for each fault. A frozen mirror serves `before`.
pub async fn copy_with_mirrors(
    world: &World,
    directory: &Path,
    before: &Path,
    faults: &[HttpFault],
) -> (World, HostileMirrors) {
    let mut world = world.copy_to(directory).unwrap();
    world.poll_all().await.unwrap();
    let host = |&fault: &HttpFault| match fault {
        HttpFault::Frozen => (before.to_owned(), fault),
        _ => (world.log_directory(), fault),
    };
    let hosts = HostileMirrors::new(faults.iter().map(host).collect());
    world.mirrors = hosts.mirrors();
    (world, hosts)
}
