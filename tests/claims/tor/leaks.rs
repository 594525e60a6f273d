//! Data that leaves a node: its connections, and the contents of its log.

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

/// Asserts that the logs of all nodes have no onion addresses and no keys, of these nodes or any
/// others.
pub(super) fn assert_no_private_data_logged(onion: &OnionWorld) {
    let directories: Vec<PathBuf> =
        PEER_NAMES.iter().chain(&["client"]).map(|name| onion.node_directory(name)).collect();
    let mut private = vec!["PRIVATE+KEY".to_owned(), "descriptor:x25519:".to_owned()];
    for directory in &directories {
        let Ok(config) = unanimity_config::load_node_config(&directory.join("unanimity.toml"))
        else {
            continue;
        };
        for entry in config.peers.entries() {
            private.push(HEXLOWER.encode(&entry.address.key));
            private.push(entry.address.to_string().split('.').next().unwrap().to_owned());
            private.extend(entry.client_auth.as_ref().map(|key| HEXLOWER.encode(&key.0)));
        }
        let Some(identity) = Identity::read(&config.cycle.state).unwrap() else { continue };
        let client_auth = identity.client_auth.as_bytes();
        private.extend([HEXLOWER.encode(client_auth), BASE64.encode(client_auth)]);
        private.push(identity.cosigning_key.to_private_key_line());
    }
    let logs =
        directories.iter().filter_map(|directory| fs::read_to_string(directory.join("log")).ok());
    for log in logs {
        assert_eq!(find_leak(&log, &private), None, "{log}");
    }
}

/// The first private text in a log, or a word as long as an address or a key.
fn find_leak(log: &str, private: &[String]) -> Option<String> {
    let lower = log.to_lowercase();
    let found = private.iter().find(|private| lower.contains(&private.to_lowercase()));
    // An address is 56 characters of base32, a client authorization key 52.
    let base32 = |c: char| matches!(c, 'a'..='z' | '2'..='7');
    let long = lower.split(|c| !base32(c)).find(|word| word.len() >= 52);
    found.cloned().or(long.map(str::to_owned))
}

#[test]
fn the_check_finds_an_address_or_a_key_in_a_log() {
    let private = ["PRIVATE+KEY".to_owned()];
    let address = "l5satjgud6gucryazcyvyvhuxhr74u6ygigiuyixe3a6ysis67ororad";
    for line in [format!("at {address}.onion:1"), address.to_uppercase(), "a private+key".into()] {
        assert!(find_leak(&line, &private).is_some(), "{line}");
    }
    assert_eq!(find_leak("hosting this node's onion service, of 1234567890 bytes", &private), None);
}

const STRACE: DebianPackage = DebianPackage { name: "strace", programs: &["strace"], remark: "" };

/// Traces a node's processes: strace writes their socket and open calls to a file.
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

/// Waits until a traced process has ended. Returns the lines of its trace.
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

/// The socket that the C library connects to first to look up a user's name, which arti asks for.
const USER_LOOKUP_SOCKET: &str = "/var/run/nscd/socket";
/// The files that the C library reads first to look up a host name.
const HOST_LOOKUP_FILES: [&str; 3] = ["/etc/resolv.conf", "/etc/hosts", "/etc/host.conf"];

/// The forbidden access in a line of a trace, if there is one. The node may connect to these
/// relays, and use this Unix socket.
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
            (!allowed).then_some("the Unix socket of another program")
        }
        ("open" | "openat", _) => {
            let file = strace_field(line, "\"", '"')?;
            HOST_LOOKUP_FILES.contains(&file).then_some("a lookup of a host name")
        }
        ("connect", Some("AF_INET")) => {
            let address = strace_field(line, "inet_addr(\"", '"')?.parse().ok()?;
            let port = strace_field(line, "htons(", ')')?.parse().ok()?;
            let to = SocketAddr::new(address, port);
            (!relays.contains(&to)).then_some("a connection to an address that is no relay")
        }
        (_, Some(_)) => Some("an address where none belongs"),
        (_, None) => None,
    }
}

pub(super) fn assert_no_strays(trace: &[String], relays: &[SocketAddr], socket: &Path) {
    for line in trace {
        assert_eq!(stray_access(line, relays, socket), None, "{line}");
    }
    // An empty trace would prove nothing.
    let ports: BTreeSet<&str> =
        trace.iter().filter_map(|line| strace_field(line, "htons(", ')')).collect();
    assert!(!ports.is_empty() && trace.iter().any(|line| line.contains(" sendto(")), "{trace:?}");
}

#[test]
fn a_node_connects_only_to_relays() {
    let mut world = TorTestWorld::prepare(3);
    let (daemon, alone) =
        (world.network.scratch_path("daemon"), world.network.scratch_path("alone"));
    let plain = world.client.wrapper.clone();
    trace_process(&mut world.client, &daemon);
    world.client.serve().unwrap();
    world.client.wrapper = plain;
    world.peers.iter_mut().for_each(|peer| peer.serve().unwrap());
    world.peers.iter_mut().for_each(wait_reachable);
    wait_reachable(&mut world.client);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    // The traced node asks, installs and answers.
    let result = world.update_until_settled();
    assert_eq!((result.exit_code, world.installed()), (0, Some(1)), "{}", result.report);
    let asked = |bela: &NodeProcess| {
        Ok(peer_answers(&bela.run(&["peers", "test"])?.report)["client"].is_ok())
    };
    world.peers[1].wait("answer of the client", asked).unwrap();
    let id = world.client.id().unwrap();
    world.client.stop().unwrap();
    let (relays, state) = (world.network.relays(), world.onion.fixture.client_state());
    let socket = state.join("serve/socket");
    let trace_of_daemon = read_trace(&daemon, id);
    assert_no_strays(&trace_of_daemon, &relays, &socket);
    assert!(trace_of_daemon.iter().any(|line| line.contains(" bind(")));

    trace_process(&mut world.client, &alone);
    let command = world.client.spawn(&["check"]).unwrap();
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
fn the_check_finds_stray_connections() {
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
