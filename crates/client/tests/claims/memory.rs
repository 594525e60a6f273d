//! What a client remembers: whole or not at all, never weaker, one process at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use unanimity_client::{Client, ClientError, CycleError, CycleOutcome, MirrorProblem};
use unanimity_net::Mirror;
use unanimity_protocol::{NoteSigningKey, Policy, Refusal, Timestamp};
use unanimity_state::{ClientStore, StoreError};
use unanimity_storage::Storage;
use unanimity_testkit::circle::{
    Circle, HOUR, MINUTE, ONE, SECOND, TWO, error, installed, mirror_problem, missing, refusal,
    release, up_to_date,
};

#[tokio::test(start_paused = true)]
async fn one_state_directory_has_one_client() {
    let mut circle = Circle::with_first(100).await;
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
    up_to_date(circle.update().await);
}

#[tokio::test(start_paused = true)]
async fn rolls_survive_a_restart_and_so_does_since_when_a_peer_is_silent() {
    // Every `update` of these tests opens the client's state anew.
    let circle = Circle::with_second_settling(101).await;
    let memory = circle.memory();
    assert_eq!(memory.rounds.len(), 1);
    assert_eq!(memory.rounds[0].closed_at(), circle.now());
    assert_eq!(memory.rounds[0].cosigned_heads().count(), 5);
    let mut circle = circle;
    circle.stop(0);
    circle.pass(MINUTE).await;
    let since = circle.now();
    assert_eq!(missing(circle.update().await)[0].since, Some(since));
    circle.pass(HOUR).await;
    assert_eq!(missing(circle.update().await)[0].since, Some(since));
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
    let base = Circle::with_second_settling(102).await;
    base.advance(HOUR);
    let before = format!("{:?}", base.memory());
    for n in 0.. {
        let mut circle = base.again();
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
        let now = circle.installed().unwrap().unwrap();
        let expected = if now.sequence == 1 { ONE } else { TWO };
        assert_eq!(circle.current().as_deref(), Some(expected), "step {n}");
        let memory = circle.memory();
        if now.sequence == 1 {
            assert!(
                memory.highest_installed == 1 && memory.head.as_ref().unwrap().size() == 2,
                "step {n}"
            );
            let first = |memory: &unanimity_state::ClientState| memory.rounds[0].closed_at();
            assert_eq!(first(&memory), first(&base.memory()), "step {n}");
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
        assert_eq!(circle.current().as_deref(), Some(TWO), "step {n}");
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
    let base = Circle::new(103);
    base.publish(&release(1)).unwrap();
    for n in 0.. {
        let mut circle = base.again();
        circle.poll_all().await.unwrap();
        let (disk, steps) = failing_storage(move |step| step >= n);
        circle.disk = disk;
        let (_, ended) = circle.update().await;
        let head = circle.head_of("log").unwrap();
        assert!(circle.trusted().is_none_or(|trusted| trusted == head));
        circle.disk = Storage::default();
        if steps.load(Ordering::SeqCst) <= n {
            assert!(matches!(ended, Err(CycleError::Refused(Refusal::Settling { .. }))));
            break;
        }
        assert!(matches!(ended, Err(CycleError::Client(_))), "step {n}: {ended:?}");
        assert!(matches!(refusal(circle.update().await), Refusal::Settling { .. }));
        assert_eq!(circle.trusted(), Some(head));
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_state_file_is_an_error_or_says_the_same() {
    let mut circle = Circle::with_second_settling(104).await;
    circle.stop(3);
    circle.pass(MINUTE).await;
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
    assert!(matches!(error(circle.update().await), ClientError::Store(_)));
    fs::write(circle.config.cycle.state.join("client/client.json"), whole).unwrap();
    circle.update().await.1.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn another_publisher_key_or_threshold_reads_the_log_again_from_its_start() {
    let mut circle = Circle::with_second_settling(105).await;
    let Policy { product, channel, log, .. } = circle.config.cycle.policy.clone();
    let keys = circle.config.cycle.policy.publishers().to_vec();
    let policy = |keys: &[_], threshold| {
        let (product, channel) = (product.clone(), channel.clone());
        Policy::new(product, channel, log.clone(), keys.to_vec(), threshold).unwrap()
    };
    let two_of_three = circle.config.cycle.policy.clone();
    // Three of three: release 2 has two signatures only.
    circle.config.cycle.policy = policy(&keys, 3);
    circle.pass(MINUTE).await;
    up_to_date(circle.update().await);
    circle.pass(HOUR).await;
    up_to_date(circle.update().await);
    assert_eq!(circle.current().as_deref(), Some(ONE));
    assert_eq!(circle.trusted().unwrap().size(), 2);
    // A stranger's keys.
    let stranger = NoteSigningKey::from_seed("stranger".parse().unwrap(), &[3; 32]).public();
    circle.config.cycle.policy = policy(&[stranger, keys[2].clone()], 1);
    up_to_date(circle.update().await);
    // Two of three again: it is found again, and settles.
    circle.config.cycle.policy = two_of_three;
    assert!(matches!(refusal(circle.update().await), Refusal::Settling { .. }));
    circle.pass(HOUR).await;
    assert_eq!(installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn another_log_needs_another_state_directory() {
    let mut circle = Circle::with_first(106).await;
    let other = Circle::new(107);
    circle.config.cycle.policy = other.config.cycle.policy.clone();
    let error = error(circle.update().await);
    assert!(matches!(error, ClientError::Store(StoreError::OtherLog(_))), "{error}");
}

#[tokio::test(start_paused = true)]
async fn forgetting_everything_but_the_installed_release_installs_nothing_older() {
    let mut circle = Circle::with_second_settling(108).await;
    circle.pass(HOUR).await;
    assert_eq!(installed(circle.update().await), 2);
    fs::remove_dir_all(&circle.config.cycle.state).unwrap();
    for _ in 0..3 {
        if let (_, Ok(CycleOutcome::Installed(installed))) = circle.update().await {
            panic!("{installed:?}");
        }
        circle.pass(HOUR).await;
    }
    assert_eq!(circle.current().as_deref(), Some(TWO));
}

#[tokio::test(start_paused = true)]
async fn a_restored_log_that_lost_entries_is_a_rollback_and_not_a_fork() {
    let mut circle = Circle::with_first(109).await;
    circle.copy_log("backup").unwrap();
    circle.publish(&release(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.show("client", "backup").unwrap();
    assert!(matches!(mirror_problem(circle.update().await), MirrorProblem::Rollback { .. }));
    circle.show_peers("backup").unwrap();
    circle.pass(HOUR).await;
    circle.update().await.1.unwrap_err();
    assert_eq!(circle.trusted().unwrap().size(), 2);
    let log = Mirror::from_directory(circle.log_directory());
    circle.mirrors.push(log);
    assert_eq!(missing(circle.update().await).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_not_for_others_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let circle = Circle::with_first(110).await;
    let state = &circle.config.cycle.state;
    for (path, mode) in [(state.join("client"), 0o700), (state.join("client/client.json"), 0o600)] {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
    }
    assert_eq!(circle.memory().latest_verified_time, Timestamp(circle.now().0));
    assert!(circle.memory().unanimous_at.unwrap() > Timestamp(circle.now().0 - SECOND.as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_makes_no_progress_knows_since_when() {
    let mut circle = Circle::with_first(111).await;
    let unanimous = circle.memory().unanimous_at.unwrap();
    let after = |circle: &Circle, limit| circle.memory().no_progress_since(circle.now(), limit);
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
    circle.config.cycle.state = circle.beside("new");
    assert_eq!(after(&circle, HOUR), None);
    circle.stop(1);
    circle.update().await.1.unwrap_err();
    let first = circle.now();
    circle.advance(HOUR);
    assert_eq!(after(&circle, HOUR), Some(first));
}
