//! Runs that are stopped or killed during a download: the next run resumes with the bytes on the
//! disk.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::{NodeProcess, ProcessResult};

use super::web::OnionFront;
use super::{TorTestWorld, socket};
use crate::messages::Messages;

const BYTES: u64 = 6_000_000;
/// The most bytes that have arrived and are not on the disk: a batch, and the chunk that completes
/// it.
const IN_FLIGHT_BYTES: u64 = (1 << 20) + (256 << 10);

/// A host of static files on 127.0.0.1 that can stop in the middle of an artifact.
#[derive(Clone)]
struct StallingHost {
    directory: PathBuf,
    state: Arc<Mutex<StallingHostState>>,
}

#[derive(Default)]
struct StallingHostState {
    /// The offset in an artifact at which the host stops sending.
    stalls_at: u64,
    /// The first byte of every request for an artifact.
    requested: Vec<u64>,
}

impl StallingHost {
    fn start(directory: PathBuf) -> (StallingHost, u16) {
        let host = StallingHost { directory, state: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = host.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let host = serving.clone();
                // A connection to a killed client ends with an error.
                std::thread::spawn(move || host.serve_connection(stream.unwrap()).ok());
            }
        });
        (host, port)
    }

    fn set_stall_percent(&self, percent: u64) {
        self.state.lock().unwrap().stalls_at = BYTES * percent / 100;
    }

    fn requested_offsets(&self) -> Vec<u64> {
        self.state.lock().unwrap().requested.clone()
    }

    /// Answers requests until the other end is closed.
    fn serve_connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                head.push(byte[0]);
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().trim_start_matches('/');
            let range = head.lines().find_map(|line| {
                let line = line.to_ascii_lowercase();
                line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse::<u64>().ok()
            });
            let Ok(bytes) = fs::read(self.directory.join(path)) else {
                stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                continue;
            };
            let (from, all) = (range.unwrap_or(0), bytes.len() as u64);
            let status = match range {
                Some(_) => format!("206 Partial\r\nContent-Range: bytes {from}-{}/{all}", all - 1),
                None => "200 OK".to_owned(),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", all - from);
            stream.write_all(head.as_bytes())?;
            if !path.starts_with("artifact/") {
                stream.write_all(&bytes)?;
                continue;
            }
            self.state.lock().unwrap().requested.push(from);
            let mut at = from;
            while at < all {
                let end = self.state.lock().unwrap().stalls_at.min(all);
                if at < end {
                    stream.write_all(&bytes[at as usize..end as usize])?;
                    at = end;
                } else {
                    // Waits until the test raises the limit, or the client is gone.
                    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
                    match stream.read(&mut [0]) {
                        Ok(0) => return Ok(()),
                        _ => stream.set_read_timeout(None)?,
                    }
                }
            }
        }
    }
}

/// The path of the client's partial download.
fn partial_download_path(world: &TorTestWorld) -> PathBuf {
    let download = world.onion.fixture.install_root().join("versions/.1-1.0.0.new");
    unanimity_storage::temporary_path(&download.join("hello"))
}

fn downloaded_bytes(world: &TorTestWorld) -> u64 {
    fs::metadata(partial_download_path(world)).unwrap().len()
}

/// Starts `update`, and waits until all but a batch of the sent bytes is on the disk.
fn update_until(world: &mut TorTestWorld, host: &StallingHost, percent: u64) -> Child {
    host.set_stall_percent(percent);
    let updating = world.client.spawn(&["update"]).unwrap();
    let (path, enough) = (partial_download_path(world), BYTES * percent / 100 - IN_FLIGHT_BYTES);
    let has = || fs::metadata(&path).is_ok_and(|file| file.len() > enough);
    world.client.wait("bytes on the disk", |_| Ok(has())).unwrap();
    updating
}

fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Asserts the outcome `interrupted`. Returns the message.
fn assert_interrupted(result: &ProcessResult) -> String {
    let ProcessResult { exit_code: exit, report } = result;
    assert_eq!((*exit, report["outcome"].as_str()), (130, Some("interrupted")), "{report}");
    report["message"].as_str().unwrap().to_owned()
}

#[test]
fn an_interrupted_download_resumes_at_the_byte_where_it_stopped() {
    let mut world = TorTestWorld::prepare(1);
    let (host, port) = StallingHost::start(world.onion.fixture.directory.join("log"));
    let front = OnionFront::start(&world.network, &world.directory.path().join("tor"), port);
    world.replace_config_line(
        "client",
        "mirrors = ",
        &format!("mirrors = [\"http://{}\"]", front.address),
    );
    world.start_daemons();
    let artifact: Vec<u8> =
        (0..BYTES as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    world.publish(&ReleaseSpec::new(1, "1.0.0", &artifact));
    let settled = |client: &NodeProcess| Ok(client.run(&["check"])?.exit_code == 10);
    world.client.wait("end of settle", settled).unwrap();
    world.client.stop().unwrap();
    assert!(host.requested_offsets().is_empty());

    // Without a daemon, by SIGKILL.
    let mut updating = update_until(&mut world, &host, 60);
    updating.kill().unwrap();
    updating.wait().unwrap();
    let killed_at = downloaded_bytes(&world);
    assert_eq!((host.requested_offsets(), world.installed()), (vec![0], None));

    // Without a daemon, by SIGINT.
    let mut messages = Messages::new(world.directory.path());
    let updating = update_until(&mut world, &host, 80);
    send_signal(&updating, Signal::INT);
    let output = updating.wait_with_output().unwrap();
    let downloads = socket::progress_events(&output);
    let downloads: Vec<&Value> =
        downloads.iter().filter(|event| event["event"] == "download").collect();
    let result = ProcessResult::parse(output).unwrap();
    messages.add("SIGINT", &assert_interrupted(&result));
    assert_eq!(host.requested_offsets(), [0, killed_at]);
    assert_eq!(downloads[0]["bytes"], killed_at, "{downloads:?}");
    for download in &downloads {
        assert_eq!(download["mirror"], format!("http://{}", front.address), "{download}");
        assert_eq!((&download["resumed"], &download["of"]), (&killed_at.into(), &BYTES.into()));
    }
    let interrupted_at = downloaded_bytes(&world);
    assert_eq!(world.client.run_json(&["status"]).unwrap()["installed"], Value::Null);

    // With a daemon, which continues when its command is stopped.
    world.client.serve().unwrap();
    let updating = update_until(&mut world, &host, 95);
    send_signal(&updating, Signal::TERM);
    let result = ProcessResult::parse(updating.wait_with_output().unwrap()).unwrap();
    messages.add("SIGTERM, with a daemon", &assert_interrupted(&result));
    assert_eq!(world.installed(), None);
    host.set_stall_percent(100);
    world
        .client
        .wait_status("installed release", |status| status["installed"] == "1-1.0.0")
        .unwrap();
    assert_eq!(host.requested_offsets(), [0, killed_at, interrupted_at]);
    let current = world.onion.fixture.install_root().join("current/hello");
    assert_eq!(fs::read(&current).unwrap(), artifact);

    // Without a daemon, in a trial, which the run undoes.
    world.client.stop().unwrap();
    world.publish(&ReleaseSpec::new(2, "1.1.0", b"the second release"));
    world.client.wait("end of settle", settled).unwrap();
    let started = world.directory.path().join("started");
    let check =
        format!("check = [\"/bin/sh\", \"-c\", \"echo > {}; sleep 600\"]", started.display());
    world.replace_config_line(
        "client",
        "[install]",
        &format!("[install.health]\n{check}\n[install]"),
    );
    let updating = world.client.spawn(&["update"]).unwrap();
    world.client.wait("a check", |_| Ok(started.exists())).unwrap();
    assert_ne!(fs::read(&current).unwrap(), artifact);
    send_signal(&updating, Signal::INT);
    let result = ProcessResult::parse(updating.wait_with_output().unwrap()).unwrap();
    messages.add("SIGINT in a trial", &assert_interrupted(&result));
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/interrupted.txt"]);
    assert_eq!(fs::read(&current).unwrap(), artifact);
}
