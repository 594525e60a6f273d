//! Runs that are ended in the middle of a download: the next goes on with the bytes that are on the disk.

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

const BYTES: u64 = 6_000_000;
/// What is here and not yet on the disk: a batch, and the piece that made it one.
const IN_FLIGHT_BYTES: u64 = (1 << 20) + (256 << 10);

/// A host of static files on 127.0.0.1.
#[derive(Clone)]
struct StallingHost {
    directory: PathBuf,
    state: Arc<Mutex<StallingHostState>>,
}

#[derive(Default)]
struct StallingHostState {
    /// It sends no byte of an artifact from here on.
    stalls_at: u64,
    /// From which byte on an artifact was asked for, each time.
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
                // Whoever is killed leaves nothing to answer.
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
                    // Until the test says more, or the client is gone.
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

/// Where the client has what is here of the artifact.
fn partial_download_path(circles: &TorTestWorld) -> PathBuf {
    let staging = circles.world.fixture.install_root().join("versions/.1-1.0.0.new");
    unanimity_storage::temporary_path(&staging.join("hello"))
}

fn downloaded_bytes(circles: &TorTestWorld) -> u64 {
    fs::metadata(partial_download_path(circles)).unwrap().len()
}

/// Starts `update`, and waits until all but a batch of what the host sends is on the disk.
fn update_until(circles: &mut TorTestWorld, host: &StallingHost, percent: u64) -> Child {
    host.set_stall_percent(percent);
    let updating = circles.client.spawn(&["update"]).unwrap();
    let (path, enough) = (partial_download_path(circles), BYTES * percent / 100 - IN_FLIGHT_BYTES);
    let has = || fs::metadata(&path).is_ok_and(|file| file.len() > enough);
    circles.client.wait("bytes on the disk", |_| Ok(has())).unwrap();
    updating
}

fn send_signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn assert_interrupted(ended: &ProcessResult, words: &str) {
    let ProcessResult { exit_code: exit, report } = ended;
    assert_eq!((*exit, report["outcome"].as_str()), (130, Some("interrupted")), "{report}");
    assert!(report["message"].as_str().unwrap().contains(words), "{report}");
}

#[test]
fn a_run_that_is_ended_in_the_middle_of_a_download_is_gone_on_with_byte_for_byte() {
    let mut circles = TorTestWorld::prepare(1);
    let (host, port) = StallingHost::start(circles.world.fixture.directory.join("log"));
    let front = OnionFront::start(&circles.network, &circles.directory.path().join("tor"), port);
    circles.replace_config_line(
        "client",
        "mirrors = ",
        &format!("mirrors = [\"http://{}\"]", front.address),
    );
    circles.start_daemons();
    let artifact: Vec<u8> =
        (0..BYTES as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    circles.publish(&ReleaseSpec::new(1, "1.0.0", &artifact));
    let settled = |client: &NodeProcess| Ok(client.run(&["check"])?.exit_code == 10);
    circles.client.wait("end of settle", settled).unwrap();
    circles.client.stop().unwrap();
    assert!(host.requested_offsets().is_empty());

    // By itself, killed without a word.
    let mut updating = update_until(&mut circles, &host, 60);
    updating.kill().unwrap();
    updating.wait().unwrap();
    let killed_at = downloaded_bytes(&circles);
    assert_eq!((host.requested_offsets(), circles.installed()), (vec![0], None));

    // By itself, with Ctrl-C.
    let updating = update_until(&mut circles, &host, 80);
    send_signal(&updating, Signal::INT);
    let output = updating.wait_with_output().unwrap();
    let downloads = socket::progress_events(&output);
    let downloads: Vec<&Value> =
        downloads.iter().filter(|event| event["event"] == "download").collect();
    assert_interrupted(&ProcessResult::parse(output).unwrap(), "goes on where this one stopped");
    assert_eq!(host.requested_offsets(), [0, killed_at]);
    assert_eq!(downloads[0]["bytes"], killed_at, "{downloads:?}");
    for download in &downloads {
        assert_eq!(download["mirror"], format!("http://{}", front.address), "{download}");
        assert_eq!((&download["resumed"], &download["of"]), (&killed_at.into(), &BYTES.into()));
    }
    let interrupted_at = downloaded_bytes(&circles);
    assert_eq!(circles.client.run_json(&["status"]).unwrap()["installed"], Value::Null);

    // By a daemon, which goes on when its command is told to end.
    circles.client.serve().unwrap();
    let updating = update_until(&mut circles, &host, 95);
    send_signal(&updating, Signal::TERM);
    let ended = ProcessResult::parse(updating.wait_with_output().unwrap()).unwrap();
    assert_interrupted(&ended, "the daemon has begun goes on");
    assert_eq!(circles.installed(), None);
    host.set_stall_percent(100);
    circles
        .client
        .wait_status("installed release", |status| status["installed"] == "1-1.0.0")
        .unwrap();
    assert_eq!(host.requested_offsets(), [0, killed_at, interrupted_at]);
    let current = circles.world.fixture.install_root().join("current/hello");
    assert_eq!(fs::read(&current).unwrap(), artifact);

    // By itself, in a trial, which it undoes.
    circles.client.stop().unwrap();
    circles.publish(&ReleaseSpec::new(2, "1.1.0", b"the second release"));
    circles.client.wait("end of settle", settled).unwrap();
    let there = circles.directory.path().join("there");
    let check = format!("check = [\"/bin/sh\", \"-c\", \"echo > {}; sleep 600\"]", there.display());
    circles.replace_config_line(
        "client",
        "[install]",
        &format!("[install.health]\n{check}\n[install]"),
    );
    let updating = circles.client.spawn(&["update"]).unwrap();
    circles.client.wait("a check", |_| Ok(there.exists())).unwrap();
    assert_ne!(fs::read(&current).unwrap(), artifact);
    send_signal(&updating, Signal::INT);
    let ended = ProcessResult::parse(updating.wait_with_output().unwrap()).unwrap();
    assert_interrupted(&ended, "its trial was interrupted; 1-1.0.0 is installed again");
    assert_eq!(fs::read(&current).unwrap(), artifact);
}
