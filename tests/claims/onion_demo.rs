//! The demo over Tor: processes on a private network, the attacks on them, and the cleanup at the
//! end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rustix::process::{Pid, Signal, kill_process};
use unanimity_report::Exit;
use unanimity_testkit::{Attack, DemoBackend, Fixture, FixtureKeys, PEERS, ReleaseSpec, copy_tree};
use unanimity_testkit_tor::{OnionBackend, OnionWorld, PrivateTorNetwork};

use crate::messages::Messages;

const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// A sample of the attacks of `demo --tor`, since all of them take longer than a test should. Each
/// process of the demo has a part in at least one of them.
const SAMPLE_ATTACKS: [Attack; 5] = [
    Attack::ThresholdStolenUnlogged,
    Attack::FlashFork,
    Attack::EquivocatingPeer,
    Attack::OneRegressed,
    Attack::RelayingPeer,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_over_tor_install_the_honest_update_and_refuse_attacks() {
    let network = PrivateTorNetwork::start(&Path::new(TARGET).join("tor-package"), |_| {}).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let keys = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
    let fixture = Fixture::create(&directory.path().join("base"), keys).unwrap();
    let nodes = OnionWorld::create(fixture, &network, Path::new(PROGRAM), PEERS).unwrap();
    let mut base = OnionBackend::start(nodes).await.unwrap();

    base.fixture()
        .publish_release("log", &ReleaseSpec::new(1, "1.0.0", b"hello over Tor"), base.now())
        .unwrap();
    base.poll_all_peers().await.unwrap();
    let settling = base.run_client_update().await.unwrap();
    assert_eq!(settling.exit, Exit::Settling, "{}", settling.message);
    base.advance_time(base.settle()).await;
    let mut installed = base.run_client_update().await.unwrap();
    if installed.exit == Exit::Settling {
        // Both rounds were within one second.
        base.advance_time(base.settle()).await;
        installed = base.run_client_update().await.unwrap();
    }
    assert_eq!(installed.exit, Exit::Done, "{}", installed.message);
    assert_eq!(base.fixture().installed_version().unwrap().unwrap().sequence, 1);

    for attack in SAMPLE_ATTACKS {
        let copy = directory.path().join(format!("{attack:?}"));
        let result = attack.run(base.resume_in(&copy).await.unwrap()).await.unwrap();
        assert!(result.resisted, "{attack:?}: {}", result.message);
        // A peer serves the true log entry, which the attacker's mirror has replaced.
        assert_eq!(result.updated, attack == Attack::ThresholdStolenUnlogged);
        let forks = matches!(attack, Attack::FlashFork | Attack::EquivocatingPeer);
        assert_eq!(result.evidence.is_some(), forks, "{attack:?}");
    }
}

#[test]
fn sigint_ends_all_processes_of_the_demo_and_leaves_no_files() {
    // The demo finds the package of Tor that the other tests have unpacked.
    symlink(".", Path::new(TARGET).join("unanimity")).ok();
    let scratch = tempfile::tempdir().unwrap();
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--tor", "--artifact", "Cargo.toml"])
        .env("TMPDIR", scratch.path())
        .env("XDG_CACHE_HOME", TARGET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("all nodes are reachable")));
    // Six processes of the Tor network, five peers and one client.
    assert_eq!(processes_in(scratch.path()).len(), 12);
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let output = demo.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let mut messages = Messages::new(scratch.path());
    messages.add("SIGINT", &stderr);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/demo_interrupted.txt"]);
    assert_eq!(processes_in(scratch.path()), Vec::<String>::new());
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

/// The command lines of all processes that name a directory.
fn processes_in(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let read = |path: PathBuf| fs::read_to_string(path.join("cmdline")).ok();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| read(entry.unwrap().path()));
    all.filter(|command| command.contains(directory)).collect()
}

#[test]
fn the_demo_over_tor_refuses_a_directory_too_long_for_sockets() {
    let scratch = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["demo", "--tor", "--artifact", "Cargo.toml", "--keep"])
        .arg(scratch.path().join("d".repeat(80)))
        .env("XDG_CACHE_HOME", TARGET)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let mut messages = Messages::new(scratch.path());
    messages.add("demo --tor", &stderr);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/demo_directory.txt"]);
}

#[test]
fn a_copied_world_keeps_file_modes_and_shares_no_mutable_file() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::create_dir_all(from.join("private")).unwrap();
    for (path, mode) in [("private/key", 0o600), ("private", 0o700)] {
        if path.ends_with("key") {
            fs::write(from.join(path), "secret").unwrap();
        }
        fs::set_permissions(from.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let _socket = UnixListener::bind(from.join("socket")).unwrap();
    for name in ["artifact", "log", "dir.sqlite3"] {
        fs::write(from.join(name), vec![0; 100_000]).unwrap();
    }
    copy_tree(&from, &to).unwrap();
    let mode = |path: &str| fs::metadata(to.join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("private"), mode("private/key")), (0o700, 0o600));
    assert!(!to.join("socket").exists());
    let shared = |name: &str| fs::metadata(to.join(name)).unwrap().nlink() == 2;
    assert_eq!(["artifact", "log", "dir.sqlite3"].map(shared), [true, false, false]);
}
