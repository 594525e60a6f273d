//! Commands that reach a daemon through its control socket, and commands without a daemon.

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
use crate::messages::Messages;

fn permissions(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Sends bytes to a daemon. Returns the answer up to the end of the stream, and how long it took.
fn exchange_bytes(socket: &Path, bytes: &[u8]) -> (Vec<u8>, Duration) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let began = Instant::now();
    match stream.write_all(bytes) {
        // The daemon need not read all of the bytes.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{error}"),
        _ => {}
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // The daemon closed the socket with bytes unread.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => {}
    }
    (answer, began.elapsed())
}

/// The progress events that a command printed before its report.
pub(super) fn progress_events(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, events) = lines.split_last().unwrap();
    assert!(events.iter().all(|event| event["schema"] == "unanimity/v1"), "{text}");
    events.to_vec()
}

/// The event that `answered` of three peers have answered.
fn round_event(answered: u32) -> Value {
    json!({ "schema": "unanimity/v1", "event": "round", "peers": 3, "answered": answered, "silent": 0 })
}

#[test]
fn commands_use_a_private_socket_and_work_without_a_daemon() {
    let mut world = TorTestWorld::start(3);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    let state = world.onion.fixture.client_state();
    let socket = state.join("serve/socket");
    assert_eq!((permissions(&socket), permissions(&state.join("serve"))), (0o600, 0o700));
    let client = &world.client;
    let serving = || client.run_json(&["status"]).unwrap()["serving"].is_object();

    // One command more than the daemon runs at once.
    let commands = (0..9).map(|_| client.spawn(&["check"]).unwrap());
    for command in commands.collect::<Vec<_>>() {
        // Each command gets the events of its own cycle, and of the cycles before it.
        let output = command.wait_with_output().unwrap();
        let events = progress_events(&output);
        assert!(events.contains(&round_event(0)) && events.contains(&round_event(3)), "{events:?}");
        let ProcessResult { exit_code: exit, report } = ProcessResult::parse(output).unwrap();
        assert!([10, 11].contains(&exit), "{report}");
    }

    // Clients that do not finish their question are cut off, and delay no other client.
    let silent: Vec<_> = (0..7)
        .map(|_| {
            let socket = socket.clone();
            std::thread::spawn(move || exchange_bytes(&socket, b"half a quest"))
        })
        .collect();
    let began = Instant::now();
    let (answer, _) = exchange_bytes(&socket, &vec![b'x'; 1024 * 1024]);
    assert_eq!(answer, b"", "an endless line");
    let mut messages = Messages::new(world.directory.path());
    let (answer, _) = exchange_bytes(&socket, b"\xff\x00 {}[\n");
    messages.add("no JSON", &String::from_utf8(answer).unwrap());
    let (answer, _) = exchange_bytes(&socket, b"{\"config\":\"/\",\"command\":\"Destroy\"}\n");
    messages.add("unknown command", &String::from_utf8(answer).unwrap());
    // The configuration is a list of bytes, so that the daemon reads on to the request.
    let (answer, _) = exchange_bytes(&socket, b"{\"config\":[47],\"request\":\"Destroy\"}\n");
    let answer = String::from_utf8(answer).unwrap();
    let expected = "the daemon does not understand this command: unknown variant `Destroy`";
    assert!(answer.contains(expected), "{answer}");
    assert!(serving());
    let meanwhile = began.elapsed();
    for silent in silent {
        let (answer, took) = silent.join().unwrap();
        assert_eq!(answer, b"", "half a question");
        assert!((10..20).contains(&took.as_secs()) && meanwhile < took, "{took:?} {meanwhile:?}");
    }

    // A command with another configuration gets no answer about this one.
    let directory = world.onion.node_directory("client");
    let config = fs::read_to_string(directory.join("unanimity.toml")).unwrap();
    fs::write(directory.join("other.toml"), config).unwrap();
    let mut other = Command::new(super::PROGRAM);
    other.arg("--json").arg("--config").arg(directory.join("other.toml")).arg("check");
    let other = other.env(NO_PUBLIC_NETWORK, "1").output().unwrap();
    let ProcessResult { exit_code: exit, report } = ProcessResult::parse(other).unwrap();
    assert_eq!((exit, report["outcome"].as_str()), (3, Some("configuration")), "{report}");
    messages.add("other configuration", report["message"].as_str().unwrap());

    // The state has one owner.
    let second = client.run(&["serve"]).unwrap();
    assert_eq!((second.exit_code, second.report["outcome"].as_str()), (6, Some("disk")));
    messages.add("second daemon", second.report["message"].as_str().unwrap());
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/daemon_socket.txt"]);
    assert!(serving());

    // The socket of a killed daemon blocks neither commands nor the next daemon.
    world.client.kill();
    assert!(socket.exists());
    assert_eq!(world.client.run_json(&["status"]).unwrap()["serving"], Value::Null);
    world.client.serve().unwrap();
    assert!(world.client.run_json(&["status"]).unwrap()["serving"].is_object());
    world.client.stop().unwrap();

    let output = world.client.spawn(&["check"]).unwrap().wait_with_output().unwrap();
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
