//! A node that is ended at any moment goes on where it was.

use std::collections::BTreeSet;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rustix::fs::inotify::{self};
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use serde_json::Value;
use unanimity_testkit::Draft;
use unanimity_testkit_tor::{Ended, Process};

use super::Circles;

/// What happens to the files of some directories, one step after another.
struct Steps {
    events: OwnedFd,
    seen: usize,
}

impl Steps {
    fn of(directories: &[PathBuf]) -> Steps {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        for directory in directories {
            let flags = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE;
            inotify::add_watch(&events, directory, flags).unwrap();
        }
        Steps { events, seen: 0 }
    }

    /// How many there have been.
    fn count(&mut self) -> usize {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.events, &mut buffer);
        while reader.next().is_ok() {
            self.seen += 1;
        }
        self.seen
    }

    /// Waits for that many, or for the command to end without.
    fn wait(&mut self, count: usize, command: &mut Child) {
        let began = Instant::now();
        while self.count() < count && command.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "{count} steps");
            std::thread::yield_now();
        }
    }
}

/// A client whose mirror is always one release ahead of what its peers are shown.
struct Ahead {
    circles: Circles,
    /// What the peers have.
    sequence: u64,
}

impl Ahead {
    fn artifact(sequence: u64) -> Vec<u8> {
        format!("release {sequence}\n").repeat(10_000).into_bytes()
    }

    fn draft(sequence: u64) -> Draft {
        let version = ["0.0.1", "0.0.2"][(sequence % 2) as usize];
        Draft::new(sequence, version, &Ahead::artifact(sequence))
    }

    /// Where a cycle writes.
    fn steps(&self) -> Steps {
        let (stage, root) = (&self.circles.nodes.stage, self.circles.nodes.stage.install_root());
        let state = stage.client_state().join("client");
        Steps::of(&[state, root.join("versions"), root.join("proofs"), root])
    }

    /// An update that nobody interrupts.
    fn update(&self) {
        let ended = self.circles.client.run(&["update"]).unwrap();
        let sequence = self.circles.installed();
        assert_eq!((ended.exit, sequence), (0, Some(self.sequence)), "{}", ended.report);
    }

    fn start() -> Ahead {
        let circles = Circles::start(3);
        circles.nodes.stage.release("log", &Ahead::draft(1), super::now()).unwrap();
        let mut ahead = Ahead { circles, sequence: 0 };
        ahead.next();
        ahead
    }

    /// Shows the peers one more release; the client can install it, and not the one after.
    fn next(&mut self) {
        self.sequence += 1;
        let Circles { nodes, .. } = &self.circles;
        let shown = format!("shown-{}", self.sequence);
        nodes.stage.copy_log(&shown).unwrap();
        nodes.stage.show_peers(&shown).unwrap();
        nodes.stage.release("log", &Ahead::draft(self.sequence + 1), super::now()).unwrap();
        self.circles.everybody_sees(&shown);
        let settled =
            |client: &Process| Ok(client.run(&["check"])?.report["outcome"] == "available");
        self.circles.client.wait("end of settle", settled).unwrap();
    }

    /// Everything that a node which was ended in the middle left behind makes sense.
    fn look(&self) {
        let client = &self.circles.client;
        let status = client.done(&["status"]).unwrap();
        assert_eq!(status["latched"], Value::Null);
        let Some(installed) = self.circles.nodes.stage.installed().unwrap() else { return };
        assert!(installed.sequence <= self.sequence, "{}", installed.release);
        let root = self.circles.nodes.stage.install_root();
        let file = installed.directory.join("hello");
        assert_eq!(fs::read(&file).unwrap(), Ahead::artifact(installed.sequence));
        let proof = root.join("proofs").join(&installed.release);
        let [file, proof] = [&file, &proof].map(|path| path.to_str().unwrap());
        client.done(&["verify", file, "--proof", proof]).unwrap();
    }
}

/// Files that were being written.
fn unfinished(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with('.') && name.ends_with(".new") {
            found.insert(path);
        } else if path.is_dir() && !path.is_symlink() {
            found.extend(unfinished(&path));
        }
    }
    found
}

#[test]
fn a_client_that_is_ended_at_any_moment_of_an_update_starts_again_and_installs_what_was_agreed() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ahead = Ahead::start();
    ahead.update();
    ahead.next();
    let (mut steps, began) = (ahead.steps(), Instant::now());
    ahead.update();
    let (all, took) = (steps.count(), began.elapsed());
    println!("an update has {all} steps and takes {took:?}");
    assert!(all > 10, "{all}");
    // Ended by force after so many steps, told to end, and either at a moment drawn by lot.
    let killed = (0..6).map(|nth| (false, Some(1 + nth * all / 6)));
    let told = [1, all / 2].map(|steps| (true, Some(steps)));
    for (told, steps) in killed.chain(told).chain([(true, None), (false, None)]) {
        if ahead.circles.installed() == Some(ahead.sequence) {
            ahead.next();
        }
        let mut seen = ahead.steps();
        let client = &mut ahead.circles.client;
        let mut asked = client.spawn(&["update"]).unwrap();
        match steps {
            Some(count) => seen.wait(count, &mut asked),
            None => std::thread::sleep(took.mul_f64(rng.random_range(0.0..3.0))),
        }
        if told {
            client.stop().unwrap();
        } else {
            client.kill();
        }
        let ended = Ended::read(asked.wait_with_output().unwrap()).unwrap();
        println!("told {told}, after {steps:?}: {} steps, exit {}", seen.count(), ended.exit);
        ahead.look();
        if ended.exit == 0 {
            assert_eq!(ahead.circles.installed(), Some(ahead.sequence));
        }
        ahead.circles.client.serve().unwrap();
        ahead.look();
        // It goes on with what it knew: whatever waits to be installed need not settle anew.
        let Ended { exit, report } = ahead.circles.client.run(&["check"]).unwrap();
        assert!(
            ["available", "incomplete"].contains(&report["outcome"].as_str().unwrap()),
            "{exit} {report}"
        );
    }
    if ahead.circles.installed() == Some(ahead.sequence) {
        ahead.next();
    }
    ahead.update();
    ahead.look();
    // Nothing is left of what was broken off.
    let stage = &ahead.circles.nodes.stage;
    let left = [stage.client_state(), stage.install_root()].map(|place| unfinished(&place));
    assert_eq!(left, [BTreeSet::new(), BTreeSet::new()]);
}
