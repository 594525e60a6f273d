//! What a client remembers: whole or not at all, never weaker, one process at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use unanimity_client::{Client, ClientError, CycleError, CycleOutcome, MirrorProblem};
use unanimity_net::Mirror;
use unanimity_protocol::{NoteSigningKey, Policy, Refusal, Timestamp};
use unanimity_state::{ClientStore, StoreError};
use unanimity_storage::Storage;
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, MINUTE, SECOND, SECOND_ARTIFACT, TestWorld, expect_error,
    expect_installed, expect_mirror_problem, expect_refusal, expect_unconfirmed, expect_up_to_date,
    release_spec,
};

#[tokio::test(start_paused = true)]
async fn one_state_directory_has_one_client() {
    let mut circle = TestWorld::with_first_installed(100).await;
    {
        let open = || {
            Client::open(
                &circle.config,
                &circle.mirrors,
                &circle.network,
                &circle.clock,
                Storage::default(),
            )
        };
        let first = open().unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(open(), Err(ClientError::Store(StoreError::Busy(_)))));
        drop(first);
    }
    expect_up_to_date(circle.update().await);
}

#[tokio::test(start_paused = true)]
async fn rolls_survive_a_restart_and_so_does_since_when_a_peer_is_silent() {
    // Every `update` of these tests opens the client's state anew.
    let circle = TestWorld::with_second_settling(101).await;
    let memory = circle.load_client_state();
    assert_eq!(memory.rounds.len(), 1);
    assert_eq!(memory.rounds[0].closed_at(), circle.now());
    assert_eq!(memory.rounds[0].cosigned_heads().count(), 5);
    let mut circle = circle;
    circle.stop(0);
    circle.advance_and_poll(MINUTE).await;
    let since = circle.now();
    assert_eq!(expect_unconfirmed(circle.update().await)[0].since, Some(since));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_unconfirmed(circle.update().await)[0].since, Some(since));
}

/// Fails steps by their number.
fn failing_storage(
    fails: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (Storage, Arc<AtomicUsize>) {
    let steps = Arc::new(AtomicUsize::new(0));
    let count = steps.clone();
    let disk = Storage::with_hook(move |_| {
        if fails(count.fetch_add(1, Ordering::SeqCst)) {
            Err(io::Error::from(io::ErrorKind::StorageFull))
        } else {
            Ok(())
        }
    });
    (disk, steps)
}

/// Installs release 2, with a disk that fails at one step or at all from there on, then with one that does not.
async fn check_failing_storage(from_there_on: bool) {
    let base = TestWorld::with_second_settling(102).await;
    base.advance(HOUR);
    let before = format!("{:?}", base.load_client_state());
    for n in 0.. {
        let mut circle = base.copy();
        circle.poll_all().await.unwrap();
        let (disk, steps) = if from_there_on {
            failing_storage(move |step| step >= n)
        } else {
            failing_storage(move |s| s == n)
        };
        circle.disk = disk;
        let (_, ended) = circle.update().await;
        let died = steps.load(Ordering::SeqCst) > n;
        assert!(!died || matches!(ended, Err(CycleError::Client(_))), "step {n}: {ended:?}");
        // Old or new, and whole.
        let now = circle.installed_version().unwrap().unwrap();
        let expected = if now.sequence == 1 { FIRST_ARTIFACT } else { SECOND_ARTIFACT };
        assert_eq!(circle.installed_bytes().as_deref(), Some(expected), "step {n}");
        let memory = circle.load_client_state();
        if now.sequence == 1 {
            assert!(
                memory.highest_installed == 1 && memory.head.as_ref().unwrap().size() == 2,
                "step {n}"
            );
            let first = |memory: &unanimity_state::ClientState| memory.rounds[0].closed_at();
            assert_eq!(first(&memory), first(&base.load_client_state()), "step {n}");
        }
        if n == 0 {
            assert_eq!(format!("{memory:?}"), before);
        }
        // The next run is fine.
        circle.disk = Storage::default();
        match circle.update().await.1 {
            Ok(CycleOutcome::Installed(installed)) if now.sequence == 1 => {
                assert_eq!(installed.sequence, 2);
            }
            Ok(CycleOutcome::UpToDate) if now.sequence == 2 => {}
            other => panic!("step {n}: {other:?}"),
        }
        assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT), "step {n}");
        if !died {
            assert!(n > 25, "{n}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_at_any_step_of_an_update_it_has_the_old_release_or_the_new() {
    check_failing_storage(true).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_for_one_step_costs_one_run() {
    check_failing_storage(false).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_while_the_first_head_is_stored_leaves_no_head_or_that_one() {
    let base = TestWorld::new(103);
    base.publish(&release_spec(1)).unwrap();
    for n in 0.. {
        let mut circle = base.copy();
        circle.poll_all().await.unwrap();
        let (disk, steps) = failing_storage(move |step| step >= n);
        circle.disk = disk;
        let (_, ended) = circle.update().await;
        let head = circle.head_of("log").unwrap();
        assert!(circle.trusted_head().is_none_or(|trusted| trusted == head));
        circle.disk = Storage::default();
        if steps.load(Ordering::SeqCst) <= n {
            assert!(matches!(ended, Err(CycleError::Refused(Refusal::Settling { .. }))));
            break;
        }
        assert!(matches!(ended, Err(CycleError::Client(_))), "step {n}: {ended:?}");
        assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
        assert_eq!(circle.trusted_head(), Some(head));
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_state_file_is_an_error_or_says_the_same() {
    let mut circle = TestWorld::with_second_settling(104).await;
    circle.stop(3);
    circle.advance_and_poll(MINUTE).await;
    circle.update().await.1.unwrap_err();
    let config = &circle.config;
    let directory = config.cycle.state.join("client");
    let path = directory.join("client.json");
    let whole = fs::read(&path).unwrap();
    let read =
        || ClientStore::read(&directory, &config.cycle.policy, &config.peers, &Storage::default());
    let facts = format!("{:?}", read().unwrap());
    let mut refused = 0;
    for at in 0..whole.len() {
        // Digits become other digits: nothing here is only syntax.
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 4);
        fs::write(&path, &bytes).unwrap();
        match read() {
            Ok(state) => assert_eq!(format!("{state:?}"), facts, "byte {at}"),
            Err(_) => refused += 1,
        }
        if at % 16 == 0 {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(read().is_err(), "cut at {at}");
        }
    }
    assert!(refused > whole.len() / 2);
    fs::write(&path, b"{}").unwrap();
    assert!(matches!(expect_error(circle.update().await), ClientError::Store(_)));
    fs::write(circle.config.cycle.state.join("client/client.json"), whole).unwrap();
    circle.update().await.1.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn another_publisher_key_or_threshold_reads_the_log_again_from_its_start() {
    let mut circle = TestWorld::with_second_settling(105).await;
    let Policy { product, channel, log, .. } = circle.config.cycle.policy.clone();
    let keys = circle.config.cycle.policy.publishers().to_vec();
    let policy = |keys: &[_], threshold| {
        let (product, channel) = (product.clone(), channel.clone());
        Policy::new(product, channel, log.clone(), keys.to_vec(), threshold).unwrap()
    };
    let two_of_three = circle.config.cycle.policy.clone();
    // Three of three: release 2 has two signatures only.
    circle.config.cycle.policy = policy(&keys, 3);
    circle.advance_and_poll(MINUTE).await;
    expect_up_to_date(circle.update().await);
    circle.advance_and_poll(HOUR).await;
    expect_up_to_date(circle.update().await);
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    assert_eq!(circle.trusted_head().unwrap().size(), 2);
    // A stranger's keys.
    let stranger = NoteSigningKey::from_seed("stranger".parse().unwrap(), &[3; 32]).public();
    circle.config.cycle.policy = policy(&[stranger, keys[2].clone()], 1);
    expect_up_to_date(circle.update().await);
    // Two of three again: it is found again, and settles.
    circle.config.cycle.policy = two_of_three;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn another_log_needs_another_state_directory() {
    let mut circle = TestWorld::with_first_installed(106).await;
    let other = TestWorld::new(107);
    circle.config.cycle.policy = other.config.cycle.policy.clone();
    let error = expect_error(circle.update().await);
    assert!(matches!(error, ClientError::Store(StoreError::OtherLog(_))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn forgetting_everything_but_the_installed_release_installs_nothing_older() {
    let mut circle = TestWorld::with_second_settling(108).await;
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    fs::remove_dir_all(&circle.config.cycle.state).unwrap();
    for _ in 0..3 {
        if let (_, Ok(CycleOutcome::Installed(installed))) = circle.update().await {
            panic!("{installed:?}");
        }
        circle.advance_and_poll(HOUR).await;
    }
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_restored_log_that_lost_entries_is_a_rollback_and_not_a_fork() {
    let mut circle = TestWorld::with_first_installed(109).await;
    circle.copy_log("backup").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.set_mirror("client", "backup").unwrap();
    assert!(matches!(expect_mirror_problem(circle.update().await), MirrorProblem::Rollback { .. }));
    circle.set_peer_mirrors("backup").unwrap();
    circle.advance_and_poll(HOUR).await;
    circle.update().await.1.unwrap_err();
    assert_eq!(circle.trusted_head().unwrap().size(), 2);
    let log = Mirror::from_directory(circle.log_directory());
    circle.mirrors.push(log);
    assert_eq!(expect_unconfirmed(circle.update().await).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_not_for_others_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let circle = TestWorld::with_first_installed(110).await;
    let state = &circle.config.cycle.state;
    for (path, mode) in [(state.join("client"), 0o700), (state.join("client/client.json"), 0o600)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(circle.load_client_state().latest_verified_time, Timestamp(circle.now().0));
    assert!(
        circle.load_client_state().unanimous_at.unwrap()
            > Timestamp(circle.now().0 - SECOND.as_secs())
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_makes_no_progress_knows_since_when() {
    let mut circle = TestWorld::with_first_installed(111).await;
    let unanimous = circle.load_client_state().unanimous_at.unwrap();
    let after = |circle: &TestWorld, limit| {
        circle.load_client_state().no_progress_since(circle.now(), limit)
    };
    circle.advance(HOUR - SECOND);
    assert_eq!(after(&circle, HOUR), None);
    circle.advance(SECOND);
    assert_eq!(after(&circle, HOUR), Some(unanimous));
    // One that is silent, or a mirror that hides what others have seen: no difference.
    circle.poll_all().await.unwrap();
    circle.stop(1);
    circle.update().await.1.unwrap_err();
    assert_eq!(after(&circle, HOUR), Some(unanimous));
    circle.start(1);
    circle.update().await.1.unwrap();
    assert_eq!(after(&circle, HOUR), None);
    // A node that never got an answer counts from the first roll that it called.
    circle.config.cycle.state = circle.scratch_path("new");
    assert_eq!(after(&circle, HOUR), None);
    circle.stop(1);
    circle.update().await.1.unwrap_err();
    let first = circle.now();
    circle.advance(HOUR);
    assert_eq!(after(&circle, HOUR), Some(first));
}
