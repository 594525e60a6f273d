//! Silence is never consent: what counts as an answer, and since when it has to count.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;
use unanimity_client::Client;
use unanimity_net::message::{ANSWER_BYTES, Answer, Question};
use unanimity_net::{Listener as _, NoTransport};
use unanimity_protocol::checkpoint::CheckpointError;
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::{Hash, Log, NoteSigningKey, PeerFailure, PeerSet, Refusal, Timestamp};
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, MINUTE, SECOND, SECOND_ARTIFACT, TestWorld, expect_installed,
    expect_one_unconfirmed, expect_refusal, expect_unconfirmed, expect_up_to_date, release_spec,
};

type Expected = fn(&PeerFailure) -> bool;

/// Peer 2 does something else than answer; release 2 is otherwise ready to install. The update
/// is incomplete, names that peer only, says why and since when, and keeps saying so.
async fn check_refused(
    title: &str,
    base: &TestWorld,
    misbehave: impl Fn(&mut TestWorld),
    expected: Expected,
) {
    let mut circle = base.copy();
    circle.advance_and_poll(20 * MINUTE).await;
    misbehave(&mut circle);
    let since = circle.now();
    for wait in [Duration::ZERO, HOUR, 30 * 24 * HOUR] {
        circle.advance_and_poll(wait).await;
        misbehave(&mut circle);
        tokio::task::yield_now().await;
        let missing = expect_unconfirmed(circle.update().await);
        let [one] = &missing[..] else { panic!("{title}: {missing:?}") };
        assert_eq!(
            (one.peer.as_str(), one.confirmation),
            ("carol", Confirmation::NoValidAnswer),
            "{title}"
        );
        assert!(one.failure.as_ref().is_some_and(expected), "{title}: {one}");
        assert_eq!(one.since, Some(since), "{title}");
        assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT), "{title}");
    }
    // As soon as it answers again, all goes on.
    circle.start(2);
    assert_eq!(expect_installed(circle.update().await), 2, "{title}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_holds_the_update_back() {
    let base = TestWorld::with_second_settling(40).await;
    let base = &base;
    check_refused("stopped", base, |c| c.stop(2), |s| matches!(s, PeerFailure::Unreachable(_)))
        .await;
    check_refused(
        "mute",
        base,
        |c| c.replace_with_bytes(2, vec![], Duration::ZERO),
        |s| *s == PeerFailure::TimedOut,
    )
    .await;
    let slow = Answer::NoTile.encode();
    let slowly = move |c: &mut TestWorld| c.replace_with_bytes(2, slow.clone(), SECOND);
    check_refused("one byte a second", base, slowly, |s| *s == PeerFailure::TimedOut).await;
    let hang_up = |c: &mut TestWorld| {
        c.replace_peer(2, |mut listener| async move { while listener.accept().await.is_ok() {} });
    };
    check_refused("hangs up", base, hang_up, |s| matches!(s, PeerFailure::Disconnected(_))).await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_with_something_else_holds_the_update_back() {
    let base = TestWorld::with_second_settling(41).await;
    let base = &base;
    let garbled: Expected = |s| matches!(s, PeerFailure::Malformed(_));
    let says = |bytes: Vec<u8>| {
        move |circle: &mut TestWorld| circle.replace_with_bytes(2, bytes.clone(), Duration::ZERO)
    };
    let huge =
        |s: &PeerFailure| matches!(s, PeerFailure::Malformed(why) if why.contains("4294967295"));
    check_refused("4 GiB announced", base, says(vec![0xff; 4]), huge).await;
    check_refused("zeros", base, says(vec![0; ANSWER_BYTES]), garbled).await;
    let mut trailing = Answer::OtherLog.encode();
    trailing[ANSWER_BYTES - 1] = 1;
    check_refused("padding", base, says(trailing), garbled).await;
    let answers = |answer: Answer| {
        move |circle: &mut TestWorld| {
            let answer = answer.clone();
            circle.replace_with_responder(2, move |_| answer.clone());
        }
    };
    check_refused("a tile", base, answers(Answer::Tile(vec![0; 64])), garbled).await;
    check_refused("no tile", base, answers(Answer::NoTile), garbled).await;
    let blind = |s: &PeerFailure| *s == PeerFailure::NoFreshHead(Timestamp(5));
    check_refused("blind", base, answers(Answer::NoFreshHead(5)), blind).await;
    let other = |s: &PeerFailure| *s == PeerFailure::OtherLog;
    check_refused("other log", base, answers(Answer::OtherLog), other).await;
    let invalid: Expected = |s| matches!(s, PeerFailure::Invalid(_));
    check_refused("no note", base, answers(Answer::CosignedHead("hello".into())), invalid).await;
    let uncosigned = base.head_of("log").unwrap().note().to_owned();
    check_refused("not cosigned", base, answers(Answer::CosignedHead(uncosigned)), invalid).await;
    let useless: Expected = |s| matches!(s, PeerFailure::BadEvidence(_));
    check_refused("no evidence", base, answers(Answer::Evidence("hello".into())), useless).await;
    let head = base.head_of("log").unwrap();
    let length = head.note().len();
    let both = format!("checkpoint {length}\n{}", head.note());
    let same = format!("unanimity/evidence/v1\npath 0\n{both}{both}");
    check_refused("evidence of one head", base, answers(Answer::Evidence(same)), useless).await;
}

/// Answers with a view of `head`, cosigned by `by` at the time that `closed_at` makes of now.
fn answer_with_head(
    circle: &mut TestWorld,
    head: unanimity_protocol::TreeHead,
    by: usize,
    at: impl Fn(Timestamp) -> Timestamp + Send + 'static,
) {
    let (clock, secret) = (circle.clock.clone(), circle.keys.peer_keys[by].clone());
    circle.replace_with_responder(2, move |_| {
        let now = unanimity_storage::Clock::now(&clock);
        let view = unanimity_protocol::CosignedHead::sign(&head, &secret, at(now));
        Answer::CosignedHead(view.note().to_owned())
    });
}

#[tokio::test(start_paused = true)]
async fn a_view_counts_from_15_minutes_ago_to_one_minute_ahead() {
    let base = TestWorld::with_second_settling(42).await;
    let head = base.head_of("log").unwrap();
    let ahead = |by: u64| move |now: Timestamp| Timestamp(now.0 + by);
    let old = |by: u64| move |now: Timestamp| Timestamp(now.0 - by);
    let is_ahead: Expected = |s| matches!(s, PeerFailure::InFuture(_));
    let is_old: Expected = |s| matches!(s, PeerFailure::TooOld(_));
    check_refused(
        "61 s ahead",
        &base,
        |c| answer_with_head(c, head.clone(), 2, ahead(61)),
        is_ahead,
    )
    .await;
    check_refused(
        "a century",
        &base,
        |c| answer_with_head(c, head.clone(), 2, ahead(1 << 32)),
        is_ahead,
    )
    .await;
    check_refused("901 s old", &base, |c| answer_with_head(c, head.clone(), 2, old(901)), is_old)
        .await;
    check_refused(
        "of 1970",
        &base,
        |c| answer_with_head(c, head.clone(), 2, |_| Timestamp(0)),
        is_old,
    )
    .await;
    for at in [-900, 0, 60] {
        let mut circle = base.copy();
        // Long enough that the oldest view, too, is an hour after the same peer's first.
        circle.advance_and_poll(HOUR + 15 * MINUTE).await;
        answer_with_head(&mut circle, head.clone(), 2, move |now| {
            Timestamp(now.0.wrapping_add_signed(at))
        });
        assert_eq!(expect_installed(circle.update().await), 2, "{at} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_counts_for_its_own_key_and_its_own_log_only() {
    let base = TestWorld::with_second_settling(43).await;
    let head = base.head_of("log").unwrap();
    let invalid: Expected = |s| matches!(s, PeerFailure::Invalid(_));
    for by in [0, 1, 3, 4] {
        check_refused(
            "another's key",
            &base,
            |c| answer_with_head(c, head.clone(), by, |now| now),
            invalid,
        )
        .await;
    }
    // A head of another log under the log's key; the log's origin under another key.
    let other = Log { origin: "log.example/other".parse().unwrap(), ..base.keys.log.clone() };
    let text = head.note().replace("log.example/releases", "log.example/other");
    let text = text.rsplit_once("\n\n").unwrap().0.to_owned() + "\n";
    let mut note = unanimity_protocol::Note::unsigned(&text).unwrap();
    note.sign(&base.keys.log_key);
    let renamed =
        unanimity_protocol::TreeHead::verify(note.to_string().as_bytes(), &other).unwrap();
    check_refused(
        "another log",
        &base,
        |c| answer_with_head(c, renamed.clone(), 2, |now| now),
        invalid,
    )
    .await;
    let secret = NoteSigningKey::from_seed("log.example".parse().unwrap(), &[9; 32]);
    let log = Log { key: secret.public(), ..base.keys.log.clone() };
    let mut note = unanimity_protocol::Note::unsigned(&text.replace("other", "releases")).unwrap();
    note.sign(&secret);
    let forged = unanimity_protocol::TreeHead::verify(note.to_string().as_bytes(), &log).unwrap();
    check_refused(
        "another key",
        &base,
        |c| answer_with_head(c, forged.clone(), 2, |now| now),
        invalid,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_shows_less_than_before_has_regressed() {
    let base = TestWorld::with_second_settling(44).await;
    let log = base.directory.join("log");
    let bytes = std::fs::read(log.join("tile/0/000.p/2")).unwrap();
    let first = base.keys.sign_head(1, Hash(bytes[..32].try_into().unwrap()));
    let expected: Expected = |s| matches!(s, PeerFailure::Regressed { size: 1, before: 2 });
    check_refused(
        "shows 1 after 2",
        &base,
        |c| answer_with_head(c, first.clone(), 2, |now| now),
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn one_dead_peer_or_all_of_them_cost_one_roll_and_the_others_count() {
    let mut circle = TestWorld::with_second_settling(45).await;
    for dead in 0..5 {
        circle.advance_and_poll(MINUTE).await;
        circle.replace_with_bytes(dead, vec![], Duration::ZERO);
        let begun = Instant::now();
        assert_eq!(expect_unconfirmed(circle.update().await).len(), dead + 1);
        assert!(begun.elapsed() <= circle.config.cycle.round_timeout, "{:?}", begun.elapsed());
    }
    // Deadlines that do not fit into the roll are cut: 45, 45 and what is left.
    circle.config.cycle.ask_timeout = 45 * SECOND;
    circle.config.cycle.round_timeout = 2 * MINUTE;
    let begun = Instant::now();
    assert_eq!(expect_unconfirmed(circle.update().await).len(), 5);
    assert_eq!(begun.elapsed(), 2 * MINUTE);
}

/// In place of peer 2: for each connection, in turn, what `does` says of its number. The times
/// at which it was connected to.
fn record_attempts(
    circle: &mut TestWorld,
    does: impl Fn(usize) -> ConnectionBehavior + Send + 'static,
) -> Arc<Mutex<Vec<Instant>>> {
    let (node, tries) = (circle.peer(2).clone(), Arc::new(Mutex::new(Vec::new())));
    let times = tries.clone();
    circle.replace_peer(2, move |mut listener| async move {
        let mut held = Vec::new();
        while let Ok(mut stream) = listener.accept().await {
            let number = times.lock().unwrap().len();
            times.lock().unwrap().push(Instant::now());
            match does(number) {
                ConnectionBehavior::HangUp => {}
                ConnectionBehavior::Stall => held.push(stream),
                ConnectionBehavior::Answer => node.serve_connection(stream).await.unwrap(),
                ConnectionBehavior::Send(bytes) => stream.write_all(&bytes).await.unwrap(),
            }
        }
    });
    tries
}

enum ConnectionBehavior {
    HangUp,
    Stall,
    Answer,
    Send(Vec<u8>),
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_fails_twice_and_then_answers_is_confirmed() {
    let base = TestWorld::with_second_settling(55).await;
    for first in [|| ConnectionBehavior::HangUp, || ConnectionBehavior::Stall] {
        let mut circle = base.copy();
        circle.advance_and_poll(HOUR).await;
        let tries = record_attempts(&mut circle, move |number| match number {
            0 => first(),
            1 => ConnectionBehavior::HangUp,
            _ => ConnectionBehavior::Answer,
        });
        assert_eq!(expect_installed(circle.update().await), 2);
        assert_eq!(tries.lock().unwrap().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_tried_four_times_each_after_twice_the_wait_and_some_more() {
    let mut circle = TestWorld::with_second_settling(56).await;
    let mut first_waits = Vec::new();
    for _ in 0..20 {
        let tries = record_attempts(&mut circle, |_| ConnectionBehavior::HangUp);
        expect_unconfirmed(circle.update().await);
        let tries = tries.lock().unwrap();
        assert_eq!(tries.len(), 4);
        let waits: Vec<Duration> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (wait, least) in waits.iter().zip([SECOND, 2 * SECOND, 4 * SECOND]) {
            // Timers have milliseconds.
            let most = least + least / 2 + Duration::from_millis(1);
            assert!((least..=most).contains(wait), "{waits:?}");
        }
        first_waits.push(waits[0]);
    }
    let (short, long) = (first_waits.iter().min().unwrap(), first_waits.iter().max().unwrap());
    assert!(*long - *short > SECOND / 5, "{first_waits:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_good_is_not_asked_for_again() {
    let mut circle = TestWorld::with_second_settling(57).await;
    let answers = [
        vec![0; ANSWER_BYTES],
        Answer::NoTile.encode(),
        Answer::OtherLog.encode(),
        Answer::NoFreshHead(5).encode(),
        Answer::CosignedHead("hello".into()).encode(),
        Answer::Evidence("hello".into()).encode(),
    ];
    for answer in answers {
        let begun = Instant::now();
        let tries = record_attempts(&mut circle, move |_| ConnectionBehavior::Send(answer.clone()));
        let (who, ..) = expect_one_unconfirmed(circle.check().await);
        assert_eq!((who.as_str(), tries.lock().unwrap().len()), ("carol", 1));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn running_out_of_time_does_not_hide_why_a_try_broke() {
    let mut circle = TestWorld::with_second_settling(58).await;
    let one_that =
        |number| if number == 1 { ConnectionBehavior::HangUp } else { ConnectionBehavior::Stall };
    let tries = record_attempts(&mut circle, one_that);
    let (_, _, silence) = expect_one_unconfirmed(circle.update().await);
    assert!(matches!(silence, Some(PeerFailure::Disconnected(_))), "{silence:?}");
    assert_eq!(tries.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_reaches_nobody_is_not_waited_for() {
    let mut circle = TestWorld::with_second_settling(59).await;
    let begun = Instant::now();
    let (config, clock, disk) = (&circle.config, &circle.clock, circle.disk.clone());
    let mut client = Client::open(config, &circle.mirrors, &NoTransport, clock, disk).unwrap();
    assert_eq!(expect_unconfirmed(client.check(&mut rand::rng()).await).len(), 5);
    drop(client);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // One peer alone may come back.
    circle.stop(2);
    tokio::task::yield_now().await;
    expect_one_unconfirmed(circle.check().await);
    assert!(begun.elapsed() > 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_head_of_the_log_without_tiles_is_unjoined_and_concerns_its_peer_only() {
    let base = TestWorld::with_second_settling(46).await;
    for size in [3, 1000, 1 << 40, (1 << 63) - 1] {
        let mut circle = base.copy();
        circle.advance_and_poll(HOUR).await;
        let loose = circle.keys.sign_head(size, Hash([7; 32]));
        answer_with_head(&mut circle, loose.clone(), 2, |now| now);
        let (report, ended) = circle.update().await;
        assert!(report.remarks.iter().any(|remark| remark.contains(&loose.to_string())));
        let confirmed = report.peers.iter().filter(|(_, answer)| answer.is_ok()).count();
        assert_eq!(confirmed, 5);
        let (who, standing, _) = expect_one_unconfirmed((report, ended));
        assert_eq!((who.as_str(), standing), ("carol", Confirmation::Unproven));
        assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        // Its checkpoint is kept.
        let carol = circle.keys.peer_keys[2].public().raw();
        assert_eq!(*circle.load_client_state().largest_heads[&carol].head(), loose);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_installs_when_settle_is_over_and_not_a_second_before() {
    let mut circle = TestWorld::with_second_settling(47).await;
    let until = Timestamp(circle.now().0 + 3600);
    circle.advance_and_poll(HOUR - SECOND).await;
    let Refusal::Settling { until: told, .. } = expect_refusal(circle.update().await) else {
        panic!("not settling")
    };
    assert_eq!(told, until);
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    circle.advance_and_poll(SECOND).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn settling_begins_when_the_last_peer_has_seen_the_release() {
    let mut circle = TestWorld::with_first_installed(48).await;
    circle.publish(&release_spec(2)).unwrap();
    for peer in 0..4 {
        circle.poll(peer).await.unwrap();
    }
    for _ in 0..3 {
        let (who, standing, _) = expect_one_unconfirmed(circle.update().await);
        assert_eq!((who.as_str(), standing), ("elif", Confirmation::Behind));
        circle.advance(10 * MINUTE);
    }
    circle.advance_and_poll(Duration::ZERO).await;
    let Refusal::Settling { until, .. } = expect_refusal(circle.update().await) else { panic!() };
    assert_eq!(until, Timestamp(circle.now().0 + 3600));
    circle.advance_and_poll(HOUR - SECOND).await;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_new_peer_starts_settling_again_and_a_removed_one_does_not() {
    let mut circle = TestWorld::with_first_installed(49).await;
    let all = circle.config.peers.clone();
    let four = |all: &PeerSet| PeerSet::new(all.iter().take(4).cloned().collect(), 3).unwrap();
    // Settled with four; then a fifth is added.
    circle.config.peers = four(&all);
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    let mut added = circle.copy();
    added.config.peers = all;
    added.poll_all().await.unwrap();
    let Refusal::Settling { until, .. } = expect_refusal(added.update().await) else { panic!() };
    assert_eq!(until, Timestamp(added.now().0 + 3600));
    assert_eq!(expect_installed(circle.update().await), 2);
    // All five confirmed; then one is removed, and its word is not needed.
    let mut circle = TestWorld::with_second_settling(50).await;
    circle.advance_and_poll(HOUR).await;
    circle.config.peers = four(&circle.config.peers);
    circle.stop(4);
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn settle_of_zero_needs_one_roll_of_everybody() {
    let mut circle = TestWorld::with_first_installed(51).await;
    circle.config.cycle.limits.settle = Duration::ZERO;
    circle.publish(&release_spec(2)).unwrap();
    assert_eq!(expect_unconfirmed(circle.update().await).len(), 5);
    circle.poll_all().await.unwrap();
    circle.stop(3);
    assert_eq!(expect_unconfirmed(circle.update().await).len(), 1);
    circle.start(3);
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_named_even_if_nothing_is_new() {
    let mut circle = TestWorld::with_first_installed(52).await;
    expect_up_to_date(circle.update().await);
    circle.stop(4);
    let (who, standing, _) = expect_one_unconfirmed(circle.update().await);
    assert_eq!((who.as_str(), standing), ("elif", Confirmation::NoValidAnswer));
    circle.start(4);
    expect_up_to_date(circle.update().await);
    // A later silence counts from its own beginning.
    circle.advance_and_poll(HOUR).await;
    circle.stop(4);
    assert_eq!(expect_unconfirmed(circle.update().await)[0].since, Some(circle.now()));
}

#[tokio::test(start_paused = true)]
async fn a_view_that_ages_while_others_are_waited_for_is_judged_when_the_roll_closes() {
    let mut circle = TestWorld::with_second_settling(53).await;
    circle.advance_and_poll(HOUR).await;
    let head = circle.head_of("log").unwrap();
    answer_with_head(&mut circle, head, 2, |now| Timestamp(now.0 - 900));
    // Peer 3 takes its time: the clock moves before it answers.
    let (clock, node) = (circle.clock.clone(), circle.peer(3).clone());
    circle.replace_peer(3, move |mut listener| async move {
        while let Ok(mut stream) = listener.accept().await {
            let frame = unanimity_net::message::receive(&mut stream).await.unwrap().unwrap();
            tokio::time::sleep(SECOND / 2).await;
            clock.advance(SECOND);
            let answer = node.answer(Question::decode(&frame).unwrap()).unwrap();
            unanimity_net::message::send(&mut stream, &answer.encode()).await.unwrap();
        }
    });
    let (who, _, silence) = expect_one_unconfirmed(circle.update().await);
    assert_eq!(who, "carol");
    assert!(matches!(silence, Some(PeerFailure::TooOld(_))), "{silence:?}");
}

#[tokio::test(start_paused = true)]
async fn an_invalid_view_says_what_is_wrong_with_it() {
    let mut circle = TestWorld::with_second_settling(54).await;
    let head = circle.head_of("log").unwrap();
    answer_with_head(&mut circle, head, 1, |now| now);
    let (_, _, silence) = expect_one_unconfirmed(circle.update().await);
    assert!(matches!(silence, Some(PeerFailure::Invalid(CheckpointError::Note(_)))), "{silence:?}");
}
