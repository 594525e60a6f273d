//! A release that its publisher took back is installed nowhere, and nobody goes back to it.

use std::fs;
use std::time::Duration;

use unanimity_client::{CycleOutcome, MirrorProblem};
use unanimity_install::RollbackError;
use unanimity_protocol::{Hash, Policy, Refusal};
use unanimity_state::ClientStore;
use unanimity_storage::{Clock as _, Storage};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, MINUTE, SECOND_ARTIFACT, TestWorld, expect_installed,
    expect_mirror_problem, expect_refusal, expect_up_to_date, release_spec,
};
use unanimity_testkit::trial::{
    advance_and_poll, expect_update_installs, expect_update_unhealthy, install_root,
    installed_sequence, publish_and_settle, shell_command, version_label, world_before_install,
};

const WHY: &str = "It deletes what it should keep.";

fn withdraw(circle: &TestWorld, sequence: u64) {
    circle.publish_withdrawal("log", sequence, WHY, circle.now()).unwrap();
}

#[track_caller]
fn assert_withdrawn(refusal: &Refusal, is_installed: bool) {
    let Refusal::Withdrawn { release, index: 2, reason, installed } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!((&**release, &**reason, *installed), ("2-1.1.0", WHY, is_installed));
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_back_while_it_settles_never_installs_and_the_next_release_does() {
    let mut circle = TestWorld::with_second_settling(170).await;
    withdraw(&circle, 2);
    circle.advance_and_poll(HOUR).await;
    assert_withdrawn(&expect_refusal(circle.update().await), false);
    // Said once; then there is simply nothing new.
    expect_up_to_date(circle.update().await);
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 3);
}

/// It needs nobody's confirmation: it takes an update away, and never brings one.
#[tokio::test(start_paused = true)]
async fn no_peer_has_to_have_seen_that_a_release_is_taken_back() {
    let mut circle = TestWorld::with_second_settling(171).await;
    circle.advance_and_poll(HOUR).await;
    withdraw(&circle, 2);
    assert_withdrawn(&expect_refusal(circle.update().await), false);
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // Nor does it help to hide it again.
    circle.poll_all().await.unwrap();
    circle.copy_log("frozen").unwrap();
    circle.publish(&release_spec(3)).unwrap();
    circle.set_mirror("client", "frozen").unwrap();
    circle.advance_and_poll(MINUTE).await;
    assert!(matches!(expect_mirror_problem(circle.update().await), MirrorProblem::Stale { .. }));
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

/// Whoever keeps one peer from answering hides it from nobody.
#[tokio::test(start_paused = true)]
async fn what_is_taken_back_is_known_also_while_a_peer_is_silent() {
    let mut circle = TestWorld::with_second_settling(174).await;
    withdraw(&circle, 1);
    circle.stop(0);
    circle.advance_and_poll(MINUTE).await;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Incomplete(_)));
    let (state, policy) = (circle.config.cycle.state.join("client"), &circle.config.cycle.policy);
    let catalog = ClientStore::read_catalog(&state, policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [1].into());
    // Nor is it forgotten for other keys, if enough of those have signed it as well.
    let of = |keys: &[usize], threshold| {
        let keys = keys.iter().map(|key| circle.keys.publisher_keys[*key].public()).collect();
        let (product, channel) = (policy.product.clone(), policy.channel.clone());
        let policy = Policy::new(product, channel, policy.log.clone(), keys, threshold).unwrap();
        ClientStore::read_catalog(&state, &policy, &Storage::default()).unwrap().withdrawn()
    };
    assert_eq!((of(&[0, 1], 2), of(&[0, 1, 2], 3)), ([1].into(), [].into()));
    // What every peer confirms goes on from what they did before.
    circle.start(0);
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    let (state, policy) = (circle.config.cycle.state.join("client"), &circle.config.cycle.policy);
    let catalog = ClientStore::read_catalog(&state, policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [1].into());
}

#[tokio::test(start_paused = true)]
async fn that_the_installed_release_is_taken_back_is_said_until_a_newer_one_is_there() {
    let mut circle = TestWorld::with_second_settling(172).await;
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    withdraw(&circle, 2);
    circle.advance_and_poll(MINUTE).await;
    for _ in 0..3 {
        assert_withdrawn(&expect_refusal(circle.update().await), true);
        circle.advance_and_poll(MINUTE).await;
    }
    assert_eq!(
        circle.installed_bytes().as_deref(),
        Some(SECOND_ARTIFACT),
        "nothing older is put in its place"
    );
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    assert_withdrawn(&expect_refusal(circle.update().await), true);
    circle.advance_and_poll(HOUR).await;
    let (report, ended) = circle.update().await;
    assert!(matches!(ended, Ok(CycleOutcome::Installed(_))), "{ended:?}");
    assert!(report.remarks.iter().any(|remark| remark.starts_with("withdrawn: entry 2")));
    circle.advance_and_poll(MINUTE).await;
    expect_up_to_date(circle.update().await);
    // It is remembered for whoever goes back.
    let (state, policy) = (circle.config.cycle.state.join("client"), &circle.config.cycle.policy);
    let catalog = ClientStore::read_catalog(&state, policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [2].into());
}

#[tokio::test]
async fn a_release_that_does_not_work_stays_where_the_one_before_was_taken_back() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    world.publish_withdrawal("log", 1, WHY, world.clock.now()).unwrap();
    advance_and_poll(&mut world, Duration::from_secs(60)).await;
    world.config.cycle.hooks.check = shell_command("false");
    let (_, why, _) = expect_update_unhealthy(&mut world).await;
    assert_eq!(
        why,
        "check failed (exit status: 1); 1-1.0.0 was taken back by its publisher, so 2-1.1.0 stays"
    );
    assert_eq!(installed_sequence(&world), Some(2));
    let journal = install_root(&world).journal().unwrap();
    assert_eq!((journal.trial, journal.failed.len()), (None, 1));
    // There is no next try of it, and it is good when its operator says so.
    assert_eq!(install_root(&world).mark_good(None).await.unwrap(), (version_label(2), true));
    let journal = install_root(&world).journal().unwrap();
    assert_eq!((journal.good.last(), journal.failed.len()), (Some(&version_label(2)), 0));
    assert_eq!(installed_sequence(&world), Some(2));
}

#[tokio::test]
async fn nobody_goes_back_by_hand_to_what_was_taken_back() {
    let place = scratch_dir();
    let mut world = world_before_install(&place.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    let known = install_root(&world).with_withdrawn([2].into());
    let now = world.clock.now();
    let ended = known.roll_back(Some(&version_label(2)), now).await;
    assert!(matches!(ended, Err(RollbackError::Withdrawn(_))), "{ended:?}");
    let back = known.roll_back(None, now).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (1, Some(1)));
    let all = install_root(&world).with_withdrawn([2, 3].into());
    let ended = all.roll_back(None, now).await;
    assert!(matches!(ended, Err(RollbackError::NoVersion { .. })), "{ended:?}");
}

/// What was going on before this version knew withdrawals is read again, from the first entry.
#[tokio::test(start_paused = true)]
async fn a_log_that_was_read_without_knowing_of_withdrawals_is_read_again() {
    let mut circle = TestWorld::with_second_settling(173).await;
    withdraw(&circle, 2);
    circle.advance_and_poll(MINUTE).await;
    assert_withdrawn(&expect_refusal(circle.update().await), false);
    let file = circle.config.cycle.state.join("client/client.json");
    let text = fs::read_to_string(&file).unwrap();
    // An older version has skipped the entry, and says by what it read.
    let at = text.find("\"unanimity/withdrawal/v1").unwrap();
    let (from, to) = (text[..at].rfind("],").unwrap() + 1, at + text[at..].find(']').unwrap() + 1);
    let text = [&text[..from], &text[to..]].concat();
    let policy = &circle.config.cycle.policy.clone();
    let keys: String = policy.publishers().iter().map(|key| format!("{key}\n")).collect();
    let old = format!("{} {} {}\n{keys}", policy.product, policy.channel, policy.threshold());
    let text = with_field(&text, "policy", &Hash::digest(old.as_bytes()).hex());
    let unsealed = with_field(&text, "sha256", "");
    let sealed = with_field(&unsealed, "sha256", &Hash::digest(unsealed.as_bytes()).hex());
    fs::write(&file, sealed).unwrap();
    let catalog =
        ClientStore::read_catalog(file.parent().unwrap(), policy, &Storage::default()).unwrap();
    assert!(catalog.withdrawn().is_empty());
    circle.advance_and_poll(HOUR).await;
    let ended = circle.update().await.1;
    assert!(!matches!(ended, Ok(CycleOutcome::Installed(_))), "{ended:?}");
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    let catalog =
        ClientStore::read_catalog(file.parent().unwrap(), policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [2].into());
}

/// The same file with another value in a field of one line.
fn with_field(text: &str, name: &str, value: &str) -> String {
    let name = format!("\"{name}\": \"");
    let from = text.rfind(&name).unwrap() + name.len();
    let to = from + text[from..].find('"').unwrap();
    [&text[..from], value, &text[to..]].concat()
}
