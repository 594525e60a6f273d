//! A mirror's health: who failed lately is asked last, until it does well again or has waited long enough.

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

/// Mirrors of a circle's log. Those that are dead have nothing but artifacts.
struct RecordingMirrors {
    mirrors: Vec<Mirror>,
    dead: Vec<Arc<AtomicBool>>,
    /// Which files were asked for, and of whom.
    asked: Arc<Mutex<Vec<(usize, String)>>>,
}

impl RecordingMirrors {
    /// So many, in place of the circle's own.
    fn replace_all(circle: &mut TestWorld, count: usize) -> RecordingMirrors {
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let dead: Vec<_> = (0..count).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let mirror = |number: usize| {
            let (log, asked) = (circle.log_directory(), asked.clone());
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
        circle.mirrors = mirrors.clone();
        RecordingMirrors { mirrors, dead, asked }
    }

    /// Who was asked first for such a file.
    fn first_asked_for(&self, begins: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().find(|(_, path)| path.starts_with(begins)).expect("somebody was asked").0
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

/// One cycle that draws from its own randomness.
async fn check(circle: &TestWorld, seed: u64) -> CycleRun {
    let disk = Storage::default();
    let client =
        Client::open(&circle.config, &circle.mirrors, &circle.network, &circle.clock, disk);
    client.unwrap().check(&mut StdRng::seed_from_u64(seed)).await
}

fn failures(circle: &TestWorld) -> Vec<(String, MirrorFailures)> {
    let memory = circle.load_client_state();
    memory.mirror_backoff.iter().map(|(name, failures)| (name.to_owned(), failures)).collect()
}

fn failed_mirror(number: usize, in_a_row: u32, last: Timestamp) -> (String, MirrorFailures) {
    (mirror_name(number), MirrorFailures { consecutive: in_a_row, last })
}

/// Who of four mirrors is asked first, over many cycles like the next one; they all are well now.
async fn mirrors_asked_first(circle: &TestWorld) -> BTreeSet<usize> {
    let mut all = BTreeSet::new();
    for seed in 0..24 {
        let mut circle = circle.copy();
        circle.poll_all().await.unwrap();
        let hosts = RecordingMirrors::replace_all(&mut circle, 4);
        check(&circle, seed).await.1.unwrap();
        all.insert(hosts.first_asked_for("tile/"));
    }
    all
}

/// A circle of whose four mirrors two have failed at the last cycle, and a log that has grown since.
async fn with_two_failed_mirrors(seed: u64) -> TestWorld {
    let mut circle = TestWorld::with_first_installed(seed).await;
    let hosts = RecordingMirrors::replace_all(&mut circle, 4);
    hosts.take_down(1);
    hosts.take_down(2);
    check(&circle, 0).await.1.unwrap();
    let now = circle.now();
    assert_eq!(failures(&circle), [failed_mirror(1, 1, now), failed_mirror(2, 1, now)]);
    circle.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    circle
}

#[tokio::test(start_paused = true)]
async fn who_failed_is_asked_after_all_others_for_ten_minutes() {
    let mut circle = with_two_failed_mirrors(130).await;
    circle.advance_and_poll(10 * MINUTE - SECOND).await;
    assert_eq!(mirrors_asked_first(&circle).await, BTreeSet::from([0, 3]));
    circle.advance_and_poll(SECOND).await;
    assert_eq!(mirrors_asked_first(&circle).await, BTreeSet::from([0, 1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn one_that_does_well_is_forgiven_at_once_however_often_it_failed() {
    let mut circle = TestWorld::with_first_installed(131).await;
    let hosts = RecordingMirrors::replace_all(&mut circle, 2);
    hosts.take_down(0);
    for times in 1..=4 {
        circle.advance_and_poll(MINUTE).await;
        check(&circle, 0).await.1.unwrap();
        assert_eq!(failures(&circle), [failed_mirror(0, times, circle.now())]);
    }
    hosts.bring_up(0);
    check(&circle, 0).await.1.unwrap();
    assert_eq!(failures(&circle), []);
    // A cycle that comes to nothing learns as much.
    hosts.take_down(1);
    circle.stop(2);
    assert_eq!(expect_unconfirmed(check(&circle, 0).await).len(), 1);
    assert_eq!(failures(&circle), [failed_mirror(1, 1, circle.now())]);
    hosts.bring_up(1);
    assert_eq!(expect_unconfirmed(check(&circle, 0).await).len(), 1);
    assert_eq!(failures(&circle), []);
    // And whatever the cycle is for.
    hosts.take_down(0);
    circle.start(2);
    let (config, network, clock) = (&circle.config, &circle.network, &circle.clock);
    for (times, errand) in (1..).zip([
        CycleMode::Check,
        CycleMode::Download,
        CycleMode::Update,
        CycleMode::InstallDownloaded,
    ]) {
        let mut client =
            Client::open(config, &circle.mirrors, network, clock, Storage::default()).unwrap();
        client.run(errand, &mut StdRng::seed_from_u64(0)).await.1.unwrap();
        assert_eq!(failures(&circle), [failed_mirror(0, times, circle.now())]);
    }
}

#[test]
fn penance_doubles_and_is_never_longer_than_a_day() {
    let mut health = MirrorBackoff::default();
    let mut lengths = Vec::new();
    for _ in 0..9 {
        health.record_failure("it", NOW);
        let failures = health.backoff("it", NOW).unwrap();
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
    let mut health = MirrorBackoff::from_iter([("it".to_owned(), most)]);
    health.record_failure("it", NOW);
    assert_eq!(health.backoff("it", NOW), Some(most));
}

#[tokio::test(start_paused = true)]
async fn with_all_mirrors_in_penance_an_update_installs_as_ever() {
    let mut circle = TestWorld::with_second_settling(132).await;
    circle.advance_and_poll(HOUR).await;
    let hosts = RecordingMirrors::replace_all(&mut circle, 3);
    (0..3).for_each(|number| hosts.take_down(number));
    // The peers have the tiles.
    for times in 1..=2 {
        check(&circle, 0).await.1.unwrap();
        let now = circle.now();
        assert_eq!(failures(&circle), [0, 1, 2].map(|number| failed_mirror(number, times, now)));
    }
    assert_eq!(expect_installed(circle.update().await), 2);
    let now = circle.now();
    assert_eq!(failures(&circle), [0, 1, 2].map(|number| failed_mirror(number, 3, now)));
}

#[tokio::test(start_paused = true)]
async fn who_failed_in_a_cycle_is_asked_last_for_its_download() {
    let base = TestWorld::with_second_settling(137).await;
    for seed in 0..8 {
        let mut circle = base.copy();
        circle.advance_and_poll(HOUR).await;
        let hosts = RecordingMirrors::replace_all(&mut circle, 4);
        [0, 1, 3].iter().for_each(|number| hosts.take_down(*number));
        let disk = Storage::default();
        let client =
            Client::open(&circle.config, &circle.mirrors, &circle.network, &circle.clock, disk);
        let ended = client.unwrap().update(&mut StdRng::seed_from_u64(seed)).await;
        assert_eq!(expect_installed(ended), 2);
        assert_eq!(hosts.first_asked_for("artifact/"), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_in_penance_serves_where_nobody_else_does() {
    let mut circle = with_two_failed_mirrors(133).await;
    circle.advance_and_poll(MINUTE).await;
    let hosts = RecordingMirrors::replace_all(&mut circle, 4);
    hosts.take_down(0);
    hosts.take_down(3);
    check(&circle, 0).await.1.unwrap();
    let now = circle.now();
    assert_eq!(failures(&circle), [failed_mirror(0, 1, now), failed_mirror(3, 1, now)]);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_is_not_configured_any_more_is_forgotten() {
    let mut circle = with_two_failed_mirrors(134).await;
    let hosts = RecordingMirrors::replace_all(&mut circle, 4);
    hosts.take_down(2);
    circle.mirrors = [0, 2, 3].map(|number| hosts.mirrors[number].clone()).to_vec();
    circle.advance_and_poll(MINUTE).await;
    check(&circle, 0).await.1.unwrap();
    assert_eq!(failures(&circle), [failed_mirror(2, 2, circle.now())]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_for_a_while_keeps_nobody_in_penance() {
    let mut circle = TestWorld::with_first_installed(135).await;
    let right = circle.now();
    circle.clock.set(right.after(365 * DAY));
    // Not everybody agrees with that clock.
    circle.stop(2);
    let hosts = RecordingMirrors::replace_all(&mut circle, 4);
    hosts.take_down(1);
    check(&circle, 0).await.1.unwrap_err();
    let wrong = failed_mirror(1, 1, right.after(365 * DAY));
    assert_eq!(failures(&circle), [wrong]);
    circle.clock.set(right);
    circle.start(2);
    circle.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    circle.advance_and_poll(MINUTE).await;
    assert_eq!(mirrors_asked_first(&circle).await, BTreeSet::from([0, 1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn whatever_a_mirror_does_wrong_is_held_against_it_once_a_cycle_and_against_no_other() {
    let base = scratch_dir();
    let (world, before) = world_before_update(base.path()).await;
    for fault in ALL_FAULTS {
        let mut noticed = 0;
        for seed in 0..4 {
            let place = base.path().join(format!("{fault:?}-{seed}"));
            let faults = [fault, HttpFault::Honest];
            let (world, _) = copy_with_mirrors(&world, &place, &before, &faults).await;
            let disk = Storage::default();
            let client =
                Client::open(&world.config, &world.mirrors, &world.network, &world.clock, disk);
            let ended = client.unwrap().update(&mut StdRng::seed_from_u64(seed)).await.1;
            assert!(ended.is_ok(), "{fault:?}: {ended:?}");
            let (policy, peers) = (&world.config.cycle.policy, &world.config.peers);
            let state = world.config.cycle.state.join("client");
            let memory = ClientStore::read(&state, policy, peers, &Storage::default()).unwrap();
            for (name, failures) in memory.mirror_backoff.iter() {
                assert!(name.ends_with(":1"), "{fault:?}: {name}");
                assert_eq!(failures.consecutive, 1, "{fault:?}");
                noticed += 1;
            }
        }
        // Some can only be noticed by whoever asks them first.
        assert!(noticed > 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_from_before_health_was_kept_is_read_as_it_was_and_no_mixture_is() {
    let circle = with_two_failed_mirrors(136).await;
    let (policy, peers) = (&circle.config.cycle.policy, &circle.config.peers);
    let directory = circle.config.cycle.state.join("client");
    let path = directory.join("client.json");
    let new = fs::read_to_string(&path).unwrap();
    let read = |text: &str| {
        // With the digest that it would have had.
        let (body, _) = text.rsplit_once("\"sha256\": \"").unwrap();
        let digest = Hash::digest(format!("{body}\"sha256\": \"\"\n}}").as_bytes()).hex();
        fs::write(&path, format!("{body}\"sha256\": \"{digest}\"\n}}")).unwrap();
        ClientStore::read(&directory, policy, peers, &Storage::default())
    };
    let with = read(&new).unwrap();
    let (begin, rest) = new.split_once("  \"mirrors\": [").unwrap();
    let (_, end) = rest.split_once("\n  ],\n").unwrap();
    let bare = format!("{begin}{end}");
    let old = |text: &str| text.replace("\"version\": 2", "\"version\": 1");
    let mut without = read(&old(&bare)).unwrap();
    assert_eq!(without.mirror_backoff, MirrorBackoff::default());
    without.mirror_backoff = with.mirror_backoff.clone();
    assert_eq!(format!("{without:?}"), format!("{with:?}"));
    assert!(read(&old(&new)).is_err() && read(&bare).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_mirror_whose_entries_are_others_is_noticed_by_whoever_asks_it_first() {
    let base = TestWorld::with_first_installed(138).await;
    base.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    let mut noticed = 0;
    for seed in 0..6 {
        let mut circle = base.copy();
        circle.poll_all().await.unwrap();
        let bad = circle.copy_log("bad").unwrap();
        fs::write(bad.join("tile/entries/000.p/2"), b"others").unwrap();
        circle.mirrors =
            vec![Mirror::from_directory(&bad), Mirror::from_directory(circle.log_directory())];
        check(&circle, seed).await.1.unwrap();
        for (name, failures) in failures(&circle) {
            assert_eq!((name, failures.consecutive), (format!("file:{}", bad.display()), 1));
            noticed += 1;
        }
    }
    assert!((1..6).contains(&noticed), "{noticed}");
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_is_behind_the_newest_head_has_failed_whoever_showed_that() {
    let mut circle = TestWorld::with_first_installed(139).await;
    let old = circle.copy_log("old").unwrap();
    circle.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    circle.poll_all().await.unwrap();
    let directories = [old.clone(), circle.log_directory()];
    let failed =
        (format!("file:{}", old.display()), MirrorFailures { consecutive: 1, last: circle.now() });
    for shown_by_peers_only in [false, true] {
        let count = if shown_by_peers_only { 1 } else { 2 };
        let mut circle = circle.copy();
        circle.poll_all().await.unwrap();
        circle.mirrors = directories[..count].iter().map(Mirror::from_directory).collect();
        assert_eq!(check(&circle, 0).await.1.is_ok(), !shown_by_peers_only);
        assert_eq!(failures(&circle), std::slice::from_ref(&failed));
    }
}
