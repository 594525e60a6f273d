//! Rounds: which answers confirm a release, and for how long they must do so. Silence is never
//! consent.

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

/// Peer 2 misbehaves, and release 2 is otherwise ready to install. Every update is incomplete and
/// names only that peer, the reason, and since when the peer has been silent.
async fn check_refused(
    title: &str,
    base: &TestWorld,
    misbehave: impl Fn(&mut TestWorld),
    expected: Expected,
) {
    let mut world = base.copy();
    world.advance_and_poll(20 * MINUTE).await;
    misbehave(&mut world);
    let since = world.now();
    for wait in [Duration::ZERO, HOUR, 30 * 24 * HOUR] {
        world.advance_and_poll(wait).await;
        misbehave(&mut world);
        tokio::task::yield_now().await;
        let unconfirmed = expect_unconfirmed(world.update().await);
        let [one] = &unconfirmed[..] else { panic!("{title}: {unconfirmed:?}") };
        assert_eq!(
            (one.peer.as_str(), one.confirmation),
            ("carol", Confirmation::NoValidAnswer),
            "{title}"
        );
        assert!(one.failure.as_ref().is_some_and(expected), "{title}: {one}");
        assert_eq!(one.since, Some(since), "{title}");
        assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT), "{title}");
    }
    // Once the peer answers again, the release installs.
    world.start(2);
    assert_eq!(expect_installed(world.update().await), 2, "{title}");
}

#[tokio::test(start_paused = true)]
async fn update_waits_for_a_peer_that_does_not_answer() {
    let base = TestWorld::with_second_settling(40).await;
    let base = &base;
    check_refused("stopped", base, |c| c.stop(2), |f| matches!(f, PeerFailure::Unreachable(_)))
        .await;
    check_refused(
        "mute",
        base,
        |c| c.replace_with_bytes(2, vec![], Duration::ZERO),
        |f| *f == PeerFailure::TimedOut,
    )
    .await;
    let slow = Answer::NoTile.encode();
    let slowly = move |c: &mut TestWorld| c.replace_with_bytes(2, slow.clone(), SECOND);
    check_refused("one byte a second", base, slowly, |f| *f == PeerFailure::TimedOut).await;
    let hang_up = |c: &mut TestWorld| {
        c.replace_peer(2, |mut listener| async move { while listener.accept().await.is_ok() {} });
    };
    check_refused("hangs up", base, hang_up, |f| matches!(f, PeerFailure::Disconnected(_))).await;
}

#[tokio::test(start_paused = true)]
async fn update_waits_for_a_peer_with_an_invalid_answer() {
    let base = TestWorld::with_second_settling(41).await;
    let base = &base;
    let malformed: Expected = |f| matches!(f, PeerFailure::Malformed(_));
    let says = |bytes: Vec<u8>| {
        move |world: &mut TestWorld| world.replace_with_bytes(2, bytes.clone(), Duration::ZERO)
    };
    let huge =
        |f: &PeerFailure| matches!(f, PeerFailure::Malformed(why) if why.contains("4294967295"));
    check_refused("4 GiB announced", base, says(vec![0xff; 4]), huge).await;
    check_refused("zeros", base, says(vec![0; ANSWER_BYTES]), malformed).await;
    let mut trailing = Answer::OtherLog.encode();
    trailing[ANSWER_BYTES - 1] = 1;
    check_refused("padding", base, says(trailing), malformed).await;
    let answers = |answer: Answer| {
        move |world: &mut TestWorld| {
            let answer = answer.clone();
            world.replace_with_responder(2, move |_| answer.clone());
        }
    };
    check_refused("a tile", base, answers(Answer::Tile(vec![0; 64])), malformed).await;
    check_refused("no tile", base, answers(Answer::NoTile), malformed).await;
    let no_fresh_head = |f: &PeerFailure| *f == PeerFailure::NoFreshHead(Timestamp(5));
    check_refused("no fresh head", base, answers(Answer::NoFreshHead(5)), no_fresh_head).await;
    let other = |f: &PeerFailure| *f == PeerFailure::OtherLog;
    check_refused("other log", base, answers(Answer::OtherLog), other).await;
    let invalid: Expected = |f| matches!(f, PeerFailure::Invalid(_));
    check_refused("no note", base, answers(Answer::CosignedHead("hello".into())), invalid).await;
    let uncosigned = base.head_of("log").unwrap().note().to_owned();
    check_refused("not cosigned", base, answers(Answer::CosignedHead(uncosigned)), invalid).await;
    let useless: Expected = |f| matches!(f, PeerFailure::BadEvidence(_));
    check_refused("no evidence", base, answers(Answer::Evidence("hello".into())), useless).await;
    let head = base.head_of("log").unwrap();
    let length = head.note().len();
    let both = format!("checkpoint {length}\n{}", head.note());
    let same = format!("unanimity/evidence/v1\npath 0\n{both}{both}");
    check_refused("evidence of one head", base, answers(Answer::Evidence(same)), useless).await;
}

/// Replaces peer 2. It answers with `head`, cosigned by peer `by` at the time `at(now)`.
fn answer_with_head(
    world: &mut TestWorld,
    head: unanimity_protocol::TreeHead,
    by: usize,
    at: impl Fn(Timestamp) -> Timestamp + Send + 'static,
) {
    let (clock, secret) = (world.clock.clone(), world.keys.peer_keys[by].clone());
    world.replace_with_responder(2, move |_| {
        let now = unanimity_storage::Clock::now(&clock);
        let cosigned = unanimity_protocol::CosignedHead::sign(&head, &secret, at(now));
        Answer::CosignedHead(cosigned.note().to_owned())
    });
}

#[tokio::test(start_paused = true)]
async fn cosignature_counts_from_15_minutes_old_to_one_minute_ahead() {
    let base = TestWorld::with_second_settling(42).await;
    let head = base.head_of("log").unwrap();
    let ahead = |by: u64| move |now: Timestamp| Timestamp(now.0 + by);
    let old = |by: u64| move |now: Timestamp| Timestamp(now.0 - by);
    let is_ahead: Expected = |f| matches!(f, PeerFailure::InFuture(_));
    let is_old: Expected = |f| matches!(f, PeerFailure::TooOld(_));
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
        let mut world = base.copy();
        // Even the oldest cosignature is now an hour after the same peer's first one.
        world.advance_and_poll(HOUR + 15 * MINUTE).await;
        answer_with_head(&mut world, head.clone(), 2, move |now| {
            Timestamp(now.0.wrapping_add_signed(at))
        });
        assert_eq!(expect_installed(world.update().await), 2, "{at} s");
    }
}

#[tokio::test(start_paused = true)]
async fn cosigned_head_counts_only_for_its_own_key_and_log() {
    let base = TestWorld::with_second_settling(43).await;
    let head = base.head_of("log").unwrap();
    let invalid: Expected = |f| matches!(f, PeerFailure::Invalid(_));
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
async fn peer_with_a_smaller_head_than_before_has_regressed() {
    let base = TestWorld::with_second_settling(44).await;
    let log = base.directory.join("log");
    let bytes = std::fs::read(log.join("tile/0/000.p/2")).unwrap();
    let first = base.keys.sign_head(1, Hash(bytes[..32].try_into().unwrap()));
    let expected: Expected = |f| matches!(f, PeerFailure::Regressed { size: 1, before: 2 });
    check_refused(
        "shows 1 after 2",
        &base,
        |c| answer_with_head(c, first.clone(), 2, |now| now),
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn dead_peers_cost_at_most_one_round_timeout() {
    let mut world = TestWorld::with_second_settling(45).await;
    for dead in 0..5 {
        world.advance_and_poll(MINUTE).await;
        world.replace_with_bytes(dead, vec![], Duration::ZERO);
        let began = Instant::now();
        assert_eq!(expect_unconfirmed(world.update().await).len(), dead + 1);
        assert!(began.elapsed() <= world.config.cycle.round_timeout, "{:?}", began.elapsed());
    }
    // The last deadline is cut to fit into the round: 45 s, 45 s and the rest.
    world.config.cycle.ask_timeout = 45 * SECOND;
    world.config.cycle.round_timeout = 2 * MINUTE;
    let began = Instant::now();
    assert_eq!(expect_unconfirmed(world.update().await).len(), 5);
    assert_eq!(began.elapsed(), 2 * MINUTE);
}

/// Replaces peer 2. `behavior` decides by a connection's number what the peer does with it. Returns
/// the times of all connections.
fn record_attempts(
    world: &mut TestWorld,
    behavior: impl Fn(usize) -> ConnectionBehavior + Send + 'static,
) -> Arc<Mutex<Vec<Instant>>> {
    let (node, tries) = (world.peer(2).clone(), Arc::new(Mutex::new(Vec::new())));
    let times = tries.clone();
    world.replace_peer(2, move |mut listener| async move {
        let mut held = Vec::new();
        while let Ok(mut stream) = listener.accept().await {
            let number = times.lock().unwrap().len();
            times.lock().unwrap().push(Instant::now());
            match behavior(number) {
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
async fn peer_that_answers_the_third_try_confirms() {
    let base = TestWorld::with_second_settling(55).await;
    for first in [|| ConnectionBehavior::HangUp, || ConnectionBehavior::Stall] {
        let mut world = base.copy();
        world.advance_and_poll(HOUR).await;
        let tries = record_attempts(&mut world, move |number| match number {
            0 => first(),
            1 => ConnectionBehavior::HangUp,
            _ => ConnectionBehavior::Answer,
        });
        assert_eq!(expect_installed(world.update().await), 2);
        assert_eq!(tries.lock().unwrap().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn client_tries_a_peer_four_times_with_doubling_random_waits() {
    let mut world = TestWorld::with_second_settling(56).await;
    let mut first_waits = Vec::new();
    for _ in 0..20 {
        let tries = record_attempts(&mut world, |_| ConnectionBehavior::HangUp);
        expect_unconfirmed(world.update().await);
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
async fn client_does_not_retry_after_an_invalid_answer() {
    let mut world = TestWorld::with_second_settling(57).await;
    let answers = [
        vec![0; ANSWER_BYTES],
        Answer::NoTile.encode(),
        Answer::OtherLog.encode(),
        Answer::NoFreshHead(5).encode(),
        Answer::CosignedHead("hello".into()).encode(),
        Answer::Evidence("hello".into()).encode(),
    ];
    for answer in answers {
        let began = Instant::now();
        let tries = record_attempts(&mut world, move |_| ConnectionBehavior::Send(answer.clone()));
        let (peer, ..) = expect_one_unconfirmed(world.check().await);
        assert_eq!((peer.as_str(), tries.lock().unwrap().len()), ("carol", 1));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_does_not_hide_an_earlier_failure() {
    let mut world = TestWorld::with_second_settling(58).await;
    let behavior =
        |number| if number == 1 { ConnectionBehavior::HangUp } else { ConnectionBehavior::Stall };
    let tries = record_attempts(&mut world, behavior);
    let (_, _, failure) = expect_one_unconfirmed(world.update().await);
    assert!(matches!(failure, Some(PeerFailure::Disconnected(_))), "{failure:?}");
    assert_eq!(tries.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn client_does_not_retry_on_an_unsupported_transport() {
    let mut world = TestWorld::with_second_settling(59).await;
    let began = Instant::now();
    let (config, clock, disk) = (&world.config, &world.clock, world.disk.clone());
    let mut client = Client::open(config, &world.mirrors, &NoTransport, clock, disk).unwrap();
    assert_eq!(expect_unconfirmed(client.check(&mut rand::rng()).await).len(), 5);
    drop(client);
    assert_eq!(began.elapsed(), Duration::ZERO);
    // A stopped peer is tried again, because it may come back.
    world.stop(2);
    tokio::task::yield_now().await;
    expect_one_unconfirmed(world.check().await);
    assert!(began.elapsed() > 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn head_without_tiles_is_unproven_for_its_peer_only() {
    let base = TestWorld::with_second_settling(46).await;
    for size in [3, 1000, 1 << 40, (1 << 63) - 1] {
        let mut world = base.copy();
        world.advance_and_poll(HOUR).await;
        let loose = world.keys.sign_head(size, Hash([7; 32]));
        answer_with_head(&mut world, loose.clone(), 2, |now| now);
        let (report, result) = world.update().await;
        assert!(report.remarks.iter().any(|remark| remark.contains(&loose.to_string())));
        let confirmed = report.peers.iter().filter(|(_, answer)| answer.is_ok()).count();
        assert_eq!(confirmed, 5);
        let (peer, confirmation, _) = expect_one_unconfirmed((report, result));
        assert_eq!((peer.as_str(), confirmation), ("carol", Confirmation::Unproven));
        assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        // The client stores the peer's head.
        let carol = world.keys.peer_keys[2].public().raw();
        assert_eq!(*world.load_client_state().largest_heads[&carol].head(), loose);
    }
}

#[tokio::test(start_paused = true)]
async fn release_installs_when_settle_ends_and_not_a_second_earlier() {
    let mut world = TestWorld::with_second_settling(47).await;
    let until = Timestamp(world.now().0 + 3600);
    world.advance_and_poll(HOUR - SECOND).await;
    let Refusal::Settling { until: reported, .. } = expect_refusal(world.update().await) else {
        panic!("not settling")
    };
    assert_eq!(reported, until);
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    world.advance_and_poll(SECOND).await;
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn settling_begins_when_the_last_peer_has_seen_the_release() {
    let mut world = TestWorld::with_first_installed(48).await;
    world.publish(&release_spec(2)).unwrap();
    for peer in 0..4 {
        world.poll(peer).await.unwrap();
    }
    for _ in 0..3 {
        let (peer, confirmation, _) = expect_one_unconfirmed(world.update().await);
        assert_eq!((peer.as_str(), confirmation), ("elif", Confirmation::Behind));
        world.advance(10 * MINUTE);
    }
    world.advance_and_poll(Duration::ZERO).await;
    let Refusal::Settling { until, .. } = expect_refusal(world.update().await) else { panic!() };
    assert_eq!(until, Timestamp(world.now().0 + 3600));
    world.advance_and_poll(HOUR - SECOND).await;
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
}

#[tokio::test(start_paused = true)]
async fn added_peer_restarts_settling_and_removed_peer_does_not() {
    let mut world = TestWorld::with_first_installed(49).await;
    let all = world.config.peers.clone();
    let four = |all: &PeerSet| PeerSet::new(all.iter().take(4).cloned().collect(), 3).unwrap();
    // The release has settled with four peers. Then a fifth peer is added.
    world.config.peers = four(&all);
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    let mut added = world.copy();
    added.config.peers = all;
    added.poll_all().await.unwrap();
    let Refusal::Settling { until, .. } = expect_refusal(added.update().await) else { panic!() };
    assert_eq!(until, Timestamp(added.now().0 + 3600));
    assert_eq!(expect_installed(world.update().await), 2);
    // All five peers have confirmed. Then one is removed, and its answer is not needed.
    let mut world = TestWorld::with_second_settling(50).await;
    world.advance_and_poll(HOUR).await;
    world.config.peers = four(&world.config.peers);
    world.stop(4);
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn settle_of_zero_needs_one_complete_round() {
    let mut world = TestWorld::with_first_installed(51).await;
    world.config.cycle.limits.settle = Duration::ZERO;
    world.publish(&release_spec(2)).unwrap();
    assert_eq!(expect_unconfirmed(world.update().await).len(), 5);
    world.poll_all().await.unwrap();
    world.stop(3);
    assert_eq!(expect_unconfirmed(world.update().await).len(), 1);
    world.start(3);
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn cycle_names_a_silent_peer_without_a_new_release() {
    let mut world = TestWorld::with_first_installed(52).await;
    expect_up_to_date(world.update().await);
    world.stop(4);
    let (peer, confirmation, _) = expect_one_unconfirmed(world.update().await);
    assert_eq!((peer.as_str(), confirmation), ("elif", Confirmation::NoValidAnswer));
    world.start(4);
    expect_up_to_date(world.update().await);
    // A later silence has its own start.
    world.advance_and_poll(HOUR).await;
    world.stop(4);
    assert_eq!(expect_unconfirmed(world.update().await)[0].since, Some(world.now()));
}

#[tokio::test(start_paused = true)]
async fn cosignature_that_ages_before_the_round_closes_is_too_old() {
    let mut world = TestWorld::with_second_settling(53).await;
    world.advance_and_poll(HOUR).await;
    let head = world.head_of("log").unwrap();
    answer_with_head(&mut world, head, 2, |now| Timestamp(now.0 - 900));
    // Peer 3 is slow: the clock moves before it answers.
    let (clock, node) = (world.clock.clone(), world.peer(3).clone());
    world.replace_peer(3, move |mut listener| async move {
        while let Ok(mut stream) = listener.accept().await {
            let frame = unanimity_net::message::receive(&mut stream).await.unwrap().unwrap();
            tokio::time::sleep(SECOND / 2).await;
            clock.advance(SECOND);
            let answer = node.answer(Question::decode(&frame).unwrap()).unwrap();
            unanimity_net::message::send(&mut stream, &answer.encode()).await.unwrap();
        }
    });
    let (peer, _, failure) = expect_one_unconfirmed(world.update().await);
    assert_eq!(peer, "carol");
    assert!(matches!(failure, Some(PeerFailure::TooOld(_))), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn invalid_cosigned_head_keeps_its_error() {
    let mut world = TestWorld::with_second_settling(54).await;
    let head = world.head_of("log").unwrap();
    answer_with_head(&mut world, head, 1, |now| now);
    let (_, _, failure) = expect_one_unconfirmed(world.update().await);
    assert!(matches!(failure, Some(PeerFailure::Invalid(CheckpointError::Note(_)))), "{failure:?}");
}
