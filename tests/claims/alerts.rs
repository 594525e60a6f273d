//! What is news about a node's condition: told once, when it changes, and not for nothing.

use std::time::Duration;

use Condition::{Available, Fork, Healthy, Incomplete, Refused, Stale};
use proptest::prelude::*;
use serde_json::json;
use unanimity::advice;
use unanimity_client::{ClientError, CycleError, CycleOutcome, MirrorProblem, status_of};
use unanimity_install::{ArtifactMismatch, InstallRefusal};
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::note::NoteError;
use unanimity_protocol::round::UnconfirmedPeer;
use unanimity_protocol::{
    BundleFault, Checkpoint, Hash, LogMismatch, Manifest, PeerFailure, Refusal, Timestamp, TreeHead,
};
use unanimity_report::{
    Announcement, CommandError, Condition, CycleStatus, Exit, MAX_UNDELIVERED, Transitions,
};
use unanimity_state::{LogForked, StoreError};
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit::sample_log::{origin, sample_log, signing_key};
use unanimity_testkit::test_world::{HOUR, NOW, SECOND, TestWorld, release_spec};

const LIMIT: Duration = Duration::from_secs(24 * 3600);

fn status(condition: Condition, about: &str) -> CycleStatus {
    let (about, message) = (about.to_owned(), about.to_owned());
    CycleStatus { condition, about, message, details: json!({}) }
}

/// What is told of these conditions, each met so many hours after the beginning; all of it at once.
fn announcements(course: &[(u64, Condition, &str)]) -> Vec<(Condition, String, u64)> {
    let mut changes = Transitions::default();
    for (hours, condition, about) in course {
        changes.observe(&status(*condition, about), LIMIT, NOW.after(hours_of(*hours)));
    }
    let hours = |since: Timestamp| since.since(NOW).as_secs() / 3600;
    let row = |one: Announcement| (one.condition, one.message, hours(one.since));
    take_announcements(&mut changes).into_iter().map(row).collect()
}

fn hours_of(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn take_announcements(changes: &mut Transitions) -> Vec<Announcement> {
    let all = changes.undelivered();
    all.iter().for_each(|one| changes.mark_delivered(one));
    assert_eq!(changes.undelivered(), []);
    all
}

/// One course of events and what is told of it.
#[track_caller]
fn assert_announces(course: &[(u64, Condition, &str)], expected: &[(Condition, &str, u64)]) {
    let owned =
        |(condition, about, at): &(Condition, &str, u64)| (*condition, (*about).to_owned(), *at);
    let expected: Vec<_> = expected.iter().map(owned).collect();
    assert_eq!(announcements(course), expected, "{course:?}");
}

#[test]
fn a_healthy_node_says_nothing() {
    assert_announces(&[], &[]);
    assert_announces(&[(0, Healthy, ""), (1, Healthy, ""), (1000, Healthy, "")], &[]);
}

#[test]
fn incomplete_is_told_once_it_has_lasted_and_not_before() {
    let told_at_24 = [(Incomplete, "", 1)];
    assert_announces(&[(1, Incomplete, ""), (24, Incomplete, "")], &[]);
    assert_announces(
        &[(1, Incomplete, ""), (24, Incomplete, ""), (25, Incomplete, "")],
        &told_at_24,
    );
    assert_announces(
        &[(1, Incomplete, ""), (25, Incomplete, ""), (99, Incomplete, "")],
        &told_at_24,
    );
    // It ended before that: nothing was, and now nothing is said.
    assert_announces(&[(1, Incomplete, ""), (24, Incomplete, ""), (25, Healthy, "")], &[]);
    // A break begins the wait again.
    let broken =
        [(1, Incomplete, ""), (20, Healthy, ""), (21, Incomplete, ""), (44, Incomplete, "")];
    assert_announces(&broken, &[]);
    assert_announces(&[&broken[..], &[(45, Incomplete, "")]].concat(), &[(Incomplete, "", 21)]);
    // Nobody looked for days: what was the case at both ends counts as the case between.
    assert_announces(&[(0, Incomplete, ""), (90, Incomplete, "")], &[(Incomplete, "", 0)]);
    let over = [(0, Incomplete, ""), (24, Incomplete, ""), (30, Healthy, ""), (31, Healthy, "")];
    assert_announces(&over, &[(Incomplete, "", 0), (Healthy, "", 30)]);
}

#[test]
fn what_is_worse_is_told_at_once_and_once() {
    for condition in [Stale, Refused, Fork] {
        let course =
            [(0, Healthy, ""), (1, condition, "x"), (2, condition, "x"), (90, condition, "x")];
        assert_announces(&course, &[(condition, "x", 1)]);
        assert_announces(
            &[&course[..], &[(91, Healthy, ""), (92, condition, "x")]].concat(),
            &match condition {
                Fork => [(Fork, "x", 1), (Fork, "x", 92), (Healthy, "", 91)],
                _ => [(condition, "x", 1), (Healthy, "", 91), (condition, "x", 92)],
            },
        );
    }
    let each = [(0, Stale, ""), (1, Refused, "x"), (2, Fork, "x"), (3, Stale, "")];
    assert_announces(&each, &[(Fork, "x", 2), (Stale, "", 0), (Refused, "x", 1), (Stale, "", 3)]);
}

#[test]
fn another_reason_or_release_or_evidence_is_another_change() {
    for condition in [Refused, Fork] {
        let course = [(0, condition, "x"), (1, condition, "y"), (2, condition, "y")];
        assert_announces(&course, &[(condition, "x", 0), (condition, "y", 1)]);
    }
}

#[test]
fn a_fork_is_told_once_however_the_node_fares_between() {
    let flaps =
        [(0, Fork, "x"), (1, Incomplete, ""), (2, Fork, "x"), (3, Incomplete, ""), (4, Fork, "x")];
    assert_announces(&flaps, &[(Fork, "x", 0)]);
    // Long enough, the change is one.
    let long = [(0, Fork, "x"), (1, Incomplete, ""), (25, Incomplete, ""), (26, Fork, "x")];
    assert_announces(&long, &[(Fork, "x", 0), (Fork, "x", 26), (Incomplete, "", 1)]);
    // Nothing that comes after it hides one that is not told yet.
    let over = [(0, Fork, "x"), (1, Healthy, ""), (2, Stale, "")];
    assert_announces(&over, &[(Fork, "x", 0), (Healthy, "", 1), (Stale, "", 2)]);
}

#[test]
fn a_release_is_offered_once() {
    let course = [(0, Available, "2"), (1, Available, "2"), (2, Healthy, ""), (3, Available, "2")];
    assert_announces(&course, &[(Available, "2", 0)]);
    assert_announces(
        &[&course[..], &[(4, Available, "3")]].concat(),
        &[(Available, "2", 0), (Available, "3", 4)],
    );
    // Between, something was wrong: that it is over is said, the release not again.
    let wrong = [
        (0, Available, "2"),
        (1, Stale, ""),
        (2, Available, "2"),
        (3, Stale, ""),
        (4, Available, "3"),
    ];
    assert_announces(
        &wrong,
        &[
            (Available, "2", 0),
            (Stale, "", 1),
            (Healthy, "2", 2),
            (Stale, "", 3),
            (Available, "3", 4),
        ],
    );
}

#[test]
fn a_clock_that_is_put_back_costs_one_more_wait_and_no_more() {
    let mut changes = Transitions::default();
    let incomplete = status(Incomplete, "");
    for future in [Timestamp(u64::MAX), Timestamp::MAX] {
        assert_eq!(changes.observe(&incomplete, LIMIT, future), None);
    }
    for hours in 0..24 {
        assert_eq!(changes.observe(&incomplete, LIMIT, NOW.after(hours_of(hours))), None);
    }
    let told = changes.observe(&incomplete, LIMIT, NOW.after(LIMIT)).unwrap();
    assert_eq!((told.condition, told.since), (Incomplete, NOW));
    assert_eq!(told.details["unwell_since"], NOW.0);
    assert_eq!(changes.observe(&incomplete, LIMIT, Timestamp(0)), None);
    assert_eq!(changes.condition(), Some((Incomplete, Timestamp(0))));
}

#[test]
fn how_long_the_node_has_not_been_well_is_part_of_what_is_told() {
    let mut changes = Transitions::default();
    let at = |hours| NOW.after(hours_of(hours));
    changes.observe(&status(Healthy, ""), LIMIT, at(0));
    changes.observe(&status(Incomplete, ""), LIMIT, at(1));
    let stale = changes.observe(&status(Stale, ""), LIMIT, at(3)).unwrap();
    assert_eq!((stale.since, &stale.details["unwell_since"]), (at(3), &json!(at(1))));
    let well = changes.observe(&status(Healthy, ""), LIMIT, at(4)).unwrap();
    assert_eq!(well.details.get("unwell_since"), None);
}

#[test]
fn of_all_that_waits_for_a_broken_command_the_forks_are_kept() {
    let mut changes = Transitions::default();
    changes.observe(&status(Fork, "x"), LIMIT, NOW);
    for n in 0..1000 {
        changes.observe(&status(Refused, &n.to_string()), LIMIT, NOW);
    }
    let waited = take_announcements(&mut changes);
    assert_eq!(waited.len(), MAX_UNDELIVERED);
    assert_eq!((waited[0].condition, &*waited[0].message), (Fork, "x"));
    assert_eq!(waited[1..].first().unwrap().message, "985");
    assert_eq!(waited.last().unwrap().message, "999");
    for n in 0..1000 {
        changes.observe(&status(Fork, &n.to_string()), LIMIT, NOW);
    }
    assert_eq!(take_announcements(&mut changes).len(), MAX_UNDELIVERED);
}

#[test]
fn who_forgot_what_was_said_says_how_it_is() {
    for (condition, about) in [
        (Healthy, ""),
        (Available, "2"),
        (Incomplete, ""),
        (Stale, ""),
        (Refused, "x"),
        (Fork, "x"),
    ] {
        let mut changes = Transitions::with_unknown_history();
        let first = changes.observe(&status(condition, about), LIMIT, NOW).unwrap();
        assert_eq!((first.condition, &*first.message), (condition, about));
        assert_eq!(changes.observe(&status(condition, about), LIMIT, NOW.after(LIMIT)), None);
    }
}

#[test]
fn a_damaged_memory_is_no_memory() {
    let mut changes = Transitions::default();
    changes.observe(&status(Available, "2"), LIMIT, NOW);
    changes.observe(&status(Fork, "x"), LIMIT, NOW);
    let text = changes.text().into_bytes();
    assert_eq!(Transitions::parse(&text), Some(changes.clone()));
    for at in 0..text.len() {
        assert_eq!(Transitions::parse(&text[..at]), None, "cut at {at}");
        for bit in 0..8 {
            let mut damaged = text.clone();
            damaged[at] ^= 1 << bit;
            // White space says nothing.
            let read = Transitions::parse(&damaged);
            assert!(read.is_none() || read.as_ref() == Some(&changes), "bit {bit} of {at}");
        }
    }
    let newer = changes.text().replace("\"version\": 1", "\"version\": 2");
    assert_eq!(Transitions::parse(newer.as_bytes()), None);
}

/// What has to be told of a course of events, looked at anew from its beginning for each of them.
fn expected_announcements(
    course: &[(Timestamp, Condition, String)],
) -> Vec<(Condition, String, Timestamp)> {
    let mut told: Vec<(Condition, String, Timestamp)> = Vec::new();
    for (i, (now, condition, about)) in course.iter().enumerate() {
        let same = |(_, c, a): &&(Timestamp, Condition, String)| c == condition && a == about;
        let run: Vec<_> = course[..=i].iter().rev().take_while(same).collect();
        let since = run.iter().map(|(at, ..)| *at).min().unwrap();
        let unwell = course[..=i].iter().rev().take_while(|(_, c, _)| !c.is_good());
        let unwell = unwell.map(|(at, ..)| *at).min().unwrap_or(*now);
        let last = told.last().map_or((Healthy, ""), |(c, a, _)| (*c, a.as_str()));
        let mut offers = told.iter().filter(|(c, ..)| *c == Available).map(|(_, a, _)| a);
        let news = match condition {
            Healthy if last.0.is_good() => None,
            Available if offers.next_back() != Some(about) => Some(Available),
            Available if last.0.is_good() => None,
            Healthy | Available => Some(Healthy),
            Incomplete if now.since(unwell) < LIMIT => None,
            bad => (last != (*bad, about)).then_some(*bad),
        };
        told.extend(news.map(|condition| (condition, about.clone(), since)));
    }
    told
}

fn any_condition() -> impl Strategy<Value = (Condition, String)> {
    let about = prop_oneof![Just("x".to_owned()), Just("y".to_owned())];
    prop_oneof![
        2 => Just((Healthy, String::new())),
        4 => Just((Incomplete, String::new())),
        1 => Just((Stale, String::new())),
        1 => about.clone().prop_map(|about| (Available, about)),
        1 => about.clone().prop_map(|about| (Refused, about)),
        1 => about.prop_map(|about| (Fork, about)),
    ]
}

proptest! {
    #[test]
    fn all_that_is_news_is_told_in_order_and_once_through_restarts_and_failing_commands(
        course in prop::collection::vec((any_condition(), -5i64..15, any::<bool>(), any::<bool>()), 1..60)
    ) {
        let (mut changes, mut told, mut met) = (Transitions::default(), Vec::new(), Vec::new());
        let mut times = Vec::new();
        let mut now = NOW;
        for ((condition, about), hours, command_works, restarts) in course {
            now = Timestamp(now.0.saturating_add_signed(hours * 3600));
            met.push((now, condition, about.clone()));
            changes.observe(&status(condition, &about), LIMIT, now);
            if restarts {
                changes = Transitions::parse(changes.text().as_bytes()).unwrap();
            }
            if command_works || met.len() % MAX_UNDELIVERED == 0 {
                told.extend(take_announcements(&mut changes));
                times.push(told.len());
            }
            if condition == Fork {
                let last = expected_announcements(&met).pop().unwrap();
                prop_assert_eq!((last.0, last.1), (Fork, about));
            }
        }
        told.extend(take_announcements(&mut changes));
        let told: Vec<_> = told.into_iter().map(|one| (one.condition, one.message, one.since)).collect();
        let mut expected = expected_announcements(&met);
        times.push(expected.len());
        // Of what waits for one time, the forks are told first.
        for (from, to) in std::iter::once(0).chain(times.clone()).zip(times) {
            expected[from..to].sort_by_key(|one| one.0 != Fork);
        }
        prop_assert_eq!(told, expected);
    }
}

fn unconfirmed_peer(silence: &str) -> UnconfirmedPeer {
    UnconfirmedPeer {
        peer: "carol".parse().unwrap(),
        confirmation: Confirmation::NoValidAnswer,
        size: None,
        failure: Some(PeerFailure::Unreachable(silence.to_owned())),
        since: Some(NOW),
    }
}

/// Every refusal and error there is, but a fork's first; with the condition and what it is about.
fn all_cycle_errors() -> Vec<(CycleError, Condition, &'static str)> {
    let text = String::new;
    let name = || "hello".parse().unwrap();
    let release = || "2-1.1.0".to_owned();
    let checkpoint = Checkpoint { origin: origin(), size: 0, root: Hash::empty_root() };
    let checkpoint = checkpoint.sign(&signing_key(1)).to_string();
    let trusted = TreeHead::verify(checkpoint.as_bytes(), &sample_log()).unwrap();
    let refusals: Vec<(Refusal, Condition, &str)> = vec![
        (Refusal::DuplicateSequence { sequence: 7, first: 1, second: 2 }, Refused, "conflict 7"),
        (Refusal::Threshold { signed: 1, threshold: 2 }, Refused, "bad-signature "),
        (Refusal::BadSignature(NoteError::NotUtf8), Refused, "bad-signature "),
        (Refusal::Malformed(Manifest::parse("").unwrap_err()), Refused, "bad-input "),
        (Refusal::OtherLog(text()), Refused, "not-logged "),
        (
            Refusal::OtherProduct { product: name(), channel: name() },
            Refused,
            "unsuitable hello/hello",
        ),
        (Refusal::UnsupportedFormat { index: 3, header: text() }, Refused, "outdated 3"),
        (Refusal::NotLogged(LogMismatch::NotExtended), Refused, "not-logged "),
        (Refusal::SequenceRollback { offered: 3, floor: 4 }, Refused, "rollback 3"),
        (Refusal::Expired { release: release(), at: NOW }, Refused, "expired 2-1.1.0"),
        (Refusal::Incomplete(vec![unconfirmed_peer("")]), Incomplete, ""),
        (Refusal::Settling { release: release(), until: NOW }, Healthy, ""),
        (Refusal::RoundTooOld { at: NOW }, Incomplete, ""),
        (
            Refusal::NoArtifactForPlatform { release: release(), platform: name() },
            Refused,
            "unsuitable 2-1.1.0",
        ),
        (Refusal::Bundle(BundleFault::Unproven), Refused, "bad-proof "),
    ];
    let served = MirrorProblem::OtherEntries { served: text(), head: trusted.clone() };
    let others: Vec<(CycleError, Condition, &str)> = vec![
        (LogForked { id: "6c1f".into() }.into(), Fork, "6c1f"),
        (MirrorProblem::Rollback { mirror: text(), shown: 1, known: 2 }.into(), Stale, ""),
        (MirrorProblem::Stale { mirror: text(), shown: 1, known: 2 }.into(), Stale, ""),
        (served.into(), Refused, "not-logged "),
        (
            InstallRefusal::TooManyEntries { release: release() }.into(),
            Refused,
            "unsuitable 2-1.1.0",
        ),
        (
            InstallRefusal::Artifact(ArtifactMismatch::OtherRelease(release())).into(),
            Refused,
            "bad-artifact ",
        ),
        (
            InstallRefusal::Unhealthy { release: release(), why: text(), until: None }.into(),
            Refused,
            "unhealthy 2-1.1.0",
        ),
        (InstallRefusal::OnTrial { release: release() }.into(), Refused, "unhealthy 2-1.1.0"),
    ];
    let errors = [
        ClientError::Store(StoreError::HeadMoved),
        ClientError::Mirrors(Vec::new()),
        ClientError::Clock { now: NOW, newest: NOW },
        ClientError::HeadNotLinked { trusted },
    ];
    let refused =
        refusals.into_iter().map(|(refusal, c, about)| (CycleError::Refused(refusal), c, about));
    let errors = errors.map(|error| (CycleError::Client(error), Incomplete, ""));
    refused.chain(others).chain(errors).collect()
}

#[test]
fn every_way_a_cycle_can_fail_is_a_condition_and_has_the_word_of_its_exit_code() {
    for (failure, condition, about) in all_cycle_errors() {
        let seen = status_of(Err(&failure));
        assert_eq!((seen.condition, &*seen.about), (condition, about), "{failure}");
        assert_eq!(seen.message, failure.to_string());
        assert_eq!(advice::cycle_status(Err(&failure)).message, advice::describe(&failure));
        let CommandError { exit, .. } = failure.into();
        assert_eq!(seen.details["outcome"], exit.word());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cycle_that_ends_well_is_healthy_or_offers_a_release() {
    let mut circle = TestWorld::with_second_settling(300).await;
    let settling = status_of(circle.check().await.1.as_ref());
    assert_eq!((settling.condition, &*settling.about), (Healthy, ""));
    circle.advance_and_poll(HOUR).await;
    let ended = circle.check().await.1;
    let offered = status_of(ended.as_ref());
    assert_eq!((offered.condition, &*offered.about), (Available, "2-1.1.0"));
    assert_eq!(offered.details, json!({ "outcome": "available", "release": "2-1.1.0" }));
    let installed = circle.update().await.1;
    assert!(matches!(installed, Ok(CycleOutcome::Installed(_))));
    let installed = status_of(installed.as_ref());
    assert_eq!((installed.condition, &*installed.about), (Healthy, ""));
    let nothing = status_of(circle.update().await.1.as_ref());
    assert_eq!(
        (nothing.condition, &nothing.details["outcome"]),
        (Healthy, &json!(Exit::Done.word()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_one_condition_when_it_is_found_and_while_it_latches() {
    let mut circle = TestWorld::with_first_installed(301).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "6.6.6", b"trojan")).unwrap();
    circle.set_mirror("client", "fork").unwrap();
    circle.advance_and_poll(SECOND).await;
    let found = status_of(circle.update().await.1.as_ref());
    let latched = status_of(circle.update().await.1.as_ref());
    assert_eq!((found.condition, latched.condition), (Fork, Fork));
    assert_ne!(found.message, latched.message);
    assert_eq!(found.about, latched.about);
    assert_eq!(found.details, json!({ "outcome": "fork", "evidence": found.about }));
}

#[test]
fn whom_to_ask_is_told_and_where_they_are_reached_is_not() {
    let address = unanimity_config::OnionAddress { key: [7; 32], port: 4242 }.to_string();
    let name = address.split('.').next().unwrap();
    let said = format!("{address} ({}), www.{address}/x", name.to_uppercase());
    let silent = CycleError::Refused(Refusal::Incomplete(vec![unconfirmed_peer(&said)]));
    let stale =
        MirrorProblem::Stale { mirror: format!("http://{address}/log"), shown: 1, known: 2 }.into();
    let unread = CycleError::Client(ClientError::Mirrors(vec![format!("http://{address}: gone")]));
    for failure in [&silent, &stale, &unread] {
        let CycleStatus { condition, message, details, .. } = status_of(Err(failure));
        let line = Announcement { condition, since: NOW, message, details }.json();
        assert!(!line.to_lowercase().contains(name), "{line}");
    }
    let seen = status_of(Err(&silent));
    assert!(seen.message.contains("carol: silent (unreachable: [hidden].onion:4242 ([hidden])"));
    let peers = json!([{ "name": "carol", "standing": "silent", "since": NOW }]);
    assert_eq!(seen.details["peers"], peers);
    let details = json!({ "outcome": "stale", "mirror": "http://[hidden].onion:4242/log", "shown": 1, "known": 2 });
    assert_eq!(status_of(Err(&stale)).details, details);
}

#[test]
fn what_others_say_does_not_make_a_message_long() {
    for text in ["a ".repeat(1 << 20), "é".repeat(1 << 20), "…".repeat(1 << 20)] {
        let failure = Refusal::Incomplete(vec![unconfirmed_peer(&text)]).into();
        let message = status_of(Err(&failure)).message;
        assert!((4000..4200).contains(&message.len()) && message.ends_with('…'));
    }
}
