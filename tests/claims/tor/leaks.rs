//! What leaves a node, and what it writes down.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use unanimity_state::Identity;
use unanimity_testkit::{PEER_NAMES, ReleaseSpec};
use unanimity_testkit_tor::{DebianPackage, ExternalPrograms, NodeProcess, OnionWorld};

use super::{TorTestWorld, peer_answers, wait_reachable};

/// Searches what a circle's nodes logged for addresses and keys, of theirs or anybody's.
pub(super) fn assert_no_private_data_logged(nodes: &OnionWorld) {
    let places: Vec<PathBuf> =
        PEER_NAMES.iter().chain(&["client"]).map(|who| nodes.node_directory(who)).collect();
    let mut private = vec!["PRIVATE+KEY".to_owned(), "descriptor:x25519:".to_owned()];
    for place in &places {
        let Ok(told) = unanimity_config::load_node_config(&place.join("unanimity.toml")) else {
            continue;
        };
        for member in told.peers.entries() {
            private.push(HEXLOWER.encode(&member.address.key));
            private.push(member.address.to_string().split('.').next().unwrap().to_owned());
            private.extend(member.client_auth.as_ref().map(|key| HEXLOWER.encode(&key.0)));
        }
        let Some(identity) = Identity::read(&told.cycle.state).unwrap() else { continue };
        let discovery = identity.client_auth.as_bytes();
        private.extend([HEXLOWER.encode(discovery), BASE64.encode(discovery)]);
        private.push(identity.cosigning_key.to_private_key_line());
    }
    let logs = places.iter().filter_map(|place| fs::read_to_string(place.join("log")).ok());
    for log in logs {
        assert_eq!(find_leak(&log, &private), None, "{log}");
    }
}

/// What a log tells that it should not.
fn find_leak(log: &str, private: &[String]) -> Option<String> {
    let lower = log.to_lowercase();
    let told = private.iter().find(|private| lower.contains(&private.to_lowercase()));
    // An address is 56 characters of base32, a discovery key 52.
    let base32 = |c: char| matches!(c, 'a'..='z' | '2'..='7');
    let long = lower.split(|c| !base32(c)).find(|word| word.len() >= 52);
    told.cloned().or(long.map(str::to_owned))
}

#[test]
fn an_address_or_a_key_in_a_log_would_be_found() {
    let private = ["PRIVATE+KEY".to_owned()];
    let address = "l5satjgud6gucryazcyvyvhuxhr74u6ygigiuyixe3a6ysis67ororad";
    for told in [format!("at {address}.onion:1"), address.to_uppercase(), "a private+key".into()] {
        assert!(find_leak(&told, &private).is_some(), "{told}");
    }
    assert_eq!(find_leak("hosting our onion service, of 1234567890 bytes", &private), None);
}

const STRACE: DebianPackage = DebianPackage { name: "strace", programs: &["strace"], remark: "" };

/// Has a node's processes traced: what they do with sockets is in a file.
pub(super) fn trace_process(process: &mut NodeProcess, file: &Path) {
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("strace-package");
    let strace = ExternalPrograms::find(&STRACE, &package, &mut |_| {}).unwrap();
    let strace = strace.command("strace").unwrap();
    let mut through = Vec::new();
    for (variable, value) in strace.get_envs() {
        let mut set = variable.to_owned();
        set.push("=");
        set.push(value.unwrap());
        through.extend(["env".into(), set]);
    }
    through.push(strace.get_program().to_owned());
    // The traced program keeps the process id that was started, and its environment.
    let options =
        ["-D", "-f", "-q", "-s", "0", "-E", "LD_LIBRARY_PATH", "-E", "UNANIMITY_LOG=info"];
    through.extend(options.map(Into::into));
    through.push("-e".into());
    through.push("trace=socket,connect,bind,listen,sendto,sendmsg,sendmmsg,open,openat".into());
    through.extend(["-o".into(), file.into()]);
    process.wrapper = through;
}

/// What a process did with sockets, once it has ended.
pub(super) fn read_trace(file: &Path, process: u32) -> Vec<String> {
    let (process, began) = (process.to_string(), Instant::now());
    let ends = |line: &str| line.split_whitespace().take(2).eq([process.as_str(), "+++"]);
    loop {
        let text = fs::read_to_string(file).unwrap();
        if text.lines().any(ends) {
            return text.lines().map(str::to_owned).collect();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{} has no end", file.display());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The value of a field such as `sin_port=htons(9)`, as strace prints it.
fn strace_field<'a>(line: &'a str, before: &str, after: char) -> Option<&'a str> {
    line.split_once(before)?.1.split(after).next()
}

/// Where the C library asks first who a file's owner is, whose name arti wants to know.
const USER_LOOKUP_SOCKET: &str = "/var/run/nscd/socket";
/// What is read first where the name of a host is looked up.
const HOST_LOOKUP_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/host.conf"];

/// What is wrong with a line of a trace, of a node that may connect to these relays and to, or be
/// reached by, this socket.
fn stray_access(line: &str, relays: &[SocketAddr], socket: &Path) -> Option<&'static str> {
    let call = line.split_whitespace().nth(1)?.split('(').next()?;
    let family = strace_field(line, "sa_family=", ',');
    match (call, family) {
        ("socket", _) if line.contains("(AF_UNIX, ") => None,
        ("socket", _) if line.contains("(AF_INET, SOCK_STREAM|") => None,
        ("socket", _) => Some("neither TCP nor a Unix socket"),
        (_, Some("AF_UNIX")) => {
            let path = strace_field(line, "sun_path=\"", '"').map(Path::new);
            let allowed = [Some(socket), Some(Path::new(USER_LOOKUP_SOCKET))].contains(&path);
            (!allowed).then_some("somebody else's Unix socket")
        }
        ("open" | "openat", _) => {
            let file = strace_field(line, "\"", '"')?;
            HOST_LOOKUP_FILES.contains(&file).then_some("the name of a host is looked up")
        }
        ("connect", Some("AF_INET")) => {
            let address = strace_field(line, "inet_addr(\"", '"')?.parse().ok()?;
            let port = strace_field(line, "htons(", ')')?.parse().ok()?;
            let to = SocketAddr::new(address, port);
            (!relays.contains(&to)).then_some("to somebody who is no relay")
        }
        (_, Some(_)) => Some("an address where none belongs"),
        (_, None) => None,
    }
}

pub(super) fn assert_no_strays(trace: &[String], relays: &[SocketAddr], socket: &Path) {
    for line in trace {
        assert_eq!(stray_access(line, relays, socket), None, "{line}");
    }
    // A trace of nothing proves nothing.
    let ports: BTreeSet<&str> =
        trace.iter().filter_map(|line| strace_field(line, "htons(", ')')).collect();
    assert!(!ports.is_empty() && trace.iter().any(|line| line.contains(" sendto(")), "{trace:?}");
}

#[test]
fn a_node_connects_to_relays_and_to_nobody_else() {
    let mut circles = TorTestWorld::prepare(3);
    let (daemon, alone) =
        (circles.network.scratch_path("daemon"), circles.network.scratch_path("alone"));
    let plain = circles.client.wrapper.clone();
    trace_process(&mut circles.client, &daemon);
    circles.client.serve().unwrap();
    circles.client.wrapper = plain;
    circles.peers.iter_mut().for_each(|peer| peer.serve().unwrap());
    circles.peers.iter_mut().for_each(wait_reachable);
    wait_reachable(&mut circles.client);
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    // It asks, installs and is asked.
    let ended = circles.update_until_settled();
    assert_eq!((ended.exit_code, circles.installed()), (0, Some(1)), "{}", ended.report);
    let asked = |bela: &NodeProcess| {
        Ok(peer_answers(&bela.run(&["peers", "test"])?.report)["client"].is_ok())
    };
    circles.peers[1].wait("answer of the client", asked).unwrap();
    let id = circles.client.id().unwrap();
    circles.client.stop().unwrap();
    let (relays, state) = (circles.network.relays(), circles.world.fixture.client_state());
    let socket = state.join("serve/socket");
    let trace_of_daemon = read_trace(&daemon, id);
    assert_no_strays(&trace_of_daemon, &relays, &socket);
    assert!(trace_of_daemon.iter().any(|line| line.contains(" bind(")));

    trace_process(&mut circles.client, &alone);
    let command = circles.client.spawn(&["check"]).unwrap();
    let id = command.id();
    let output = command.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    let trace_of_check = read_trace(&alone, id);
    assert_no_strays(&trace_of_check, &relays, &socket);
    assert!(
        !trace_of_check.iter().any(|line| line.contains(" bind(") || line.contains(" listen("))
    );
}

#[test]
fn a_stray_connection_would_be_found() {
    let (relays, port) = (["127.0.0.1:5000".parse().unwrap()], 5000);
    let socket = Path::new("/state/serve/socket");
    let inet = |call: &str, address: &str, port: u16| {
        format!(
            "7 {call}(9, {{sa_family=AF_INET, sin_port=htons({port}), sin_addr=inet_addr(\"{address}\")}}, 16) = 0"
        )
    };
    let good = [
        inet("connect", "127.0.0.1", port),
        "7 connect(9, {sa_family=AF_UNIX, sun_path=\"/state/serve/socket\"}, 110) = 0".to_owned(),
        "7 socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, IPPROTO_IP) = 9".to_owned(),
        "7 sendto(9, \"\"..., 514, MSG_NOSIGNAL, NULL, 0) = 514".to_owned(),
        "7 <... connect resumed>)            = 0".to_owned(),
        "7 connect(9, {sa_family=AF_UNIX, sun_path=\"/var/run/nscd/socket\"}, 110) = 0".to_owned(),
        "7 openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY|O_CLOEXEC) = 9".to_owned(),
    ];
    let bad = [
        inet("connect", "127.0.0.1", 9),
        inet("connect", "192.0.2.1", port),
        inet("bind", "127.0.0.1", port),
        inet("sendto", "127.0.0.1", port),
        "7 connect(9, {sa_family=AF_INET6, sin6_port=htons(1), inet_pton(AF_INET6, \"::1\")}) = 0"
            .to_owned(),
        "7 connect(9, {sa_family=AF_UNIX, sun_path=\"/run/user/1/bus\"}, 110) = 0".to_owned(),
        "7 openat(AT_FDCWD, \"/etc/resolv.conf\", O_RDONLY|O_CLOEXEC) = 9".to_owned(),
        "7 bind(9, {sa_family=AF_UNIX, sun_path=@\"abstract\"}, 110) = 0".to_owned(),
        "7 socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP) = 9".to_owned(),
        "7 socket(AF_INET6, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_IP) = 9".to_owned(),
        "7 socket(AF_NETLINK, SOCK_RAW|SOCK_CLOEXEC, NETLINK_ROUTE) = 9".to_owned(),
    ];
    for line in good {
        assert_eq!(stray_access(&line, &relays, socket), None, "{line}");
    }
    for line in bad {
        assert!(stray_access(&line, &relays, socket).is_some(), "{line}");
    }
}
