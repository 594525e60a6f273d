//! The transitions of a node's condition: each change is announced exactly once.

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

/// The announcements of a course of conditions, all delivered at its end. Each step of the course
/// is the hours since its beginning, the condition, and what the condition is about.
fn announcements(course: &[(u64, Condition, &str)]) -> Vec<(Condition, String, u64)> {
    let mut transitions = Transitions::default();
    for (hours, condition, about) in course {
        transitions.observe(&status(*condition, about), LIMIT, NOW.after(hours_of(*hours)));
    }
    let hours = |since: Timestamp| since.since(NOW).as_secs() / 3600;
    let row = |one: Announcement| (one.condition, one.message, hours(one.since));
    take_announcements(&mut transitions).into_iter().map(row).collect()
}

fn hours_of(hours: u64) -> Duration {
    Duration::from_secs(hours * 3600)
}

fn take_announcements(transitions: &mut Transitions) -> Vec<Announcement> {
    let all = transitions.undelivered();
    all.iter().for_each(|one| transitions.mark_delivered(one));
    assert_eq!(transitions.undelivered(), []);
    all
}

/// Asserts the announcements of one course of conditions.
#[track_caller]
fn assert_announces(course: &[(u64, Condition, &str)], expected: &[(Condition, &str, u64)]) {
    let owned =
        |(condition, about, at): &(Condition, &str, u64)| (*condition, (*about).to_owned(), *at);
    let expected: Vec<_> = expected.iter().map(owned).collect();
    assert_eq!(announcements(course), expected, "{course:?}");
}

#[test]
fn a_healthy_node_announces_nothing() {
    assert_announces(&[], &[]);
    assert_announces(&[(0, Healthy, ""), (1, Healthy, ""), (1000, Healthy, "")], &[]);
}

#[test]
fn incomplete_is_announced_once_after_it_has_lasted_for_the_limit() {
    let announced_once = [(Incomplete, "", 1)];
    assert_announces(&[(1, Incomplete, ""), (24, Incomplete, "")], &[]);
    assert_announces(
        &[(1, Incomplete, ""), (24, Incomplete, ""), (25, Incomplete, "")],
        &announced_once,
    );
    assert_announces(
        &[(1, Incomplete, ""), (25, Incomplete, ""), (99, Incomplete, "")],
        &announced_once,
    );
    // The condition ended before the limit: nothing is announced, neither its start nor its end.
    assert_announces(&[(1, Incomplete, ""), (24, Incomplete, ""), (25, Healthy, "")], &[]);
    // A healthy cycle in between restarts the wait.
    let broken =
        [(1, Incomplete, ""), (20, Healthy, ""), (21, Incomplete, ""), (44, Incomplete, "")];
    assert_announces(&broken, &[]);
    assert_announces(&[&broken[..], &[(45, Incomplete, "")]].concat(), &[(Incomplete, "", 21)]);
    // No cycle ran for days: a condition at both ends counts as the condition in between.
    assert_announces(&[(0, Incomplete, ""), (90, Incomplete, "")], &[(Incomplete, "", 0)]);
    let over = [(0, Incomplete, ""), (24, Incomplete, ""), (30, Healthy, ""), (31, Healthy, "")];
    assert_announces(&over, &[(Incomplete, "", 0), (Healthy, "", 30)]);
}

#[test]
fn conditions_worse_than_incomplete_are_announced_at_once() {
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
fn another_reason_release_or_evidence_is_another_change() {
    for condition in [Refused, Fork] {
        let course = [(0, condition, "x"), (1, condition, "y"), (2, condition, "y")];
        assert_announces(&course, &[(condition, "x", 0), (condition, "y", 1)]);
    }
}

#[test]
fn a_fork_is_announced_once_despite_incomplete_cycles_in_between() {
    let flaps =
        [(0, Fork, "x"), (1, Incomplete, ""), (2, Fork, "x"), (3, Incomplete, ""), (4, Fork, "x")];
    assert_announces(&flaps, &[(Fork, "x", 0)]);
    // An incomplete condition that lasts for the limit is a change, and so is the fork after it.
    let long = [(0, Fork, "x"), (1, Incomplete, ""), (25, Incomplete, ""), (26, Fork, "x")];
    assert_announces(&long, &[(Fork, "x", 0), (Fork, "x", 26), (Incomplete, "", 1)]);
    // A later condition does not hide an undelivered fork.
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
    // After a stale condition in between, its end is announced. The release is not announced again.
    let interrupted = [
        (0, Available, "2"),
        (1, Stale, ""),
        (2, Available, "2"),
        (3, Stale, ""),
        (4, Available, "3"),
    ];
    assert_announces(
        &interrupted,
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
fn a_clock_set_back_costs_at_most_one_more_wait() {
    let mut transitions = Transitions::default();
    let incomplete = status(Incomplete, "");
    for future in [Timestamp(u64::MAX), Timestamp::MAX] {
        assert_eq!(transitions.observe(&incomplete, LIMIT, future), None);
    }
    for hours in 0..24 {
        assert_eq!(transitions.observe(&incomplete, LIMIT, NOW.after(hours_of(hours))), None);
    }
    let announced = transitions.observe(&incomplete, LIMIT, NOW.after(LIMIT)).unwrap();
    assert_eq!((announced.condition, announced.since), (Incomplete, NOW));
    assert_eq!(announced.details["unhealthy_since"], NOW.0);
    assert_eq!(transitions.observe(&incomplete, LIMIT, Timestamp(0)), None);
    assert_eq!(transitions.condition(), Some((Incomplete, Timestamp(0))));
}

#[test]
fn an_alert_says_since_when_the_node_has_been_unhealthy() {
    let mut transitions = Transitions::default();
    let at = |hours| NOW.after(hours_of(hours));
    transitions.observe(&status(Healthy, ""), LIMIT, at(0));
    transitions.observe(&status(Incomplete, ""), LIMIT, at(1));
    let stale = transitions.observe(&status(Stale, ""), LIMIT, at(3)).unwrap();
    assert_eq!((stale.since, &stale.details["unhealthy_since"]), (at(3), &json!(at(1))));
    let well = transitions.observe(&status(Healthy, ""), LIMIT, at(4)).unwrap();
    assert_eq!(well.details.get("unhealthy_since"), None);
}

#[test]
fn undelivered_forks_are_kept_before_all_other_alerts() {
    let mut transitions = Transitions::default();
    transitions.observe(&status(Fork, "x"), LIMIT, NOW);
    for n in 0..1000 {
        transitions.observe(&status(Refused, &n.to_string()), LIMIT, NOW);
    }
    let waited = take_announcements(&mut transitions);
    assert_eq!(waited.len(), MAX_UNDELIVERED);
    assert_eq!((waited[0].condition, &*waited[0].message), (Fork, "x"));
    assert_eq!(waited[1..].first().unwrap().message, "985");
    assert_eq!(waited.last().unwrap().message, "999");
    for n in 0..1000 {
        transitions.observe(&status(Fork, &n.to_string()), LIMIT, NOW);
    }
    assert_eq!(take_announcements(&mut transitions).len(), MAX_UNDELIVERED);
}

#[test]
fn after_lost_state_the_current_condition_is_announced() {
    for (condition, about) in [
        (Healthy, ""),
        (Available, "2"),
        (Incomplete, ""),
        (Stale, ""),
        (Refused, "x"),
        (Fork, "x"),
    ] {
        let mut transitions = Transitions::with_unknown_history();
        let first = transitions.observe(&status(condition, about), LIMIT, NOW).unwrap();
        assert_eq!((first.condition, &*first.message), (condition, about));
        assert_eq!(transitions.observe(&status(condition, about), LIMIT, NOW.after(LIMIT)), None);
    }
}

#[test]
fn damaged_state_is_no_state() {
    let mut transitions = Transitions::default();
    transitions.observe(&status(Available, "2"), LIMIT, NOW);
    transitions.observe(&status(Fork, "x"), LIMIT, NOW);
    let text = transitions.text().into_bytes();
    assert_eq!(Transitions::parse(&text), Some(transitions.clone()));
    for at in 0..text.len() {
        assert_eq!(Transitions::parse(&text[..at]), None, "cut at {at}");
        for bit in 0..8 {
            let mut damaged = text.clone();
            damaged[at] ^= 1 << bit;
            // Changed white space does not change the meaning.
            let read = Transitions::parse(&damaged);
            assert!(read.is_none() || read.as_ref() == Some(&transitions), "bit {bit} of {at}");
        }
    }
    let newer = transitions.text().replace("\"version\": 1", "\"version\": 2");
    assert_eq!(Transitions::parse(newer.as_bytes()), None);
}

/// The expected announcements of a course: a model that reads the whole course again for each step.
fn expected_announcements(
    course: &[(Timestamp, Condition, String)],
) -> Vec<(Condition, String, Timestamp)> {
    let mut announced: Vec<(Condition, String, Timestamp)> = Vec::new();
    for (i, (now, condition, about)) in course.iter().enumerate() {
        let same = |(_, c, a): &&(Timestamp, Condition, String)| c == condition && a == about;
        let run: Vec<_> = course[..=i].iter().rev().take_while(same).collect();
        let since = run.iter().map(|(at, ..)| *at).min().unwrap();
        let unwell = course[..=i].iter().rev().take_while(|(_, c, _)| !c.is_good());
        let unwell = unwell.map(|(at, ..)| *at).min().unwrap_or(*now);
        let last = announced.last().map_or((Healthy, ""), |(c, a, _)| (*c, a.as_str()));
        let mut offers = announced.iter().filter(|(c, ..)| *c == Available).map(|(_, a, _)| a);
        let news = match condition {
            Healthy if last.0.is_good() => None,
            Available if offers.next_back() != Some(about) => Some(Available),
            Available if last.0.is_good() => None,
            Healthy | Available => Some(Healthy),
            Incomplete if now.since(unwell) < LIMIT => None,
            bad => (last != (*bad, about)).then_some(*bad),
        };
        announced.extend(news.map(|condition| (condition, about.clone(), since)));
    }
    announced
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
    fn each_change_is_delivered_once_despite_restarts_and_failing_commands(
        course in prop::collection::vec((any_condition(), -5i64..15, any::<bool>(), any::<bool>()), 1..60)
    ) {
        let mut transitions = Transitions::default();
        let (mut announced, mut seen_so_far) = (Vec::new(), Vec::new());
        let mut times = Vec::new();
        let mut now = NOW;
        for ((condition, about), hours, command_works, restarts) in course {
            now = Timestamp(now.0.saturating_add_signed(hours * 3600));
            seen_so_far.push((now, condition, about.clone()));
            transitions.observe(&status(condition, &about), LIMIT, now);
            if restarts {
                transitions = Transitions::parse(transitions.text().as_bytes()).unwrap();
            }
            if command_works || seen_so_far.len() % MAX_UNDELIVERED == 0 {
                announced.extend(take_announcements(&mut transitions));
                times.push(announced.len());
            }
            if condition == Fork {
                let last = expected_announcements(&seen_so_far).pop().unwrap();
                prop_assert_eq!((last.0, last.1), (Fork, about));
            }
        }
        announced.extend(take_announcements(&mut transitions));
        let row = |one: Announcement| (one.condition, one.message, one.since);
        let announced: Vec<_> = announced.into_iter().map(row).collect();
        let mut expected = expected_announcements(&seen_so_far);
        times.push(expected.len());
        // Of the announcements that are delivered together, the forks come first.
        for (from, to) in std::iter::once(0).chain(times.clone()).zip(times) {
            expected[from..to].sort_by_key(|one| one.0 != Fork);
        }
        prop_assert_eq!(announced, expected);
    }
}

fn unconfirmed_peer(failure: &str) -> UnconfirmedPeer {
    UnconfirmedPeer {
        peer: "carol".parse().unwrap(),
        confirmation: Confirmation::NoValidAnswer,
        size: None,
        failure: Some(PeerFailure::Unreachable(failure.to_owned())),
        since: Some(NOW),
    }
}

/// Every refusal and error except a newly found fork, with its condition and what the condition is
/// about.
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
fn every_failure_of_a_cycle_has_its_condition_and_outcome_word() {
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
async fn a_successful_cycle_is_healthy_or_offers_a_release() {
    let mut world = TestWorld::with_second_settling(300).await;
    let settling = status_of(world.check().await.1.as_ref());
    assert_eq!((settling.condition, &*settling.about), (Healthy, ""));
    world.advance_and_poll(HOUR).await;
    let result = world.check().await.1;
    let offered = status_of(result.as_ref());
    assert_eq!((offered.condition, &*offered.about), (Available, "2-1.1.0"));
    assert_eq!(offered.details, json!({ "outcome": "available", "release": "2-1.1.0" }));
    let installed = world.update().await.1;
    assert!(matches!(installed, Ok(CycleOutcome::Installed(_))));
    let installed = status_of(installed.as_ref());
    assert_eq!((installed.condition, &*installed.about), (Healthy, ""));
    let nothing = status_of(world.update().await.1.as_ref());
    assert_eq!(
        (nothing.condition, &nothing.details["outcome"]),
        (Healthy, &json!(Exit::Done.word()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_is_one_condition_when_found_and_while_latched() {
    let mut world = TestWorld::with_first_installed(301).await;
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "6.6.6", b"trojan")).unwrap();
    world.set_mirror("client", "fork").unwrap();
    world.advance_and_poll(SECOND).await;
    let found = status_of(world.update().await.1.as_ref());
    let latched = status_of(world.update().await.1.as_ref());
    assert_eq!((found.condition, latched.condition), (Fork, Fork));
    assert_ne!(found.message, latched.message);
    assert_eq!(found.about, latched.about);
    assert_eq!(found.details, json!({ "outcome": "fork", "evidence": found.about }));
}

#[test]
fn alerts_name_peers_and_hide_their_addresses() {
    let address = unanimity_config::OnionAddress { key: [7; 32], port: 4242 }.to_string();
    let name = address.split('.').next().unwrap();
    let text = format!("{address} ({}), www.{address}/x", name.to_uppercase());
    let silent = CycleError::Refused(Refusal::Incomplete(vec![unconfirmed_peer(&text)]));
    let stale =
        MirrorProblem::Stale { mirror: format!("http://{address}/log"), shown: 1, known: 2 }.into();
    let unread = CycleError::Client(ClientError::Mirrors(vec![format!("http://{address}: gone")]));
    for failure in [&silent, &stale, &unread] {
        let CycleStatus { condition, message, details, .. } = status_of(Err(failure));
        let line = Announcement { condition, since: NOW, message, details }.json();
        assert!(!line.to_lowercase().contains(name), "{line}");
    }
    let seen = status_of(Err(&silent));
    snapbox::assert_data_eq!(seen.message, snapbox::file!["words/alert_hidden_address.txt"]);
    let peers = json!([{ "name": "carol", "confirmation": "no-valid-answer", "since": NOW }]);
    assert_eq!(seen.details["peers"], peers);
    let mirror = "http://[hidden].onion:4242/log";
    let details = json!({ "outcome": "stale", "mirror": mirror, "shown": 1, "known": 2 });
    assert_eq!(status_of(Err(&stale)).details, details);
}

#[test]
fn text_of_others_does_not_make_a_message_long() {
    for text in ["a ".repeat(1 << 20), "é".repeat(1 << 20), "…".repeat(1 << 20)] {
        let failure = Refusal::Incomplete(vec![unconfirmed_peer(&text)]).into();
        let message = status_of(Err(&failure)).message;
        assert!((4000..4200).contains(&message.len()) && message.ends_with('…'));
    }
}
