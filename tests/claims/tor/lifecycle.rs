//! Nodes that are stopped or killed at any moment, and started again.

use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::{NodeProcess, ProcessResult};

use super::TorTestWorld;

/// The events of the files in some directories, as inotify reports them.
struct FileEvents {
    events: OwnedFd,
    seen: usize,
}

impl FileEvents {
    fn watch(directories: &[PathBuf]) -> FileEvents {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        for directory in directories {
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            inotify::add_watch(&events, directory, flags).unwrap();
        }
        FileEvents { events, seen: 0 }
    }

    /// The number of events so far.
    fn count(&mut self) -> usize {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        while reader.next().is_ok() {
            self.seen += 1;
        }
        self.seen
    }

    /// Waits for `count` events, or for the end of the command.
    fn wait(&mut self, count: usize, command: &mut Child) {
        let began = Instant::now();
        while self.count() < count && command.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "{count} steps");
            std::thread::yield_now();
        }
    }
}

/// A client whose mirror is always one release ahead of the peers' mirrors.
struct MirrorAheadOfPeers {
    world: TorTestWorld,
    /// The sequence of the newest release on the peers' mirrors.
    sequence: u64,
}

impl MirrorAheadOfPeers {
    fn artifact(sequence: u64) -> Vec<u8> {
        format!("release {sequence}\n").repeat(10_000).into_bytes()
    }

    fn draft(sequence: u64) -> ReleaseSpec {
        let version = ["0.0.1", "0.0.2"][(sequence % 2) as usize];
        ReleaseSpec::new(sequence, version, &MirrorAheadOfPeers::artifact(sequence))
    }

    /// Watches the directories to which a cycle writes.
    fn watch_files(&self) -> FileEvents {
        let (fixture, root) = (&self.world.onion.fixture, self.world.onion.fixture.install_root());
        let state = fixture.client_state().join("client");
        FileEvents::watch(&[state, root.join("versions"), root.join("proofs"), root])
    }

    /// Runs an update that is not interrupted.
    fn update(&self) {
        let result = self.world.client.run(&["update"]).unwrap();
        let sequence = self.world.installed();
        assert_eq!((result.exit_code, sequence), (0, Some(self.sequence)), "{}", result.report);
    }

    fn start() -> MirrorAheadOfPeers {
        let world = TorTestWorld::start(3);
        world
            .onion
            .fixture
            .publish_release("log", &MirrorAheadOfPeers::draft(1), super::now())
            .unwrap();
        let mut ahead = MirrorAheadOfPeers { world, sequence: 0 };
        ahead.publish_next();
        ahead
    }

    /// Shows the peers one more release. The client can install it, and not the release after it.
    fn publish_next(&mut self) {
        self.sequence += 1;
        let TorTestWorld { onion, .. } = &self.world;
        let shown = format!("shown-{}", self.sequence);
        onion.fixture.copy_log(&shown).unwrap();
        onion.fixture.set_peer_mirrors(&shown).unwrap();
        onion
            .fixture
            .publish_release("log", &MirrorAheadOfPeers::draft(self.sequence + 1), super::now())
            .unwrap();
        self.world.wait_for_peers_to_see(&shown);
        let settled =
            |client: &NodeProcess| Ok(client.run(&["check"])?.report["outcome"] == "available");
        self.world.client.wait("end of settle", settled).unwrap();
    }

    /// Asserts that the files of an interrupted node are consistent.
    fn assert_consistent(&self) {
        let client = &self.world.client;
        let status = client.run_json(&["status"]).unwrap();
        assert_eq!(status["latched"], Value::Null);
        let Some(installed) = self.world.onion.fixture.installed_version().unwrap() else { return };
        assert!(installed.sequence <= self.sequence, "{}", installed.release);
        let root = self.world.onion.fixture.install_root();
        let file = installed.directory.join("hello");
        assert_eq!(fs::read(&file).unwrap(), MirrorAheadOfPeers::artifact(installed.sequence));
        let proof = root.join("proofs").join(&installed.release);
        let [file, proof] = [&file, &proof].map(|path| path.to_str().unwrap());
        client.run_json(&["verify", file, "--proof", proof]).unwrap();
    }
}

/// The temporary files of unfinished writes.
fn temporary_files(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(".new") {
            found.insert(path);
        } else if path.is_dir() && !path.is_symlink() {
            found.extend(temporary_files(&path));
        }
    }
    found
}

#[test]
fn a_client_stopped_or_killed_in_an_update_recovers_and_installs() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ahead = MirrorAheadOfPeers::start();
    ahead.update();
    ahead.publish_next();
    let (mut steps, began) = (ahead.watch_files(), Instant::now());
    ahead.update();
    let (all, took) = (steps.count(), began.elapsed());
    println!("an update has {all} steps and takes {took:?}");
    assert!(all > 10, "{all}");
    // Killed after some steps, stopped after some steps, and both at a random moment.
    let killed = (0..6).map(|nth| (false, Some(1 + nth * all / 6)));
    let stopped = [1, all / 2].map(|steps| (true, Some(steps)));
    for (stops, steps) in killed.chain(stopped).chain([(true, None), (false, None)]) {
        if ahead.world.installed() == Some(ahead.sequence) {
            ahead.publish_next();
        }
        let mut seen = ahead.watch_files();
        let client = &mut ahead.world.client;
        let mut asked = client.spawn(&["update"]).unwrap();
        match steps {
            Some(count) => seen.wait(count, &mut asked),
            None => std::thread::sleep(took.mul_f64(rng.random_range(0.0..3.0))),
        }
        if stops {
            client.stop().unwrap();
        } else {
            client.kill();
        }
        let result = ProcessResult::parse(asked.wait_with_output().unwrap()).unwrap();
        println!(
            "stops {stops}, after {steps:?}: {} steps, exit {}",
            seen.count(),
            result.exit_code
        );
        ahead.assert_consistent();
        if result.exit_code == 0 {
            assert_eq!(ahead.world.installed(), Some(ahead.sequence));
        }
        ahead.world.client.serve().unwrap();
        ahead.assert_consistent();
        // The client keeps its rounds: a settled release need not settle again.
        let ProcessResult { exit_code: exit, report } = ahead.world.client.run(&["check"]).unwrap();
        assert!(
            ["available", "incomplete"].contains(&report["outcome"].as_str().unwrap()),
            "{exit} {report}"
        );
    }
    if ahead.world.installed() == Some(ahead.sequence) {
        ahead.publish_next();
    }
    ahead.update();
    ahead.assert_consistent();
    // No temporary file of an interrupted write is left.
    let fixture = &ahead.world.onion.fixture;
    let left = [fixture.client_state(), fixture.install_root()]
        .map(|directory| temporary_files(&directory));
    assert_eq!(left, [BTreeSet::new(), BTreeSet::new()]);
}
