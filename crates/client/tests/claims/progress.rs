//! Progress: the steps that a cycle reports while it runs.

use std::fs;
use std::sync::{Arc, Mutex};

use tokio::time::timeout;
use unanimity_client::{CycleOutcome, CycleProgress, MirrorProblem, ProgressSink};
use unanimity_testkit::hostile_mirror::{HostileMirrors, HttpFault, world_before_update};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{
    MINUTE, SECOND, TestWorld, expect_mirror_problem, expect_unconfirmed, release_spec,
};

/// A sink that keeps every step.
fn record_progress() -> (ProgressSink, Arc<Mutex<Vec<CycleProgress>>>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    (ProgressSink::new(move |step| seen.lock().unwrap().push(step)), steps)
}

fn round(answered: usize, silent: usize) -> CycleProgress {
    CycleProgress::Round { peers: 5, answered, silent }
}

fn download(bytes: u64, mirror: &str, resumed: u64) -> CycleProgress {
    let (file, mirror) = ("hello".to_owned(), mirror.to_owned());
    CycleProgress::Download { file, bytes, of: 300_000, mirror, resumed }
}

#[tokio::test(start_paused = true)]
async fn download_progress_reports_bytes_and_where_each_mirror_resumed() {
    let base = scratch_dir();
    let (world, _) = world_before_update(base.path()).await;
    let mut resumed = 0;
    for seed in 0..8 {
        let mut world = world.copy_to(&base.path().join(format!("{seed}"))).unwrap();
        world.poll_all().await.unwrap();
        for _ in 0..seed {
            // Each check draws from the same randomness.
            world.check().await.1.unwrap();
        }
        let log = world.log_directory();
        let hosts = HostileMirrors::new(vec![
            (log.clone(), HttpFault::Truncated(180_000)),
            (log, HttpFault::Honest),
        ]);
        world.mirrors = hosts.mirrors();
        let (sink, steps) = record_progress();
        world.progress = sink;
        assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
        let steps = steps.lock().unwrap();
        let all: Vec<_> =
            steps.iter().filter(|step| matches!(step, CycleProgress::Download { .. })).collect();
        let [cut, honest] = [0, 1].map(|host| world.mirrors[host].to_string());
        let mut expected = vec![download(0, &honest, 0), download(300_000, &honest, 0)];
        if all[0] == &download(0, &cut, 0) {
            resumed += 1;
            expected = vec![
                download(0, &cut, 0),
                download(180_000, &cut, 0),
                // The mirror breaks off, and is asked for the rest first.
                download(180_000, &cut, 180_000),
                download(180_000, &honest, 180_000),
                download(300_000, &honest, 180_000),
            ];
        }
        // Each of these steps in turn, and between them only steps with more bytes of the same
        // download.
        let mut wanted = expected.iter().peekable();
        for pair in all.windows(2) {
            wanted.next_if_eq(&pair[0]);
            let is_new = Some(&pair[1]) == wanted.peek() && pair[1].is_start();
            assert!(is_new || has_advanced(pair[0], pair[1]), "{pair:?}");
        }
        wanted.next_if_eq(all.last().unwrap());
        assert_eq!(wanted.next(), None, "{all:?}");
        assert!(all.len() > expected.len(), "{all:?}");
    }
    assert!((1..8).contains(&resumed), "both were asked first at times");
}

#[tokio::test(start_paused = true)]
async fn interrupted_download_loses_at_most_its_last_second() {
    let base = scratch_dir();
    let (mut world, _) = world_before_update(base.path()).await;
    let slow = HostileMirrors::new(vec![(world.log_directory(), HttpFault::Slow(50_000))]);
    world.mirrors = slow.mirrors();
    let (sink, steps) = record_progress();
    world.progress = sink;
    assert!(timeout(5 * SECOND, world.update()).await.is_err());
    let Some(CycleProgress::Download { bytes: sent, .. }) = steps.lock().unwrap().last().cloned()
    else {
        panic!("no download")
    };
    let staging = world.config.cycle.install_root.join("versions/.2-1.1.0.new/hello");
    let on_disk = fs::metadata(unanimity_storage::temporary_path(&staging)).unwrap().len();
    assert!(sent >= 150_000 && sent - on_disk <= 50_000, "{sent} {on_disk}");
    let honest = HostileMirrors::new(vec![(world.log_directory(), HttpFault::Honest)]);
    world.mirrors = honest.mirrors();
    assert!(matches!(world.update().await.1, Ok(CycleOutcome::Installed(_))));
    assert_eq!(*honest.requested_ranges.lock().unwrap(), [(0, on_disk)]);
}

/// Whether `later` is the same download as `earlier`, with more bytes.
fn has_advanced(earlier: &CycleProgress, later: &CycleProgress) -> bool {
    match (earlier, later) {
        (
            CycleProgress::Download { bytes: less, mirror, resumed, .. },
            CycleProgress::Download { bytes, mirror: host, resumed: from, .. },
        ) => less < bytes && (mirror, resumed) == (host, from),
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn progress_counts_answers_silent_peers_and_entries() {
    let mut world = TestWorld::with_first_installed(120).await;
    world.publish(&release_spec(2)).unwrap();
    world.append_unchecked("log", &vec![b"x".to_vec(); 600]).unwrap();
    world.advance_and_poll(MINUTE).await;
    world.stop(2);
    let (sink, steps) = record_progress();
    world.progress = sink;
    assert_eq!(expect_unconfirmed(world.update().await).len(), 1);
    let mut expected: Vec<CycleProgress> = (0..=4).map(|answered| round(answered, 0)).collect();
    expected.push(round(4, 1));
    // The first entry was read before. Entries are read in bundles of 256.
    expected.extend([0, 255, 511, 601].map(|entries| CycleProgress::Log { entries, of: 601 }));
    assert_eq!(*steps.lock().unwrap(), expected);
    // Entries that are stored are not read again.
    world.start(2);
    world.update().await.1.unwrap_err();
    steps.lock().unwrap().clear();
    world.advance_and_poll(MINUTE).await;
    world.update().await.1.unwrap_err();
    assert!(steps.lock().unwrap().iter().all(|step| matches!(step, CycleProgress::Round { .. })));
}

#[tokio::test(start_paused = true)]
async fn log_shorter_than_the_trusted_head_reports_no_log_progress() {
    let mut world = TestWorld::with_first_installed(121).await;
    world.copy_log("old").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.advance_and_poll(MINUTE).await;
    world.update().await.1.unwrap_err();
    assert_eq!(world.trusted_head().unwrap().size(), 2);
    // No host has the tiles of the trusted head.
    world.set_mirror("client", "old").unwrap();
    (0..5).for_each(|peer| world.stop(peer));
    let (sink, steps) = record_progress();
    world.progress = sink;
    let refused = expect_mirror_problem(world.update().await);
    assert!(matches!(refused, MirrorProblem::Rollback { shown: 1, known: 2, .. }), "{refused}");
    assert!(steps.lock().unwrap().iter().all(|step| matches!(step, CycleProgress::Round { .. })));
}
