//! Power loss and failing storage at every step of an installation and of a rollback.
//!
//! One of the two versions remains, complete, and the next run finishes the interrupted one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::io::Errno;
use unanimity_client::CycleOutcome;
use unanimity_install::InstallRoot;
use unanimity_install::journal::MIN_BACKOFF;
use unanimity_protocol::Timestamp;
use unanimity_storage::{Clock as _, Storage};
use unanimity_testkit::archives::{dir, file_with, link, tar, zst};
use unanimity_testkit::power_loss_fs::PowerLossFs;
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::{ReleaseSpec, World};

const VERSIONS: [&str; 2] = ["1.0.0", "1.1.0"];

/// The files of a version, by their path in its directory.
fn version_files(sequence: u64, is_tree: bool) -> Vec<(&'static str, Vec<u8>)> {
    let content =
        |name: &str| format!("#!/bin/sh\necho {name} of release {sequence}\n").into_bytes();
    let names: &[&str] =
        if is_tree { &["bin/hello", "bin/other", "share/x/data"] } else { &["hello"] };
    names.iter().map(|name| (*name, content(name))).collect()
}

fn release_spec(sequence: u64, is_tree: bool) -> ReleaseSpec {
    let files = version_files(sequence, is_tree);
    let version = VERSIONS[sequence as usize - 1];
    if !is_tree {
        return ReleaseSpec::new(sequence, version, &files[0].1);
    }
    let mut entries = vec![dir("bin"), dir("share"), dir("share/x"), link("run", "bin/hello")];
    entries.extend(files.iter().map(|(name, content)| file_with(name.as_bytes(), 0o755, content)));
    ReleaseSpec {
        file: "hello.tar.zst",
        ..ReleaseSpec::new(sequence, version, &zst(&tar(&entries)))
    }
}

/// A world whose client has installed release 1 and would install release 2 at the next update.
struct PowerLossScenario {
    world: World,
    base: PowerLossFs,
    is_tree: bool,
    /// The number of file system states that were checked.
    states_checked: usize,
}

impl PowerLossScenario {
    async fn new(directory: &Path, is_tree: bool) -> PowerLossScenario {
        let world = World::create(directory, 5, Timestamp(1_790_000_000)).unwrap();
        let base = PowerLossFs::default();
        let mut scene = PowerLossScenario { world, base: base.clone(), is_tree, states_checked: 0 };
        scene.world.disk = Storage::default().with_filesystem(base);
        for sequence in [1, 2] {
            scene.world.publish(&release_spec(sequence, is_tree)).unwrap();
            scene.advance_and_poll(Duration::ZERO).await;
            scene.world.check().await.1.unwrap_err();
            scene.advance_and_poll(Duration::from_secs(61 * 60)).await;
            if sequence == 1 {
                scene.expect_update_installs().await;
            }
        }
        scene
    }

    async fn advance_and_poll(&mut self, time: Duration) {
        self.world.advance(time);
        self.world.poll_all().await.unwrap();
    }

    async fn expect_update_installs(&mut self) {
        let (report, result) = self.world.update().await;
        assert!(matches!(result, Ok(CycleOutcome::Installed(_))), "{result:?} {report:?}");
    }

    fn install_root(&self, disk: Storage) -> InstallRoot {
        let config = &self.world.config;
        InstallRoot::new(&config.cycle.install_root, disk).with_hooks(config.cycle.hooks.clone())
    }

    /// The sequence of the installed version, after a check that all of its files are complete.
    fn installed_sequence(&mut self, machine: &PowerLossFs) -> u64 {
        self.states_checked += 1;
        let disk = Storage::default().with_filesystem(machine.clone());
        let current =
            self.install_root(disk.clone()).installed().unwrap().expect("one of the two versions");
        for (name, content) in version_files(current.sequence, self.is_tree) {
            let read = disk.read(&current.directory.join(name), 1 << 20).unwrap();
            assert_eq!(read, Some(content), "{name} of {}", current.release);
        }
        current.sequence
    }

    /// Asserts that at most three further updates lead to the expected version.
    async fn expect_recovers_to(&mut self, machine: &PowerLossFs, expected: u64) {
        let disk = Storage::default().with_filesystem(machine.clone());
        self.world.disk = disk.clone();
        for _ in 0..3 {
            self.world.update().await.1.ok();
            if self.installed_sequence(machine) == expected {
                break;
            }
            // An interrupted trial is undone. The client tries the release again after a backoff.
            self.advance_and_poll(MIN_BACKOFF).await;
        }
        assert_eq!(self.installed_sequence(machine), expected);
        let root = self.install_root(disk.clone());
        assert_eq!(root.journal().unwrap().trial, None);
        assert_eq!(root.floor().unwrap(), expected);
        if expected == 2 {
            let versions = self.world.config.cycle.install_root.join("versions");
            let mut left = disk.list_dir(&versions).unwrap();
            left.sort();
            assert_eq!(left, ["1-1.0.0", "2-1.1.0"]);
        }
    }
}

/// Storage that fails at step `from` and, unless `only`, at every later step. The flag says whether
/// a step has failed.
fn failing_storage(from: usize, only: bool, with: Errno) -> (Storage, Arc<AtomicBool>) {
    let (count, failed) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
    let counts = failed.clone();
    let disk = Storage::with_hook(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number == from || (number > from && !only) {
            counts.store(true, Ordering::SeqCst);
            return Err(io::Error::from(with));
        }
        Ok(())
    });
    (disk, failed)
}

/// Health checks with the sequence that they lead to: no check, a check that passes, and one that
/// fails.
const CHECKS: [(Option<&str>, u64); 3] =
    [(None, 2), (Some("/bin/true"), 2), (Some("/bin/false"), 1)];

#[tokio::test]
async fn a_power_cut_in_an_update_leaves_one_whole_version() {
    for is_tree in [false, true] {
        let scratch = scratch_dir();
        let mut scene = PowerLossScenario::new(scratch.path(), is_tree).await;
        for (check, expected) in CHECKS {
            scene.world.config.cycle.hooks.check = check.into_iter().map(str::to_owned).collect();
            let mut counts = [0, 0];
            for dies in 0.. {
                let machine = scene.base.copy();
                let (disk, died) = failing_storage(dies, false, Errno::IO);
                scene.world.disk = disk.with_filesystem(machine.clone());
                scene.world.update().await.1.ok();
                for left in machine.power_cuts() {
                    counts[scene.installed_sequence(&left) as usize - 1] += 1;
                    scene.expect_recovers_to(&left, expected).await;
                }
                if !died.load(Ordering::SeqCst) {
                    assert!(dies > 30, "{dies} steps");
                    break;
                }
            }
            assert!(
                counts[0] > 0 && counts[1] > 0,
                "one of the versions never remained: {counts:?}"
            );
        }
        assert!(scene.states_checked > 500, "{} states", scene.states_checked);
    }
}

#[tokio::test]
async fn a_storage_error_at_any_step_of_an_update_fails_only_that_run() {
    for (is_tree, (check, expected), with) in [
        (false, CHECKS[0], Errno::NOSPC),
        (false, CHECKS[1], Errno::IO),
        (false, CHECKS[2], Errno::ROFS),
        (true, CHECKS[0], Errno::IO),
        (true, CHECKS[1], Errno::ROFS),
        (true, CHECKS[2], Errno::NOSPC),
    ] {
        let scratch = scratch_dir();
        let mut scene = PowerLossScenario::new(scratch.path(), is_tree).await;
        scene.world.config.cycle.hooks.check = check.into_iter().map(str::to_owned).collect();
        {
            for fails in 0.. {
                let machine = scene.base.copy();
                let (disk, failed) = failing_storage(fails, true, with);
                scene.world.disk = disk.with_filesystem(machine.clone());
                let result = scene.world.update().await.1;
                scene.installed_sequence(&machine);
                if !failed.load(Ordering::SeqCst) {
                    break;
                }
                result.unwrap_err();
                scene.expect_recovers_to(&machine, expected).await;
            }
        }
    }
}

#[tokio::test]
async fn a_power_cut_in_a_rollback_leaves_one_whole_version_and_the_floor() {
    for is_tree in [false, true] {
        let scratch = scratch_dir();
        let mut scene = PowerLossScenario::new(scratch.path(), is_tree).await;
        scene.expect_update_installs().await;
        let mut counts = [0, 0];
        for dies in 0.. {
            let machine = scene.base.copy();
            let (disk, died) = failing_storage(dies, false, Errno::IO);
            let now = scene.world.clock.now();
            scene
                .install_root(disk.with_filesystem(machine.clone()))
                .roll_back(None, now)
                .await
                .ok();
            for left in machine.power_cuts() {
                counts[scene.installed_sequence(&left) as usize - 1] += 1;
                let root = scene.install_root(Storage::default().with_filesystem(left.clone()));
                assert_eq!(root.floor().unwrap(), 2);
                root.roll_back(Some("1-1.0.0"), now).await.unwrap();
                assert_eq!(scene.installed_sequence(&left), 1);
                assert_eq!(root.floor().unwrap(), 2);
            }
            if !died.load(Ordering::SeqCst) {
                break;
            }
        }
        assert!(counts[0] > 0 && counts[1] > 0, "one of the versions never remained: {counts:?}");
    }
}

#[tokio::test]
async fn rollback_never_returns_to_a_version_that_is_partly_removed() {
    let scratch = scratch_dir();
    let mut scene = PowerLossScenario::new(scratch.path(), true).await;
    scene.expect_update_installs().await;
    scene.world.config.cycle.hooks.keep = 2;
    // Two versions are kept: installing a third removes the first.
    let third = ReleaseSpec { sequence: 3, version: "1.2.0", ..release_spec(2, true) };
    scene.world.publish(&third).unwrap();
    scene.advance_and_poll(Duration::ZERO).await;
    scene.world.check().await.1.unwrap_err();
    scene.advance_and_poll(Duration::from_secs(61 * 60)).await;
    let mut went_back = 0;
    for dies in 0.. {
        let machine = scene.base.copy();
        let (disk, died) = failing_storage(dies, false, Errno::IO);
        scene.world.disk = disk.with_filesystem(machine.clone());
        scene.world.update().await.1.ok();
        for left in machine.power_cuts() {
            let disk = Storage::default().with_filesystem(left.clone());
            if scene.install_root(disk.clone()).installed().unwrap().unwrap().sequence != 2 {
                continue;
            }
            let now = scene.world.clock.now();
            if scene.install_root(disk).roll_back(Some("1-1.0.0"), now).await.is_ok() {
                went_back += 1;
                assert_eq!(scene.installed_sequence(&left), 1);
            }
        }
        if !died.load(Ordering::SeqCst) {
            break;
        }
    }
    assert!(went_back > 10, "{went_back}");
}
