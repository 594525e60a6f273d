//! The demo over Tor: a circle of processes on a private network, attacked, and ended when it should be.

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

const PROGRAM: &str = env!("CARGO_BIN_EXE_unanimity");
const TARGET: &str = env!("CARGO_TARGET_TMPDIR");

/// `demo --tor` plays all attacks, which takes longer than a test should: these are those that need
/// something of every one of its processes.
const SAMPLE_ATTACKS: [Attack; 5] = [
    Attack::ThresholdStolenUnlogged,
    Attack::FlashFork,
    Attack::EquivocatingPeer,
    Attack::OneRegressed,
    Attack::RelayingPeer,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_circle_of_processes_installs_what_is_honest_and_refuses_the_attacks() {
    let network = PrivateTorNetwork::start(&Path::new(TARGET).join("tor-package"), |_| {}).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let circle = FixtureKeys::generate(&mut StdRng::from_rng(&mut rand::rng()));
    let stage = Fixture::create(&directory.path().join("base"), circle).unwrap();
    let nodes = OnionWorld::create(stage, &network, Path::new(PROGRAM), PEERS).unwrap();
    let mut base = OnionBackend::start(nodes).await.unwrap();

    base.fixture()
        .publish_release("log", &ReleaseSpec::new(1, "1.0.0", b"hello over Tor"), base.now())
        .unwrap();
    base.poll_all_peers().await.unwrap();
    let waits = base.run_client_update().await.unwrap();
    assert_eq!(waits.exit, Exit::Settling, "{}", waits.message);
    base.advance_time(base.settle()).await;
    let mut installed = base.run_client_update().await.unwrap();
    if installed.exit == Exit::Settling {
        // Both rolls were within the second.
        base.advance_time(base.settle()).await;
        installed = base.run_client_update().await.unwrap();
    }
    assert_eq!(installed.exit, Exit::Done, "{}", installed.message);
    assert_eq!(base.fixture().installed_version().unwrap().unwrap().sequence, 1);

    for attack in SAMPLE_ATTACKS {
        let place = directory.path().join(format!("{attack:?}"));
        let attacked = attack.run(base.resume_in(&place).await.unwrap()).await.unwrap();
        assert!(attacked.resisted, "{attack:?}: {}", attacked.message);
        // What the mirror serves in place of a log entry, its peers serve as it is.
        assert_eq!(attacked.updated, attack == Attack::ThresholdStolenUnlogged);
        let forks = matches!(attack, Attack::FlashFork | Attack::EquivocatingPeer);
        assert_eq!(attacked.evidence.is_some(), forks, "{attack:?}");
    }
}

#[test]
fn ctrl_c_ends_every_process_of_the_demo_and_leaves_nothing_behind() {
    // The package that the other tests unpack is where the demo looks for it.
    symlink(".", Path::new(TARGET).join("unanimity")).ok();
    let place = tempfile::tempdir().unwrap();
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--tor", "--artifact", "Cargo.toml"])
        .env("TMPDIR", place.path())
        .env("XDG_CACHE_HOME", TARGET)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("all of them can be found")));
    // Six of the network, and six of the circle.
    assert_eq!(processes_in(place.path()).len(), 12);
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    let output = demo.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("it was told to end"), "{said}");
    assert_eq!(processes_in(place.path()), Vec::<String>::new());
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

/// The command lines of processes that work in a directory.
fn processes_in(directory: &Path) -> Vec<String> {
    let directory = directory.to_str().unwrap();
    let read = |path: PathBuf| fs::read_to_string(path.join("cmdline")).ok();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| read(entry.unwrap().path()));
    all.filter(|command| command.contains(directory)).collect()
}

#[test]
fn the_demo_over_tor_says_so_when_its_directory_is_too_deep_for_sockets() {
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(PROGRAM)
        .args(["demo", "--tor", "--artifact", "Cargo.toml", "--keep"])
        .arg(place.path().join("d".repeat(80)))
        .env("XDG_CACHE_HOME", TARGET)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("choose a shorter directory"), "{said}");
}

#[test]
fn a_copied_stage_keeps_everybodys_rights_and_shares_nothing_that_is_written_in_place() {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
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
