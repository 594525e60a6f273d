//! Claims about rounds: the set of peers, the answers that count, and the verdict.

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
    LogWorld, NOW, cosigner, cosigners, limits, name, peer, peers, round, seconds, silent_round,
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
    let renamed = Peer { key: cosigner("another-name", 51).public(), ..peer(2) };
    assert_eq!(renamed.key.raw(), peer(1).key.raw());
    assert_ne!(renamed.key, peer(1).key);
    let same = PeerSetError::SameKey(name("peer-1"), name("peer-2"));
    assert_eq!(PeerSet::new(vec![renamed.clone(), peer(1)], 1), Err(same.clone()));
    assert_eq!(PeerSet::new(vec![peer(1), peer(3), renamed], 1), Err(same));
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

fn cosigned(at: Timestamp, size: usize) -> CosignedHead {
    CosignedHead::sign(&LogWorld::new(9).head(size), &cosigners(1)[0], at)
}

#[test]
fn cosignature_may_be_60_seconds_ahead_and_not_61() {
    let admit = |at| {
        limits().admit(cosigned(Timestamp(at), 5), NOW, 0).map(|cosigned| cosigned.signed_at().0)
    };
    assert_eq!(admit(NOW.0), Ok(NOW.0));
    assert_eq!(admit(NOW.0 + 60), Ok(NOW.0 + 60));
    assert_eq!(admit(NOW.0 + 61), Err(PeerFailure::InFuture(Timestamp(NOW.0 + 61))));
    assert_eq!(admit(i64::MAX as u64), Err(PeerFailure::InFuture(Timestamp::MAX)));
}

#[test]
fn cosignature_may_be_as_old_as_max_cosignature_age_and_no_older() {
    let admit = |at| {
        limits().admit(cosigned(Timestamp(at), 5), NOW, 0).map(|cosigned| cosigned.signed_at().0)
    };
    assert_eq!(admit(NOW.0 - 900), Ok(NOW.0 - 900));
    assert_eq!(admit(NOW.0 - 901), Err(PeerFailure::TooOld(Timestamp(NOW.0 - 901))));
    assert_eq!(admit(0), Err(PeerFailure::TooOld(Timestamp(0))));
}

#[test]
fn ages_at_the_limits_of_time_do_not_wrap() {
    let forever = RoundLimits { max_cosignature_age: Duration::MAX, ..limits() };
    assert!(forever.admit(cosigned(Timestamp(0), 5), NOW, 0).is_ok());
    let never = RoundLimits { max_cosignature_age: seconds(0), ..limits() };
    assert!(never.admit(cosigned(NOW, 5), NOW, 0).is_ok());
    assert!(never.admit(cosigned(Timestamp(NOW.0 - 1), 5), NOW, 0).is_err());
    assert!(limits().admit(cosigned(Timestamp::MAX, 5), Timestamp(u64::MAX), 0).is_err());
    assert!(limits().admit(cosigned(Timestamp(0), 5), Timestamp(0), 0).is_ok());
}

#[test]
fn head_smaller_than_the_peer_showed_before_is_regressed() {
    let admit = |before| {
        limits().admit(cosigned(NOW, 5), NOW, before).map(|cosigned| cosigned.head().size())
    };
    assert_eq!(admit(0), Ok(5));
    assert_eq!(admit(5), Ok(5));
    assert_eq!(admit(6), Err(PeerFailure::Regressed { size: 5, before: 6 }));
}

#[test]
fn default_limits_are_1_hour_and_15_minutes() {
    let RoundLimits { settle, round_ttl, max_cosignature_age } = RoundLimits::default();
    assert_eq!([settle, round_ttl, max_cosignature_age].map(|d| d.as_secs()), [3600, 900, 900]);
}

#[test]
fn round_has_one_answer_for_every_peer_and_none_for_other_keys() {
    let (log, three) = (LogWorld::new(9), peers(3));
    // Cosigner 4 is not listed, and peer 3 does not answer.
    let secrets =
        [cosigner("cosigner-1", 51), cosigner("cosigner-2", 52), cosigner("cosigner-4", 54)];
    let mut received = BTreeMap::new();
    for secret in &secrets {
        received.insert(secret.public().raw(), Ok(CosignedHead::sign(&log.head(5), secret, NOW)));
    }
    received.insert(peer(2).key.raw(), Err(PeerFailure::TimedOut));
    let round = Round::new(&three, NOW, received);
    let answers: Vec<_> =
        round.answers().iter().map(|(peer, a)| (peer.name.as_str(), a.as_ref().err())).collect();
    assert_eq!(
        answers,
        [
            ("peer-1", None),
            ("peer-2", Some(&PeerFailure::TimedOut)),
            ("peer-3", Some(&PeerFailure::NotAsked))
        ]
    );
    assert_eq!(round.cosigned_heads().count(), 1);
    assert_eq!(round.closed_at(), NOW);
}

#[test]
fn cosigned_head_counts_for_its_cosigner_only() {
    let (log, two) = (LogWorld::new(9), peers(2));
    let cosigned = CosignedHead::sign(&log.head(5), &cosigners(1)[0], NOW);
    let received = [peer(1).key.raw(), peer(2).key.raw()].map(|key| (key, Ok(cosigned.clone())));
    let round = Round::new(&two, NOW, received.into());
    assert_eq!(
        round.confirmations(&two, &log.consistent_heads(9), None),
        [Confirmed, NoValidAnswer]
    );
}

#[test]
fn every_answer_has_the_confirmation_that_it_proves() {
    let (log, four) = (LogWorld::new(9), peers(4));
    let mut heads = unanimity_protocol::ConsistentHeads::new(log.head(9));
    for size in [5, 6] {
        heads.add(&log.head(size), &log.path(size, 9));
    }
    let round = round(&log, &four, NOW, &[5, 6, 7]);
    assert_eq!(
        round.confirmations(&four, &heads, Some(5)),
        [Behind, Confirmed, Unproven, NoValidAnswer]
    );
    assert_eq!(
        round.confirmations(&four, &heads, Some(4)),
        [Confirmed, Confirmed, Unproven, NoValidAnswer]
    );
    assert_eq!(
        round.confirmations(&four, &heads, None),
        [Confirmed, Confirmed, Unproven, NoValidAnswer]
    );
    let unconfirmed = round.unconfirmed(&four, &heads, Some(5));
    let text: String = unconfirmed.iter().map(|peer| format!("{peer}\n")).collect();
    snapbox::assert_data_eq!(text, snapbox::file!["words/unconfirmed_peers.txt"]);
}

#[test]
fn common_size_is_the_smallest_that_every_peer_confirmed() {
    let (log, three) = (LogWorld::new(9), peers(3));
    let heads = log.consistent_heads(9);
    assert_eq!(round(&log, &three, NOW, &[7, 5, 9]).common_size(&three, &heads), Some(5));
    assert_eq!(
        round(&log, &three, NOW, &[7, 5]).common_size(&three, &heads),
        None,
        "one peer has no answer"
    );
    assert_eq!(silent_round(&three, NOW).common_size(&three, &heads), None);
    let other = log.forked_at(3);
    let fork = round(&other, &three, NOW, &[7, 5, 9]);
    assert_eq!(fork.common_size(&three, &heads), None, "the heads are unproven");
    let fewer = round(&log, &peers(2), NOW, &[7, 5]);
    assert_eq!(fewer.common_size(&three, &heads), None, "one peer was not asked");
}

const ALL: [Confirmation; 4] = [Confirmed, Behind, NoValidAnswer, Unproven];

#[test]
fn verdict_follows_this_table() {
    use Verdict::{Incomplete, Settling, Unanimous};
    let (c, all) = (Confirmed, [Confirmed; 3]);
    type Row<'a> = (&'a [Confirmation], Option<&'a [Confirmation]>, Verdict);
    let table: &[Row] = &[
        // An empty round confirms nothing.
        (&[], None, Incomplete),
        (&[], Some(&[]), Incomplete),
        (&[], Some(&all), Incomplete),
        (&all, Some(&[]), Settling),
        // One round settles nothing.
        (&all, None, Settling),
        (&[c], None, Settling),
        (&all, Some(&all), Unanimous),
        (&[c], Some(&[c]), Unanimous),
        // One peer does not confirm.
        (&[c, c, Behind], Some(&all), Incomplete),
        (&[c, NoValidAnswer, c], Some(&all), Incomplete),
        (&[Unproven, c, c], Some(&all), Incomplete),
        (&[c, c, NoValidAnswer], None, Incomplete),
        (&all, Some(&[c, c, Behind]), Settling),
        (&all, Some(&[c, NoValidAnswer, c]), Settling),
        (&all, Some(&[Unproven, c, c]), Settling),
        // Rounds of other numbers of peers.
        (&all, Some(&[c, c]), Settling),
        (&[c, c], Some(&all), Settling),
    ];
    for (latest, earlier, expected) in table {
        assert_eq!(verdict(latest, *earlier), *expected, "{latest:?} after {earlier:?}");
    }
}

#[test]
fn only_two_full_rounds_of_confirmed_are_unanimous() {
    // Every pair of rounds of up to three peers.
    let mut rounds: Vec<Vec<Confirmation>> = vec![vec![]];
    for length in 0..3 {
        let longer: Vec<Vec<Confirmation>> = (rounds.iter().filter(|round| round.len() == length))
            .flat_map(|round| ALL.map(|confirmation| [&round[..], &[confirmation]].concat()))
            .collect();
        rounds.extend(longer);
    }
    let full = |round: &[Confirmation]| !round.is_empty() && round.iter().all(|s| *s == Confirmed);
    for latest in &rounds {
        assert_ne!(verdict(latest, None), Verdict::Unanimous);
        for earlier in &rounds {
            let unanimous = full(latest) && full(earlier) && latest.len() == earlier.len();
            assert_eq!(verdict(latest, Some(earlier)) == Verdict::Unanimous, unanimous);
        }
    }
}
