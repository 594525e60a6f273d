//! The client's state: whole or absent after a crash, never weaker, and used by one process at a
//! time.

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
async fn state_directory_admits_one_client() {
    let mut world = TestWorld::with_first_installed(100).await;
    {
        let open = || {
            Client::open(
                &world.config,
                &world.mirrors,
                &world.network,
                &world.clock,
                Storage::default(),
            )
        };
        let first = open().unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(open(), Err(ClientError::Store(StoreError::Busy(_)))));
        drop(first);
    }
    expect_up_to_date(world.update().await);
}

#[tokio::test(start_paused = true)]
async fn rounds_and_times_of_silence_survive_a_restart() {
    // Every `update` of these tests opens the client's state again.
    let world = TestWorld::with_second_settling(101).await;
    let state = world.load_client_state();
    assert_eq!(state.rounds.len(), 1);
    assert_eq!(state.rounds[0].closed_at(), world.now());
    assert_eq!(state.rounds[0].cosigned_heads().count(), 5);
    let mut world = world;
    world.stop(0);
    world.advance_and_poll(MINUTE).await;
    let since = world.now();
    assert_eq!(expect_unconfirmed(world.update().await)[0].since, Some(since));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_unconfirmed(world.update().await)[0].since, Some(since));
}

/// A storage that fails the steps that `fails` selects by number, and the count of steps so far.
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

/// Installs release 2 on a disk that fails at step `n`, or at every step from there on. Then
/// updates once more on a disk that works. Repeats this for every step.
async fn check_failing_storage(fails_from_there_on: bool) {
    let base = TestWorld::with_second_settling(102).await;
    base.advance(HOUR);
    let before = format!("{:?}", base.load_client_state());
    for n in 0.. {
        let mut world = base.copy();
        world.poll_all().await.unwrap();
        let (disk, steps) = if fails_from_there_on {
            failing_storage(move |step| step >= n)
        } else {
            failing_storage(move |s| s == n)
        };
        world.disk = disk;
        let (_, result) = world.update().await;
        let died = steps.load(Ordering::SeqCst) > n;
        assert!(!died || matches!(result, Err(CycleError::Client(_))), "step {n}: {result:?}");
        // The installed release is the old or the new one, and whole.
        let now = world.installed_version().unwrap().unwrap();
        let expected = if now.sequence == 1 { FIRST_ARTIFACT } else { SECOND_ARTIFACT };
        assert_eq!(world.installed_bytes().as_deref(), Some(expected), "step {n}");
        let state = world.load_client_state();
        if now.sequence == 1 {
            assert!(
                state.highest_installed == 1 && state.head.as_ref().unwrap().size() == 2,
                "step {n}"
            );
            let first = |state: &unanimity_state::ClientState| state.rounds[0].closed_at();
            assert_eq!(first(&state), first(&base.load_client_state()), "step {n}");
        }
        if n == 0 {
            assert_eq!(format!("{state:?}"), before);
        }
        // The next run succeeds.
        world.disk = Storage::default();
        match world.update().await.1 {
            Ok(CycleOutcome::Installed(installed)) if now.sequence == 1 => {
                assert_eq!(installed.sequence, 2);
            }
            Ok(CycleOutcome::UpToDate) if now.sequence == 2 => {}
            other => panic!("step {n}: {other:?}"),
        }
        assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT), "step {n}");
        if !died {
            assert!(n > 25, "{n}");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn update_killed_at_any_step_leaves_a_whole_release() {
    check_failing_storage(true).await;
}

#[tokio::test(start_paused = true)]
async fn disk_that_is_full_for_one_step_costs_one_run() {
    check_failing_storage(false).await;
}

#[tokio::test(start_paused = true)]
async fn full_disk_while_storing_the_first_head_leaves_no_other_head() {
    let base = TestWorld::new(103);
    base.publish(&release_spec(1)).unwrap();
    for n in 0.. {
        let mut world = base.copy();
        world.poll_all().await.unwrap();
        let (disk, steps) = failing_storage(move |step| step >= n);
        world.disk = disk;
        let (_, result) = world.update().await;
        let head = world.head_of("log").unwrap();
        assert!(world.trusted_head().is_none_or(|trusted| trusted == head));
        world.disk = Storage::default();
        if steps.load(Ordering::SeqCst) <= n {
            assert!(matches!(result, Err(CycleError::Refused(Refusal::Settling { .. }))));
            break;
        }
        assert!(matches!(result, Err(CycleError::Client(_))), "step {n}: {result:?}");
        assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
        assert_eq!(world.trusted_head(), Some(head));
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_state_file_is_an_error_or_reads_unchanged() {
    let mut world = TestWorld::with_second_settling(104).await;
    world.stop(3);
    world.advance_and_poll(MINUTE).await;
    world.update().await.1.unwrap_err();
    let config = &world.config;
    let directory = config.cycle.state.join("client");
    let path = directory.join("client.json");
    let whole = fs::read(&path).unwrap();
    let read =
        || ClientStore::read(&directory, &config.cycle.policy, &config.peers, &Storage::default());
    let facts = format!("{:?}", read().unwrap());
    let mut refused = 0;
    for at in 0..whole.len() {
        // Digits become other digits, so that values change and not only the syntax.
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
    assert!(matches!(expect_error(world.update().await), ClientError::Store(_)));
    fs::write(world.config.cycle.state.join("client/client.json"), whole).unwrap();
    world.update().await.1.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn changed_publisher_keys_read_the_log_again_from_its_start() {
    let mut world = TestWorld::with_second_settling(105).await;
    let Policy { product, channel, log, .. } = world.config.cycle.policy.clone();
    let keys = world.config.cycle.policy.publishers().to_vec();
    let policy = |keys: &[_], threshold| {
        let (product, channel) = (product.clone(), channel.clone());
        Policy::new(product, channel, log.clone(), keys.to_vec(), threshold).unwrap()
    };
    let two_of_three = world.config.cycle.policy.clone();
    // Three of three: release 2 has two signatures only.
    world.config.cycle.policy = policy(&keys, 3);
    world.advance_and_poll(MINUTE).await;
    expect_up_to_date(world.update().await);
    world.advance_and_poll(HOUR).await;
    expect_up_to_date(world.update().await);
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    assert_eq!(world.trusted_head().unwrap().size(), 2);
    // The policy has an unknown publisher's key.
    let stranger = NoteSigningKey::from_seed("stranger".parse().unwrap(), &[3; 32]).public();
    world.config.cycle.policy = policy(&[stranger, keys[2].clone()], 1);
    expect_up_to_date(world.update().await);
    // With two of three, the client finds the release again, and it settles.
    world.config.cycle.policy = two_of_three;
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn client_refuses_the_state_of_another_log() {
    let mut world = TestWorld::with_first_installed(106).await;
    let other = TestWorld::new(107);
    world.config.cycle.policy = other.config.cycle.policy.clone();
    let error = expect_error(world.update().await);
    assert!(matches!(error, ClientError::Store(StoreError::OtherLog(_))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn client_without_state_installs_no_older_release() {
    let mut world = TestWorld::with_second_settling(108).await;
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    fs::remove_dir_all(&world.config.cycle.state).unwrap();
    for _ in 0..3 {
        if let (_, Ok(CycleOutcome::Installed(installed))) = world.update().await {
            panic!("{installed:?}");
        }
        world.advance_and_poll(HOUR).await;
    }
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn restored_log_that_lost_entries_is_a_rollback_and_no_fork() {
    let mut world = TestWorld::with_first_installed(109).await;
    world.copy_log("backup").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.set_mirror("client", "backup").unwrap();
    assert!(matches!(expect_mirror_problem(world.update().await), MirrorProblem::Rollback { .. }));
    world.set_peer_mirrors("backup").unwrap();
    world.advance_and_poll(HOUR).await;
    world.update().await.1.unwrap_err();
    assert_eq!(world.trusted_head().unwrap().size(), 2);
    let log = Mirror::from_directory(world.log_directory());
    world.mirrors.push(log);
    assert_eq!(expect_unconfirmed(world.update().await).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn state_is_readable_only_by_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = TestWorld::with_first_installed(110).await;
    let state = &world.config.cycle.state;
    for (path, mode) in [(state.join("client"), 0o700), (state.join("client/client.json"), 0o600)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(world.load_client_state().latest_verified_time, Timestamp(world.now().0));
    assert!(
        world.load_client_state().unanimous_at.unwrap()
            > Timestamp(world.now().0 - SECOND.as_secs())
    );
}

#[tokio::test(start_paused = true)]
async fn state_records_since_when_there_is_no_progress() {
    let mut world = TestWorld::with_first_installed(111).await;
    let unanimous = world.load_client_state().unanimous_at.unwrap();
    let after =
        |world: &TestWorld, limit| world.load_client_state().no_progress_since(world.now(), limit);
    world.advance(HOUR - SECOND);
    assert_eq!(after(&world, HOUR), None);
    world.advance(SECOND);
    assert_eq!(after(&world, HOUR), Some(unanimous));
    // A silent peer is no progress.
    world.poll_all().await.unwrap();
    world.stop(1);
    world.update().await.1.unwrap_err();
    assert_eq!(after(&world, HOUR), Some(unanimous));
    world.start(1);
    world.update().await.1.unwrap();
    assert_eq!(after(&world, HOUR), None);
    // Without any answer so far, the time starts at the first round.
    world.config.cycle.state = world.scratch_path("new");
    assert_eq!(after(&world, HOUR), None);
    world.stop(1);
    world.update().await.1.unwrap_err();
    let first = world.now();
    world.advance(HOUR);
    assert_eq!(after(&world, HOUR), Some(first));
}
