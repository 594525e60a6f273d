//! The threat model's table: every attack that the demo shows is refused, for its own reason.

use unanimity_testkit::Attack;
use unanimity_testkit::circle::{Circle, HOUR, ONE, TWO, installed, release, up_to_date};

#[tokio::test(start_paused = true)]
async fn every_attack_is_refused_for_its_own_reason() {
    let base = Circle::with_first(1).await;
    for attack in Attack::ALL {
        let world = base.copy_to(&base.beside(&format!("{attack:?}"))).unwrap();
        let attacked = attack.run(world).await.unwrap();
        assert!(attacked.held, "{attack:?}: {}", attacked.said);
    }
}

#[tokio::test(start_paused = true)]
async fn only_forks_leave_evidence() {
    let base = Circle::with_first(2).await;
    for attack in Attack::ALL {
        let world = base.copy_to(&base.beside(&format!("{attack:?}"))).unwrap();
        let forks = matches!(attack, Attack::ForkedLog | Attack::FlashFork | Attack::Laundering);
        assert_eq!(attack.run(world).await.unwrap().evidence.is_some(), forks, "{attack:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_honest_update_installs_byte_for_byte_and_then_all_is_up_to_date() {
    let mut circle = Circle::with_first(3).await;
    assert_eq!(circle.current().as_deref(), Some(ONE));
    up_to_date(circle.check().await);
    circle.publish(&release(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    assert_eq!(circle.current().as_deref(), Some(ONE));
    circle.pass(HOUR).await;
    assert_eq!(installed(circle.update().await), 2);
    assert_eq!(circle.current().as_deref(), Some(TWO));
    up_to_date(circle.check().await);
    up_to_date(circle.update().await);
}

#[tokio::test(start_paused = true)]
async fn an_empty_log_is_nothing_to_install() {
    let mut circle = Circle::new(4);
    circle.poll_all().await.unwrap();
    up_to_date(circle.update().await);
    assert_eq!(circle.current(), None);
}
