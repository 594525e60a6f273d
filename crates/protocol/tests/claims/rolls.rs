//! Who must agree, what counts as an answer, and the rule.

use std::collections::BTreeMap;
use std::time::Duration;

use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::decision::confirmation::Confirmation::{
    Behind, Confirmed, NoValidAnswer, Unproven,
};
use unanimity_protocol::decision::confirmation::{
    Confirmation::{self},
    Verdict, verdict,
};
use unanimity_protocol::peers::PeerSetError;
use unanimity_protocol::{CosignedHead, Peer, PeerFailure, PeerSet, Round, Timestamp};

use crate::fixtures::{
    LogWorld, NOW, cosigner, cosigners, limits, name, peer, peers, roll, seconds, silent_roll,
};

#[test]
fn an_empty_set_of_peers_is_refused() {
    let none = PeerSetError::TooFew { operators: 0, min_peers: 1 };
    assert_eq!(PeerSet::new(vec![], 1), Err(none));
    assert_eq!(PeerSet::new(vec![], 0), Err(PeerSetError::NoMinimum));
    assert_eq!(PeerSet::new(vec![peer(1)], 0), Err(PeerSetError::NoMinimum));
}

#[test]
fn peers_of_one_operator_count_once() {
    let same = |n| Peer { operator: name("operator-1"), ..peer(n) };
    let three = vec![peer(1), same(2), peer(3)];
    assert!(PeerSet::new(three.clone(), 2).is_ok());
    let few = PeerSetError::TooFew { operators: 2, min_peers: 3 };
    assert_eq!(PeerSet::new(three, 3), Err(few));
    assert!(PeerSet::new(vec![peer(1), peer(2), peer(3)], 3).is_ok());
}

#[test]
fn one_key_under_two_names_is_refused() {
    let twin = Peer { key: cosigner("another-name", 51).public(), ..peer(2) };
    assert_eq!(twin.key.raw(), peer(1).key.raw());
    assert_ne!(twin.key, peer(1).key);
    let same = PeerSetError::SameKey(name("peer-1"), name("peer-2"));
    assert_eq!(PeerSet::new(vec![twin.clone(), peer(1)], 1), Err(same.clone()));
    assert_eq!(PeerSet::new(vec![peer(1), peer(3), twin], 1), Err(same));
}

#[test]
fn two_peers_of_one_name_are_refused() {
    let namesake = Peer { name: name("peer-1"), ..peer(2) };
    let same = PeerSetError::SameName(name("peer-1"));
    assert_eq!(PeerSet::new(vec![peer(1), peer(3), namesake], 1), Err(same));
}

#[test]
fn peers_are_ordered_by_name() {
    let set = PeerSet::new(vec![peer(3), peer(1), peer(2)], 1).unwrap();
    assert_eq!(set, peers(3));
    let names: Vec<String> = set.iter().map(|peer| peer.name.to_string()).collect();
    assert_eq!(names, ["peer-1", "peer-2", "peer-3"]);
}

fn view(at: Timestamp, size: usize) -> CosignedHead {
    CosignedHead::sign(&LogWorld::new(9).head(size), &cosigners(1)[0], at)
}

#[test]
fn a_view_may_be_60_seconds_ahead_and_not_61() {
    let admit = |at| limits().admit(view(Timestamp(at), 5), NOW, 0).map(|view| view.signed_at().0);
    assert_eq!(admit(NOW.0), Ok(NOW.0));
    assert_eq!(admit(NOW.0 + 60), Ok(NOW.0 + 60));
    assert_eq!(admit(NOW.0 + 61), Err(PeerFailure::InFuture(Timestamp(NOW.0 + 61))));
    assert_eq!(admit(i64::MAX as u64), Err(PeerFailure::InFuture(Timestamp::MAX)));
}

#[test]
fn a_view_may_be_as_old_as_view_ttl_and_no_older() {
    let admit = |at| limits().admit(view(Timestamp(at), 5), NOW, 0).map(|view| view.signed_at().0);
    assert_eq!(admit(NOW.0 - 900), Ok(NOW.0 - 900));
    assert_eq!(admit(NOW.0 - 901), Err(PeerFailure::TooOld(Timestamp(NOW.0 - 901))));
    assert_eq!(admit(0), Err(PeerFailure::TooOld(Timestamp(0))));
}

#[test]
fn ages_at_the_ends_of_time_do_not_wrap() {
    let forever = RoundLimits { max_cosignature_age: Duration::MAX, ..limits() };
    assert!(forever.admit(view(Timestamp(0), 5), NOW, 0).is_ok());
    let never = RoundLimits { max_cosignature_age: seconds(0), ..limits() };
    assert!(never.admit(view(NOW, 5), NOW, 0).is_ok());
    assert!(never.admit(view(Timestamp(NOW.0 - 1), 5), NOW, 0).is_err());
    assert!(limits().admit(view(Timestamp::MAX, 5), Timestamp(u64::MAX), 0).is_err());
    assert!(limits().admit(view(Timestamp(0), 5), Timestamp(0), 0).is_ok());
}

#[test]
fn a_view_smaller_than_the_peer_showed_before_is_regressed() {
    let admit = |before| limits().admit(view(NOW, 5), NOW, before).map(|view| view.head().size());
    assert_eq!(admit(0), Ok(5));
    assert_eq!(admit(5), Ok(5));
    assert_eq!(admit(6), Err(PeerFailure::Regressed { size: 5, before: 6 }));
}

#[test]
fn default_limits_are_those_of_the_design() {
    let RoundLimits { settle, round_ttl: roll_ttl, max_cosignature_age: view_ttl } =
        RoundLimits::default();
    assert_eq!([settle, roll_ttl, view_ttl].map(|d| d.as_secs()), [3600, 900, 900]);
}

#[test]
fn a_roll_has_one_answer_for_every_peer_and_none_for_anybody_else() {
    let (log, three) = (LogWorld::new(9), peers(3));
    // The fourth is a stranger, and the third does not answer.
    let secrets =
        [cosigner("cosigner-1", 51), cosigner("cosigner-2", 52), cosigner("cosigner-4", 54)];
    let mut received = BTreeMap::new();
    for secret in &secrets {
        received.insert(secret.public().raw(), Ok(CosignedHead::sign(&log.head(5), secret, NOW)));
    }
    received.insert(peer(2).key.raw(), Err(PeerFailure::TimedOut));
    let roll = Round::new(&three, NOW, received);
    let answers: Vec<_> =
        roll.answers().iter().map(|(peer, a)| (peer.name.as_str(), a.as_ref().err())).collect();
    assert_eq!(
        answers,
        [
            ("peer-1", None),
            ("peer-2", Some(&PeerFailure::TimedOut)),
            ("peer-3", Some(&PeerFailure::NotAsked))
        ]
    );
    assert_eq!(roll.cosigned_heads().count(), 1);
    assert_eq!(roll.closed_at(), NOW);
}

#[test]
fn a_view_counts_for_its_cosigner_only() {
    let (log, two) = (LogWorld::new(9), peers(2));
    let view = CosignedHead::sign(&log.head(5), &cosigners(1)[0], NOW);
    let received = [peer(1).key.raw(), peer(2).key.raw()].map(|key| (key, Ok(view.clone())));
    let roll = Round::new(&two, NOW, received.into());
    assert_eq!(roll.confirmations(&two, &log.chain(9), None), [Confirmed, NoValidAnswer]);
}

#[test]
fn standings_say_what_each_answer_is_worth() {
    let (log, four) = (LogWorld::new(9), peers(4));
    let mut chain = unanimity_protocol::ConsistentHeads::new(log.head(9));
    for size in [5, 6] {
        chain.add(&log.head(size), &log.path(size, 9));
    }
    let roll = roll(&log, &four, NOW, &[5, 6, 7]);
    assert_eq!(
        roll.confirmations(&four, &chain, Some(5)),
        [Behind, Confirmed, Unproven, NoValidAnswer]
    );
    assert_eq!(
        roll.confirmations(&four, &chain, Some(4)),
        [Confirmed, Confirmed, Unproven, NoValidAnswer]
    );
    assert_eq!(
        roll.confirmations(&four, &chain, None),
        [Confirmed, Confirmed, Unproven, NoValidAnswer]
    );
    let missing = roll.unconfirmed(&four, &chain, Some(5));
    let shown: Vec<String> = missing.iter().map(|missing| missing.to_string()).collect();
    assert_eq!(shown.len(), 3);
    assert!(shown[0].starts_with("peer-1: behind (its view is of size 5"), "{}", shown[0]);
    assert!(shown[1].starts_with("peer-3: unjoined"), "{}", shown[1]);
    assert!(shown[2].starts_with("peer-4: silent"), "{}", shown[2]);
}

#[test]
fn the_common_size_is_the_smallest_that_everybody_confirmed() {
    let (log, three) = (LogWorld::new(9), peers(3));
    let chain = log.chain(9);
    assert_eq!(roll(&log, &three, NOW, &[7, 5, 9]).common_size(&three, &chain), Some(5));
    assert_eq!(roll(&log, &three, NOW, &[7, 5]).common_size(&three, &chain), None, "one silent");
    assert_eq!(silent_roll(&three, NOW).common_size(&three, &chain), None);
    let other = log.forked_at(3);
    let fork = roll(&other, &three, NOW, &[7, 5, 9]);
    assert_eq!(fork.common_size(&three, &chain), None, "unjoined");
    let fewer = roll(&log, &peers(2), NOW, &[7, 5]);
    assert_eq!(fewer.common_size(&three, &chain), None, "one was not asked");
}

const ALL: [Confirmation; 4] = [Confirmed, Behind, NoValidAnswer, Unproven];

#[test]
fn the_rule_is_this_table() {
    use Verdict::{Incomplete, Settling, Unanimous};
    let (c, all) = (Confirmed, [Confirmed; 3]);
    type Row<'a> = (&'a [Confirmation], Option<&'a [Confirmation]>, Verdict);
    let table: &[Row] = &[
        // Nobody asked is never consent.
        (&[], None, Incomplete),
        (&[], Some(&[]), Incomplete),
        (&[], Some(&all), Incomplete),
        (&all, Some(&[]), Settling),
        // Once is not for long enough.
        (&all, None, Settling),
        (&[c], None, Settling),
        (&all, Some(&all), Unanimous),
        (&[c], Some(&[c]), Unanimous),
        // One answer short.
        (&[c, c, Behind], Some(&all), Incomplete),
        (&[c, NoValidAnswer, c], Some(&all), Incomplete),
        (&[Unproven, c, c], Some(&all), Incomplete),
        (&[c, c, NoValidAnswer], None, Incomplete),
        (&all, Some(&[c, c, Behind]), Settling),
        (&all, Some(&[c, NoValidAnswer, c]), Settling),
        (&all, Some(&[Unproven, c, c]), Settling),
        // Rolls of other peers.
        (&all, Some(&[c, c]), Settling),
        (&[c, c], Some(&all), Settling),
    ];
    for (latest, earlier, expected) in table {
        assert_eq!(verdict(latest, *earlier), *expected, "{latest:?} after {earlier:?}");
    }
}

#[test]
fn only_full_rolls_of_confirmed_are_unanimous() {
    // Every pair of rolls of up to three peers.
    let mut rolls: Vec<Vec<Confirmation>> = vec![vec![]];
    for length in 0..3 {
        let longer: Vec<Vec<Confirmation>> = (rolls.iter().filter(|roll| roll.len() == length))
            .flat_map(|roll| ALL.map(|standing| [&roll[..], &[standing]].concat()))
            .collect();
        rolls.extend(longer);
    }
    let full = |roll: &[Confirmation]| !roll.is_empty() && roll.iter().all(|s| *s == Confirmed);
    for latest in &rolls {
        assert_ne!(verdict(latest, None), Verdict::Unanimous);
        for earlier in &rolls {
            let unanimous = full(latest) && full(earlier) && latest.len() == earlier.len();
            assert_eq!(verdict(latest, Some(earlier)) == Verdict::Unanimous, unanimous);
        }
    }
}
