//! The socket by which commands reach a daemon, and the commands without one.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use unanimity_config::tor_settings::NO_PUBLIC_NETWORK;
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::ProcessResult;

use super::TorTestWorld;

fn permissions(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Says something to a daemon, and returns what comes back until it hangs up, and when that was.
fn exchange_bytes(socket: &Path, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let began = Instant::now();
    match stream.write_all(bytes) {
        // It need not hear all of it.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
        _ => {}
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Hung up on while there was more to hear.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    (answer, began.elapsed())
}

/// What a command said before its report.
pub(super) fn progress_events(output: &Output) -> Vec<Value> {
    let said = std::str::from_utf8(&output.stdout).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, events) = lines.split_last().unwrap();
    assert!(events.iter().all(|event| event["schema"] == "unanimity/v1"), "{said}");
    events.to_vec()
}

/// So many of three peers have answered.
fn round_event(answered: u32) -> Value {
    json!({ "schema": "unanimity/v1", "event": "roll", "peers": 3, "answered": answered, "silent": 0 })
}

#[test]
fn commands_reach_the_daemon_by_a_private_socket_and_do_without_where_there_is_none() {
    let mut circles = TorTestWorld::start(3);
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    let state = circles.world.fixture.client_state();
    let socket = state.join("serve/socket");
    assert_eq!((permissions(&socket), permissions(&state.join("serve"))), (0o600, 0o700));
    let client = &circles.client;
    let serving = || client.run_json(&["status"]).unwrap()["serving"].is_object();

    // One more than are at work at once.
    let commands = (0..9).map(|_| client.spawn(&["check"]).unwrap());
    for command in commands.collect::<Vec<_>>() {
        // Each hears of its own cycle, and of those that come before it.
        let output = command.wait_with_output().unwrap();
        let events = progress_events(&output);
        assert!(events.contains(&round_event(0)) && events.contains(&round_event(3)), "{events:?}");
        let ProcessResult { exit_code: exit, report } = ProcessResult::parse(output).unwrap();
        assert!([10, 11].contains(&exit), "{report}");
    }

    // Those who do not ask are cut off, and keep nobody waiting meanwhile.
    let silent: Vec<_> = (0..7)
        .map(|_| {
            let socket = socket.clone();
            std::thread::spawn(move || exchange_bytes(&socket, b"half a quest"))
        })
        .collect();
    let began = Instant::now();
    let (answer, _) = exchange_bytes(&socket, &vec![b'x'; 1024 * 1024]);
    assert_eq!(answer, b"", "an endless line");
    let (answer, _) = exchange_bytes(&socket, b"\xff\x00 {}[\n");
    assert!(String::from_utf8(answer).unwrap().contains("does not understand"));
    let (answer, _) = exchange_bytes(&socket, b"{\"config\":\"/\",\"command\":\"Destroy\"}\n");
    assert!(String::from_utf8(answer).unwrap().contains("does not understand"));
    assert!(serving());
    let meanwhile = began.elapsed();
    for silent in silent {
        let (answer, took) = silent.join().unwrap();
        assert_eq!(answer, b"", "half a question");
        assert!((10..20).contains(&took.as_secs()) && meanwhile < took, "{took:?} {meanwhile:?}");
    }

    // Whoever means another configuration is not answered for this one.
    let place = circles.world.node_directory("client");
    let told = fs::read_to_string(place.join("unanimity.toml")).unwrap();
    fs::write(place.join("other.toml"), told).unwrap();
    let mut other = Command::new(super::PROGRAM);
    other.arg("--json").arg("--config").arg(place.join("other.toml")).arg("check");
    let other = other.env(NO_PUBLIC_NETWORK, "1").output().unwrap();
    let ProcessResult { exit_code: exit, report } = ProcessResult::parse(other).unwrap();
    assert_eq!((exit, report["outcome"].as_str()), (3, Some("configuration")), "{report}");
    assert!(report["message"].as_str().unwrap().contains("other.toml"), "{report}");

    // The state has one owner.
    let second = client.run(&["serve"]).unwrap();
    assert_eq!((second.exit_code, second.report["outcome"].as_str()), (6, Some("disk")));
    assert!(second.report["message"].as_str().unwrap().contains("another unanimity is using"));
    assert!(serving());

    // What a daemon leaves behind that could not clear up is in nobody's way.
    circles.client.kill();
    assert!(socket.exists());
    assert_eq!(circles.client.run_json(&["status"]).unwrap()["serving"], Value::Null);
    circles.client.serve().unwrap();
    assert!(circles.client.run_json(&["status"]).unwrap()["serving"].is_object());
    circles.client.stop().unwrap();

    let output = circles.client.spawn(&["check"]).unwrap().wait_with_output().unwrap();
    let events = progress_events(&output);
    let bootstrap = events.iter().take_while(|event| event["event"] == "bootstrap").count();
    assert_eq!(events[bootstrap - 1]["percent"], 100.0, "{events:?}");
    assert_eq!(
        (&events[bootstrap], events.last()),
        (&round_event(0), Some(&round_event(3))),
        "{events:?}"
    );
    assert_eq!(ProcessResult::parse(output).unwrap().report["outcome"], "available");
}
