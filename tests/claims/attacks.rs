//! The attacks of the threat model: each one that the demo shows is refused, for its own reason.

use unanimity_testkit::Attack;
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, SECOND_ARTIFACT, TestWorld, expect_installed, expect_up_to_date,
    release_spec,
};

#[tokio::test(start_paused = true)]
async fn every_attack_is_refused_for_its_own_reason() {
    let base = TestWorld::with_first_installed(1).await;
    for attack in Attack::ALL {
        let world = base.copy_to(&base.scratch_path(&format!("{attack:?}"))).unwrap();
        let result = attack.run(world).await.unwrap();
        assert!(result.resisted, "{attack:?}: {}", result.message);
    }
}

#[tokio::test(start_paused = true)]
async fn only_forks_leave_evidence() {
    let base = TestWorld::with_first_installed(2).await;
    for attack in Attack::ALL {
        let world = base.copy_to(&base.scratch_path(&format!("{attack:?}"))).unwrap();
        let forks =
            matches!(attack, Attack::ForkedLog | Attack::FlashFork | Attack::EquivocatingPeer);
        assert_eq!(attack.run(world).await.unwrap().evidence.is_some(), forks, "{attack:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_honest_update_installs_the_signed_bytes() {
    let mut world = TestWorld::with_first_installed(3).await;
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    expect_up_to_date(world.check().await);
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    expect_up_to_date(world.check().await);
    expect_up_to_date(world.update().await);
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_is_up_to_date() {
    let mut world = TestWorld::new(4);
    world.poll_all().await.unwrap();
    expect_up_to_date(world.update().await);
    assert_eq!(world.installed_bytes(), None);
}
