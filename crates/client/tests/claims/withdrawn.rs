//! Withdrawn releases: they are not installed, and no rollback returns to them.

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

const REASON: &str = "It deletes what it should keep.";

fn withdraw(world: &TestWorld, sequence: u64) {
    world.publish_withdrawal("log", sequence, REASON, world.now()).unwrap();
}

#[track_caller]
fn assert_withdrawn(refusal: &Refusal, is_installed: bool) {
    let Refusal::Withdrawn { release, index: 2, reason, installed } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!((&**release, &**reason, *installed), ("2-1.1.0", REASON, is_installed));
}

#[tokio::test(start_paused = true)]
async fn release_withdrawn_while_settling_never_installs() {
    let mut world = TestWorld::with_second_settling(170).await;
    withdraw(&world, 2);
    world.advance_and_poll(HOUR).await;
    assert_withdrawn(&expect_refusal(world.update().await), false);
    // The withdrawal is reported once. After that there is no new release.
    expect_up_to_date(world.update().await);
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 3);
}

/// A withdrawal only stops an update, so it needs no confirmation.
#[tokio::test(start_paused = true)]
async fn withdrawal_needs_no_confirmation_by_peers() {
    let mut world = TestWorld::with_second_settling(171).await;
    world.advance_and_poll(HOUR).await;
    withdraw(&world, 2);
    assert_withdrawn(&expect_refusal(world.update().await), false);
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // A mirror that hides the withdrawal again does not help.
    world.poll_all().await.unwrap();
    world.copy_log("frozen").unwrap();
    world.publish(&release_spec(3)).unwrap();
    world.set_mirror("client", "frozen").unwrap();
    world.advance_and_poll(MINUTE).await;
    assert!(matches!(expect_mirror_problem(world.update().await), MirrorProblem::Stale { .. }));
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

/// An attacker that silences one peer cannot hide a withdrawal.
#[tokio::test(start_paused = true)]
async fn client_learns_withdrawals_while_a_peer_is_silent() {
    let mut world = TestWorld::with_second_settling(174).await;
    withdraw(&world, 1);
    world.stop(0);
    world.advance_and_poll(MINUTE).await;
    assert!(matches!(expect_refusal(world.update().await), Refusal::Incomplete(_)));
    let (state, policy) = (world.config.cycle.state.join("client"), &world.config.cycle.policy);
    let catalog = ClientStore::read_catalog(&state, policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [1].into());
    // With other keys, the withdrawal is kept if enough of them signed it.
    let withdrawn_for = |keys: &[usize], threshold| {
        let keys = keys.iter().map(|key| world.keys.publisher_keys[*key].public()).collect();
        let (product, channel) = (policy.product.clone(), policy.channel.clone());
        let policy = Policy::new(product, channel, policy.log.clone(), keys, threshold).unwrap();
        ClientStore::read_catalog(&state, &policy, &Storage::default()).unwrap().withdrawn()
    };
    assert_eq!((withdrawn_for(&[0, 1], 2), withdrawn_for(&[0, 1, 2], 3)), ([1].into(), [].into()));
    // Settling continues from the earlier round.
    world.start(0);
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    let (state, policy) = (world.config.cycle.state.join("client"), &world.config.cycle.policy);
    let catalog = ClientStore::read_catalog(&state, policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [1].into());
}

#[tokio::test(start_paused = true)]
async fn withdrawal_of_the_installed_release_is_reported_until_update() {
    let mut world = TestWorld::with_second_settling(172).await;
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    withdraw(&world, 2);
    world.advance_and_poll(MINUTE).await;
    for _ in 0..3 {
        assert_withdrawn(&expect_refusal(world.update().await), true);
        world.advance_and_poll(MINUTE).await;
    }
    assert_eq!(
        world.installed_bytes().as_deref(),
        Some(SECOND_ARTIFACT),
        "no older release replaces it"
    );
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    assert_withdrawn(&expect_refusal(world.update().await), true);
    world.advance_and_poll(HOUR).await;
    let (report, result) = world.update().await;
    assert!(matches!(result, Ok(CycleOutcome::Installed(_))), "{result:?}");
    snapbox::assert_data_eq!(
        report.remarks.join("\n"),
        snapbox::file!["words/remarks_of_an_update_from_a_withdrawn_release.txt"]
    );
    world.advance_and_poll(MINUTE).await;
    expect_up_to_date(world.update().await);
    // The withdrawal stays stored, for later rollbacks.
    let (state, policy) = (world.config.cycle.state.join("client"), &world.config.cycle.policy);
    let catalog = ClientStore::read_catalog(&state, policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [2].into());
}

#[tokio::test]
async fn unhealthy_release_stays_if_its_predecessor_is_withdrawn() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    world.publish_withdrawal("log", 1, REASON, world.clock.now()).unwrap();
    advance_and_poll(&mut world, Duration::from_secs(60)).await;
    world.config.cycle.hooks.check = shell_command("false");
    let (_, reason, _) = expect_update_unhealthy(&mut world).await;
    snapbox::assert_data_eq!(
        reason,
        snapbox::file!["words/unhealthy_release_with_a_withdrawn_predecessor.txt"]
    );
    assert_eq!(installed_sequence(&world), Some(2));
    let journal = install_root(&world).journal().unwrap();
    assert_eq!((journal.trial, journal.failed.len()), (None, 1));
    // The release is not tried again. It is good once the operator vouches for it.
    assert_eq!(install_root(&world).mark_good(None).await.unwrap(), (version_label(2), true));
    let journal = install_root(&world).journal().unwrap();
    assert_eq!((journal.good.last(), journal.failed.len()), (Some(&version_label(2)), 0));
    assert_eq!(installed_sequence(&world), Some(2));
}

#[tokio::test]
async fn rollback_refuses_withdrawn_releases() {
    let scratch = scratch_dir();
    let mut world = world_before_install(&scratch.path().join("world")).await;
    expect_update_installs(&mut world, 2).await;
    publish_and_settle(&mut world, 3).await;
    expect_update_installs(&mut world, 3).await;
    let known = install_root(&world).with_withdrawn([2].into());
    let now = world.clock.now();
    let result = known.roll_back(Some(&version_label(2)), now).await;
    assert!(matches!(result, Err(RollbackError::Withdrawn(_))), "{result:?}");
    let back = known.roll_back(None, now).await.unwrap();
    assert_eq!((back.installed.unwrap().sequence, installed_sequence(&world)), (1, Some(1)));
    let all = install_root(&world).with_withdrawn([2, 3].into());
    let result = all.roll_back(None, now).await;
    assert!(matches!(result, Err(RollbackError::NoVersion { .. })), "{result:?}");
}

/// A client of an older version skipped withdrawals. This version reads its log from the first
/// entry.
#[tokio::test(start_paused = true)]
async fn log_read_by_a_version_without_withdrawals_is_read_again() {
    let mut world = TestWorld::with_second_settling(173).await;
    withdraw(&world, 2);
    world.advance_and_poll(MINUTE).await;
    assert_withdrawn(&expect_refusal(world.update().await), false);
    let file = world.config.cycle.state.join("client/client.json");
    let text = fs::read_to_string(&file).unwrap();
    // An older version skipped the entry, and stored the digest of the policy that it used.
    let at = text.find("\"unanimity/withdrawal/v1").unwrap();
    let (from, to) = (text[..at].rfind("],").unwrap() + 1, at + text[at..].find(']').unwrap() + 1);
    let text = [&text[..from], &text[to..]].concat();
    let policy = &world.config.cycle.policy.clone();
    let keys: String = policy.publishers().iter().map(|key| format!("{key}\n")).collect();
    let old = format!("{} {} {}\n{keys}", policy.product, policy.channel, policy.threshold());
    let text = with_field(&text, "policy", &Hash::digest(old.as_bytes()).hex());
    let unsealed = with_field(&text, "sha256", "");
    let sealed = with_field(&unsealed, "sha256", &Hash::digest(unsealed.as_bytes()).hex());
    fs::write(&file, sealed).unwrap();
    let catalog =
        ClientStore::read_catalog(file.parent().unwrap(), policy, &Storage::default()).unwrap();
    assert!(catalog.withdrawn().is_empty());
    world.advance_and_poll(HOUR).await;
    let result = world.update().await.1;
    assert!(!matches!(result, Ok(CycleOutcome::Installed(_))), "{result:?}");
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    let catalog =
        ClientStore::read_catalog(file.parent().unwrap(), policy, &Storage::default()).unwrap();
    assert_eq!(catalog.withdrawn(), [2].into());
}

/// The text of a state file with another value in a field of one line.
fn with_field(text: &str, name: &str, value: &str) -> String {
    let name = format!("\"{name}\": \"");
    let from = text.rfind(&name).unwrap() + name.len();
    let to = from + text[from..].find('"').unwrap();
    [&text[..from], value, &text[to..]].concat()
}
