//! The backoff of mirrors: a mirror that failed recently is asked last, until it succeeds or its
//! backoff ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use std::{fs, io};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use unanimity_client::{Client, CycleMode};
use unanimity_net::Mirror;
use unanimity_protocol::{Hash, Timestamp};
use unanimity_state::{ClientStore, MirrorBackoff, MirrorFailures};
use unanimity_storage::{Storage, open_regular_file};
use unanimity_testkit::hostile_mirror::{
    ALL_FAULTS, HttpFault, copy_with_mirrors, world_before_update,
};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{
    CycleRun, HOUR, MINUTE, NOW, SECOND, TestWorld, expect_installed, expect_unconfirmed,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Mirrors of a world's log, with a record of what was asked. A dead mirror serves only artifacts.
struct RecordingMirrors {
    mirrors: Vec<Mirror>,
    dead: Vec<Arc<AtomicBool>>,
    /// The number of the mirror and the path, for each file that was asked for.
    asked: Arc<Mutex<Vec<(usize, String)>>>,
}

impl RecordingMirrors {
    /// Replaces the world's mirrors by `count` mirrors.
    fn replace_all(world: &mut TestWorld, count: usize) -> RecordingMirrors {
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let dead: Vec<_> = (0..count).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let mirror = |number: usize| {
            let (log, asked) = (world.log_directory(), asked.clone());
            let dead = dead[number].clone();
            Mirror::from_blocking_fn(mirror_name(number), move |path| {
                asked.lock().unwrap().push((number, path.to_owned()));
                if dead.load(Ordering::SeqCst) && !path.starts_with("artifact/") {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Ok(Box::new(open_regular_file(&log.join(path))?))
            })
        };
        let mirrors: Vec<_> = (0..count).map(mirror).collect();
        world.mirrors = mirrors.clone();
        RecordingMirrors { mirrors, dead, asked }
    }

    /// The mirror that was asked first for a file with this prefix.
    fn first_asked_for(&self, prefix: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().find(|(_, path)| path.starts_with(prefix)).expect("a mirror was asked").0
    }

    fn take_down(&self, number: usize) {
        self.dead[number].store(true, Ordering::SeqCst);
    }

    fn bring_up(&self, number: usize) {
        self.dead[number].store(false, Ordering::SeqCst);
    }
}

fn mirror_name(number: usize) -> String {
    format!("mirror-{number}")
}

/// Runs one cycle that draws from its own randomness.
async fn check(world: &TestWorld, seed: u64) -> CycleRun {
    let disk = Storage::default();
    let client = Client::open(&world.config, &world.mirrors, &world.network, &world.clock, disk);
    client.unwrap().check(&mut StdRng::seed_from_u64(seed)).await
}

fn failures(world: &TestWorld) -> Vec<(String, MirrorFailures)> {
    let state = world.load_client_state();
    state.mirror_backoff.iter().map(|(name, failures)| (name.to_owned(), failures)).collect()
}

fn failed_mirror(number: usize, consecutive: u32, last: Timestamp) -> (String, MirrorFailures) {
    (mirror_name(number), MirrorFailures { consecutive, last })
}

/// The mirrors that are asked first in 24 copies of the next cycle, out of four mirrors that all
/// work.
async fn mirrors_asked_first(world: &TestWorld) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for seed in 0..24 {
        let mut world = world.copy();
        world.poll_all().await.unwrap();
        let hosts = RecordingMirrors::replace_all(&mut world, 4);
        check(&world, seed).await.1.unwrap();
        all.insert(hosts.first_asked_for("tile/"));
    }
    all
}

/// A world with four mirrors, of which 1 and 2 failed in the last cycle. The log has grown since.
async fn with_two_failed_mirrors(seed: u64) -> TestWorld {
    let mut world = TestWorld::with_first_installed(seed).await;
    let hosts = RecordingMirrors::replace_all(&mut world, 4);
    hosts.take_down(1);
    hosts.take_down(2);
    check(&world, 0).await.1.unwrap();
    let now = world.now();
    assert_eq!(failures(&world), [failed_mirror(1, 1, now), failed_mirror(2, 1, now)]);
    world.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    world
}

#[tokio::test(start_paused = true)]
async fn cycle_asks_failed_mirrors_last_for_ten_minutes() {
    let mut world = with_two_failed_mirrors(130).await;
    world.advance_and_poll(10 * MINUTE - SECOND).await;
    assert_eq!(mirrors_asked_first(&world).await, BTreeSet::from([0, 3]));
    world.advance_and_poll(SECOND).await;
    assert_eq!(mirrors_asked_first(&world).await, BTreeSet::from([0, 1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn one_success_clears_all_failures_of_a_mirror() {
    let mut world = TestWorld::with_first_installed(131).await;
    let hosts = RecordingMirrors::replace_all(&mut world, 2);
    hosts.take_down(0);
    for times in 1..=4 {
        world.advance_and_poll(MINUTE).await;
        check(&world, 0).await.1.unwrap();
        assert_eq!(failures(&world), [failed_mirror(0, times, world.now())]);
    }
    hosts.bring_up(0);
    check(&world, 0).await.1.unwrap();
    assert_eq!(failures(&world), []);
    // A cycle that ends with an error records as much.
    hosts.take_down(1);
    world.stop(2);
    assert_eq!(expect_unconfirmed(check(&world, 0).await).len(), 1);
    assert_eq!(failures(&world), [failed_mirror(1, 1, world.now())]);
    hosts.bring_up(1);
    assert_eq!(expect_unconfirmed(check(&world, 0).await).len(), 1);
    assert_eq!(failures(&world), []);
    // So does every mode.
    hosts.take_down(0);
    world.start(2);
    let (config, network, clock) = (&world.config, &world.network, &world.clock);
    for (times, mode) in (1..).zip([
        CycleMode::Check,
        CycleMode::Download,
        CycleMode::Update,
        CycleMode::InstallDownloaded,
    ]) {
        let mut client =
            Client::open(config, &world.mirrors, network, clock, Storage::default()).unwrap();
        client.run(mode, &mut StdRng::seed_from_u64(0)).await.1.unwrap();
        assert_eq!(failures(&world), [failed_mirror(0, times, world.now())]);
    }
}

#[test]
fn backoff_doubles_up_to_one_day() {
    let mut backoff = MirrorBackoff::default();
    let mut lengths = Vec::new();
    for _ in 0..9 {
        backoff.record_failure("mirror", NOW);
        let failures = backoff.backoff("mirror", NOW).unwrap();
        lengths.push(failures.until().since(NOW) / 60);
        assert!(failures.is_backing_off(Timestamp(failures.until().0 - 1)));
        assert!(!failures.is_backing_off(failures.until()));
    }
    let minutes = [10, 20, 40, 80, 160, 320, 640, 1280, 1440];
    assert_eq!(lengths, minutes.map(Duration::from_secs));
    for consecutive in [10, 31, 32, 33, 34, 1000, u32::MAX] {
        assert_eq!(MirrorFailures { consecutive, last: NOW }.until(), NOW.after(DAY));
    }
    let most = MirrorFailures { consecutive: u32::MAX, last: NOW };
    let mut backoff = MirrorBackoff::from_iter([("mirror".to_owned(), most)]);
    backoff.record_failure("mirror", NOW);
    assert_eq!(backoff.backoff("mirror", NOW), Some(most));
}

#[tokio::test(start_paused = true)]
async fn update_installs_while_all_mirrors_are_in_backoff() {
    let mut world = TestWorld::with_second_settling(132).await;
    world.advance_and_poll(HOUR).await;
    let hosts = RecordingMirrors::replace_all(&mut world, 3);
    (0..3).for_each(|number| hosts.take_down(number));
    // The peers have the tiles.
    for times in 1..=2 {
        check(&world, 0).await.1.unwrap();
        let now = world.now();
        assert_eq!(failures(&world), [0, 1, 2].map(|number| failed_mirror(number, times, now)));
    }
    assert_eq!(expect_installed(world.update().await), 2);
    let now = world.now();
    assert_eq!(failures(&world), [0, 1, 2].map(|number| failed_mirror(number, 3, now)));
}

#[tokio::test(start_paused = true)]
async fn download_asks_mirrors_last_that_failed_in_the_same_cycle() {
    let base = TestWorld::with_second_settling(137).await;
    for seed in 0..8 {
        let mut world = base.copy();
        world.advance_and_poll(HOUR).await;
        let hosts = RecordingMirrors::replace_all(&mut world, 4);
        [0, 1, 3].iter().for_each(|number| hosts.take_down(*number));
        let disk = Storage::default();
        let client =
            Client::open(&world.config, &world.mirrors, &world.network, &world.clock, disk);
        let run = client.unwrap().update(&mut StdRng::seed_from_u64(seed)).await;
        assert_eq!(expect_installed(run), 2);
        assert_eq!(hosts.first_asked_for("artifact/"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn cycle_uses_mirrors_in_backoff_if_all_others_fail() {
    let mut world = with_two_failed_mirrors(133).await;
    world.advance_and_poll(MINUTE).await;
    let hosts = RecordingMirrors::replace_all(&mut world, 4);
    hosts.take_down(0);
    hosts.take_down(3);
    check(&world, 0).await.1.unwrap();
    let now = world.now();
    assert_eq!(failures(&world), [failed_mirror(0, 1, now), failed_mirror(3, 1, now)]);
}

#[tokio::test(start_paused = true)]
async fn state_forgets_mirrors_that_are_no_longer_configured() {
    let mut world = with_two_failed_mirrors(134).await;
    let hosts = RecordingMirrors::replace_all(&mut world, 4);
    hosts.take_down(2);
    world.mirrors = [0, 2, 3].map(|number| hosts.mirrors[number].clone()).to_vec();
    world.advance_and_poll(MINUTE).await;
    check(&world, 0).await.1.unwrap();
    assert_eq!(failures(&world), [failed_mirror(2, 2, world.now())]);
}

#[tokio::test(start_paused = true)]
async fn backoff_from_a_fast_clock_ends_when_the_clock_is_set_back() {
    let mut world = TestWorld::with_first_installed(135).await;
    let right = world.now();
    world.clock.set(right.after(365 * DAY));
    // Not every peer agrees with that clock.
    world.stop(2);
    let hosts = RecordingMirrors::replace_all(&mut world, 4);
    hosts.take_down(1);
    check(&world, 0).await.1.unwrap_err();
    let wrong = failed_mirror(1, 1, right.after(365 * DAY));
    assert_eq!(failures(&world), [wrong]);
    world.clock.set(right);
    world.start(2);
    world.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    world.advance_and_poll(MINUTE).await;
    assert_eq!(mirrors_asked_first(&world).await, BTreeSet::from([0, 1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn each_fault_counts_once_a_cycle_and_only_against_its_mirror() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    for fault in ALL_FAULTS {
        let mut noticed = 0;
        for seed in 0..4 {
            let directory = base.path().join(format!("{fault:?}-{seed}"));
            let faults = [fault, HttpFault::Honest];
            let (world, _) = copy_with_mirrors(&world, &directory, &before, &faults).await;
            let disk = Storage::default();
            let client =
                Client::open(&world.config, &world.mirrors, &world.network, &world.clock, disk);
            let result = client.unwrap().update(&mut StdRng::seed_from_u64(seed)).await.1;
            assert!(result.is_ok(), "{fault:?}: {result:?}");
            let (policy, peers) = (&world.config.cycle.policy, &world.config.peers);
            let state = world.config.cycle.state.join("client");
            let stored = ClientStore::read(&state, policy, peers, &Storage::default()).unwrap();
            for (name, failures) in stored.mirror_backoff.iter() {
                assert!(name.ends_with(":1"), "{fault:?}: {name}");
                assert_eq!(failures.consecutive, 1, "{fault:?}");
                noticed += 1;
            }
        }
        // Some faults show only if the faulty mirror is asked first.
        assert!(noticed > 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn state_without_mirrors_is_read_and_mixed_versions_are_refused() {
    let world = with_two_failed_mirrors(136).await;
    let (policy, peers) = (&world.config.cycle.policy, &world.config.peers);
    let directory = world.config.cycle.state.join("client");
    let path = directory.join("client.json");
    let new = fs::read_to_string(&path).unwrap();
    let read = |text: &str| {
        // With the digest of the changed text.
        let (body, _) = text.rsplit_once("\"sha256\": \"").unwrap();
        let digest = Hash::digest(format!("{body}\"sha256\": \"\"\n}}").as_bytes()).hex();
        fs::write(&path, format!("{body}\"sha256\": \"{digest}\"\n}}")).unwrap();
        ClientStore::read(&directory, policy, peers, &Storage::default())
    };
    let with = read(&new).unwrap();
    let (start, rest) = new.split_once("  \"mirrors\": [").unwrap();
    let (_, end) = rest.split_once("\n  ],\n").unwrap();
    let bare = format!("{start}{end}");
    let old = |text: &str| text.replace("\"version\": 2", "\"version\": 1");
    let mut without = read(&old(&bare)).unwrap();
    assert_eq!(without.mirror_backoff, MirrorBackoff::default());
    without.mirror_backoff = with.mirror_backoff.clone();
    assert_eq!(format!("{without:?}"), format!("{with:?}"));
    assert!(read(&old(&new)).is_err() && read(&bare).is_err());
}

#[tokio::test(start_paused = true)]
async fn wrong_entries_count_against_a_mirror_that_is_asked_first() {
    let base = TestWorld::with_first_installed(138).await;
    base.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    let mut noticed = 0;
    for seed in 0..6 {
        let mut world = base.copy();
        world.poll_all().await.unwrap();
        let bad = world.copy_log("bad").unwrap();
        fs::write(bad.join("tile/entries/000.p/2"), b"others").unwrap();
        world.mirrors =
            vec![Mirror::from_directory(&bad), Mirror::from_directory(world.log_directory())];
        check(&world, seed).await.1.unwrap();
        for (name, failures) in failures(&world) {
            assert_eq!((name, failures.consecutive), (format!("file:{}", bad.display()), 1));
            noticed += 1;
        }
    }
    assert!((1..6).contains(&noticed), "{noticed}");
}

#[tokio::test(start_paused = true)]
async fn mirror_behind_the_newest_head_counts_as_failed() {
    let mut world = TestWorld::with_first_installed(139).await;
    let old = world.copy_log("old").unwrap();
    world.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    world.poll_all().await.unwrap();
    let directories = [old.clone(), world.log_directory()];
    let failed =
        (format!("file:{}", old.display()), MirrorFailures { consecutive: 1, last: world.now() });
    for shown_by_peers_only in [false, true] {
        let count = if shown_by_peers_only { 1 } else { 2 };
        let mut world = world.copy();
        world.poll_all().await.unwrap();
        world.mirrors = directories[..count].iter().map(Mirror::from_directory).collect();
        assert_eq!(check(&world, 0).await.1.is_ok(), !shown_by_peers_only);
        assert_eq!(failures(&world), std::slice::from_ref(&failed));
    }
}
