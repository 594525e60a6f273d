//! Claims about the pipeline: the checks between the stages of a release.

use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::note::NoteError;
use unanimity_protocol::policy::PolicyError;
use unanimity_protocol::{
    ConfirmedRelease, ConsistentHeads, Hash, LogEntry, LoggedRelease, Manifest, Note,
    NoteVerifyingKey, PeerSet, Policy, Refusal, Round, SignedRelease, Timestamp,
};

use crate::fixtures::{
    HOUR, LogWorld, NOW, Release, limits, line, manifest, name, note, peers, policy, publishers,
    released, round, seconds, secret, silent_round,
};

fn keys(secrets: &[unanimity_protocol::NoteSigningKey]) -> Vec<NoteVerifyingKey> {
    secrets.iter().map(|secret| secret.public()).collect()
}

fn make_policy(keys: Vec<NoteVerifyingKey>, threshold: usize) -> Result<Policy, PolicyError> {
    Policy::new(name("hello"), name("stable"), LogWorld::new(0).log(), keys, threshold)
}

fn open(note: Note) -> Result<SignedRelease, Refusal> {
    SignedRelease::verify(LogEntry { index: 0, note }, &policy(), 0, NOW)
}

#[test]
fn a_threshold_is_at_least_one_and_can_be_met() {
    for threshold in [0, 4, usize::MAX] {
        let refused = make_policy(keys(&publishers()), threshold);
        assert_eq!(refused.err(), Some(PolicyError::Threshold { threshold, keys: 3 }));
    }
    for threshold in 1..=3 {
        let policy = make_policy(keys(&publishers()), threshold).unwrap();
        assert_eq!((policy.threshold(), policy.publishers().len()), (threshold, 3));
    }
    assert!(make_policy(vec![], 0).is_err());
    assert!(make_policy(vec![], 1).is_err());
}

#[test]
fn one_publisher_key_under_two_names_is_refused() {
    let twins = keys(&[secret("one", 5), secret("other", 6), secret("two", 5)]);
    assert_eq!(make_policy(twins, 2).err(), Some(PolicyError::SameKey("one".into(), "two".into())));
    let namesakes = keys(&[secret("one", 5), secret("one", 6)]);
    assert_eq!(make_policy(namesakes, 1).err(), Some(PolicyError::SameName("one".into())));
}

#[test]
fn log_key_as_publisher_key_is_refused() {
    let roles = keys(&[secret("publisher", 1), secret("another-name", 100)]);
    assert_eq!(make_policy(roles, 1).err(), Some(PolicyError::TwoRoles("another-name".into())));
}

#[test]
fn release_needs_a_threshold_of_distinct_keys() {
    let text = manifest(2).to_string();
    let [a, b, c] = publishers();
    let short = |signed| Some(Refusal::Threshold { signed, threshold: 2 });
    assert_eq!(open(note(&text, &[])).err(), short(0));
    assert_eq!(open(note(&text, &[&a])).err(), short(1));
    assert_eq!(open(note(&text, &[&a, &a, &a])).err(), short(1));
    assert_eq!(open(note(&text, &[&a, &secret("stranger", 9)])).err(), short(1));
    // The 32 bytes of a publisher key with a name that is not configured.
    assert_eq!(open(note(&text, &[&a, &secret("other-name", 1)])).err(), short(1));
    // The log's key is no publisher key.
    assert_eq!(open(note(&text, &[&a, &LogWorld::new(0).secret])).err(), short(1));
    for pair in [[&a, &b], [&b, &c], [&c, &a]] {
        assert_eq!(*open(note(&text, &pair)).unwrap().manifest(), manifest(2));
    }
    assert!(open(note(&text, &[&secret("stranger", 9), &c, &b, &a])).is_ok());
}

#[test]
fn one_false_line_of_a_publisher_key_refuses_the_release() {
    let [_, _, c] = publishers();
    let text = released(&manifest(2).to_string()).to_string();
    let forged = text + &line("publisher-c", c.public().id(), &[7; 64]);
    let refused = open(Note::parse(forged.as_bytes()).unwrap());
    let bad = NoteError::BadSignature(c.public().name().clone());
    assert_eq!(refused.err(), Some(Refusal::BadSignature(bad)));
}

#[test]
fn release_of_another_product_channel_or_log_is_refused() {
    let signed = |change: fn(&mut Manifest)| {
        let mut manifest = manifest(2);
        change(&mut manifest);
        open(released(&manifest.to_string())).err()
    };
    assert_eq!(signed(|_| {}), None);
    let other = |product, channel| {
        Some(Refusal::OtherProduct { product: name(product), channel: name(channel) })
    };
    assert_eq!(signed(|m| m.product = name("other")), other("other", "stable"));
    assert_eq!(signed(|m| m.channel = name("beta")), other("hello", "beta"));
    let log = signed(|m| m.log = "example.org/other".parse().unwrap());
    assert_eq!(log, Some(Refusal::OtherLog("example.org/other".into())));
    let malformed = open(released("unanimity/manifest/v1\nproduct hello\n"));
    assert!(matches!(malformed, Err(Refusal::Malformed(error)) if error.line == 2));
}

#[test]
fn release_not_newer_than_the_installed_one_is_refused() {
    let at_floor = |floor| {
        let entry = LogEntry { index: 0, note: released(&manifest(7).to_string()) };
        SignedRelease::verify(entry, &policy(), floor, NOW).err()
    };
    assert_eq!(at_floor(0), None);
    assert_eq!(at_floor(6), None);
    assert_eq!(at_floor(7), Some(Refusal::SequenceRollback { offered: 7, floor: 7 }));
    assert_eq!(at_floor(8), Some(Refusal::SequenceRollback { offered: 7, floor: 8 }));
    assert_eq!(at_floor(u64::MAX), Some(Refusal::SequenceRollback { offered: 7, floor: u64::MAX }));
}

#[test]
fn release_is_refused_from_the_second_of_its_expiry() {
    let expires = manifest(2).expires;
    let at = |seconds| {
        let entry = LogEntry { index: 0, note: released(&manifest(2).to_string()) };
        SignedRelease::verify(entry, &policy(), 0, Timestamp(seconds)).err()
    };
    assert_eq!(at(expires.0 - 1), None);
    let expired = Some(Refusal::Expired { release: "2-1.2.0".into(), at: expires });
    assert_eq!(at(expires.0), expired);
    assert_eq!(at(expires.0 + 1), expired);
}

/// A release that is entry 5 of a log with 20 entries.
fn release() -> Release {
    Release::new(5, 20)
}

fn signed(release: &Release) -> SignedRelease {
    SignedRelease::verify(release.entry(), &policy(), 0, NOW).unwrap()
}

fn is_not_logged<T>(result: Result<T, Refusal>) -> bool {
    matches!(result, Err(Refusal::NotLogged(_)))
}

#[test]
fn inclusion_proof_is_for_one_index_and_one_head() {
    let release = release();
    let (log, proof) = (&release.log, release.log.inclusion(5, 20));
    let heads = log.consistent_heads(20);
    assert!(signed(&release).prove_inclusion(&heads, None, &proof).is_ok());

    let mut wrong: Vec<Vec<Hash>> = vec![
        vec![],
        proof[1..].to_vec(),
        [&proof[..], &proof[..1]].concat(),
        log.inclusion(4, 20),
        log.inclusion(5, 19),
        log.forked_at(6).inclusion(5, 20),
    ];
    for at in 0..proof.len() {
        wrong.push(proof.clone());
        wrong.last_mut().unwrap()[at].0[0] ^= 1;
    }
    for proof in wrong {
        assert!(is_not_logged(signed(&release).prove_inclusion(&heads, None, &proof)), "{proof:?}");
    }
    for index in [0, 4, 6, 19, 20, 21, u64::MAX] {
        let entry = LogEntry { index, ..release.entry() };
        let signed = SignedRelease::verify(entry, &policy(), 0, NOW).unwrap();
        assert_eq!(signed.index(), index);
        assert!(is_not_logged(signed.prove_inclusion(&heads, None, &proof)), "{index}");
    }
}

#[test]
fn other_signatures_of_a_logged_release_are_not_logged() {
    let release = release();
    let proof = release.log.inclusion(5, 20);
    let [a, b, c] = publishers();
    for signers in [[&b, &a], [&a, &c]] {
        let note = note(&manifest(2).to_string(), &signers);
        let signed = SignedRelease::verify(LogEntry { index: 5, note }, &policy(), 0, NOW).unwrap();
        assert!(is_not_logged(signed.prove_inclusion(
            &release.log.consistent_heads(20),
            None,
            &proof
        )));
    }
}

#[test]
fn head_that_does_not_extend_the_trusted_head_is_refused() {
    let release = release();
    let (log, proof) = (&release.log, release.log.inclusion(5, 20));
    for size in [1, 5, 6, 19, 20] {
        let trusted = log.head(size);
        assert!(
            signed(&release)
                .prove_inclusion(&log.consistent_heads(20), Some(&trusted), &proof)
                .is_ok()
        );
    }
    // The trusted head is not linked, of another history, or larger.
    let unlinked = ConsistentHeads::new(log.head(20));
    assert!(is_not_logged(signed(&release).prove_inclusion(&unlinked, Some(&log.head(6)), &proof)));
    let other = log.forked_at(2);
    for size in [3, 6, 20] {
        let trusted = other.head(size);
        assert!(is_not_logged(signed(&release).prove_inclusion(
            &log.consistent_heads(20),
            Some(&trusted),
            &proof
        )));
    }
    let larger = LogWorld::new(30).head(30);
    assert!(is_not_logged(signed(&release).prove_inclusion(
        &log.consistent_heads(20),
        Some(&larger),
        &proof
    )));
}

fn logged(release: &Release) -> LoggedRelease {
    let proof = release.log.inclusion(release.index, 20);
    signed(release).prove_inclusion(&release.log.consistent_heads(20), None, &proof).unwrap()
}

fn confirm(
    release: &Release,
    peers: &PeerSet,
    limits: &RoundLimits,
    earlier: Option<&Round>,
    latest: &Round,
) -> Result<ConfirmedRelease, Refusal> {
    logged(release).confirm(&release.log.consistent_heads(20), peers, limits, earlier, latest)
}

fn before(wait: u64) -> Timestamp {
    Timestamp(NOW.0 - wait)
}

/// The unconfirmed peers with their confirmations.
fn unconfirmed(result: Result<ConfirmedRelease, Refusal>) -> Vec<(String, Confirmation)> {
    match result {
        Err(Refusal::Incomplete(unconfirmed)) => {
            unconfirmed.into_iter().map(|m| (m.peer.to_string(), m.confirmation)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn settling(result: Result<ConfirmedRelease, Refusal>) -> u64 {
    match result {
        Err(Refusal::Settling { until, .. }) => until.0,
        other => panic!("{other:?}"),
    }
}

#[test]
fn release_that_every_peer_confirmed_twice_is_confirmed() {
    let (release, three) = (release(), peers(3));
    let earlier = round(&release.log, &three, before(HOUR), &[6, 7, 20]);
    let latest = round(&release.log, &three, NOW, &[20, 7, 6]);
    let confirmed = confirm(&release, &three, &limits(), Some(&earlier), &latest).unwrap();
    assert_eq!(*confirmed.manifest(), manifest(2));
    assert_eq!(
        (confirmed.log_entry().index, confirmed.log_entry().note.clone()),
        (5, release.note.clone())
    );
    assert_eq!(*confirmed.head(), release.log.head(20));
    assert_eq!(confirmed.rounds().map(Round::closed_at), [before(HOUR), NOW]);
}

#[test]
fn refuses_when_one_peer_is_silent() {
    let (release, three) = (release(), peers(3));
    let earlier = round(&release.log, &three, before(HOUR), &[20, 20, 20]);
    let latest = round(&release.log, &three, NOW, &[20, 20]);
    let result = confirm(&release, &three, &limits(), Some(&earlier), &latest);
    assert_eq!(unconfirmed(result), [("peer-3".into(), Confirmation::NoValidAnswer)]);
    let none = confirm(&release, &three, &limits(), Some(&earlier), &silent_round(&three, NOW));
    assert_eq!(unconfirmed(none).len(), 3);
}

#[test]
fn refuses_when_one_peer_is_behind() {
    let (release, three) = (release(), peers(3));
    let earlier = round(&release.log, &three, before(HOUR), &[20, 20, 20]);
    // Size 5 covers entries 0 to 4, and the release is entry 5.
    let latest = round(&release.log, &three, NOW, &[20, 5, 6]);
    let result = confirm(&release, &three, &limits(), Some(&earlier), &latest);
    assert_eq!(unconfirmed(result), [("peer-2".into(), Confirmation::Behind)]);
}

#[test]
fn refuses_when_one_peer_is_unproven() {
    let (release, three) = (release(), peers(3));
    let fork = release.log.forked_at(6);
    let rounds = |at| {
        let honest = round(&release.log, &three, at, &[20, 20, 20]);
        let forked = round(&fork, &three, at, &[20, 20, 20]);
        let mut answers: Vec<_> = honest.answers().to_vec();
        answers[1] = forked.answers()[1].clone();
        Round::new(&three, at, answers.into_iter().map(|(p, a)| (p.key.raw(), a)).collect())
    };
    let good = |at| round(&release.log, &three, at, &[20, 20, 20]);
    let latest = confirm(&release, &three, &limits(), Some(&good(before(HOUR))), &rounds(NOW));
    assert_eq!(unconfirmed(latest), [("peer-2".into(), Confirmation::Unproven)]);
    // An unproven head in the earlier round does not count, either.
    let earlier = confirm(&release, &three, &limits(), Some(&rounds(before(HOUR))), &good(NOW));
    assert_eq!(settling(earlier), NOW.0 + HOUR);
}

#[test]
fn refuses_until_the_earlier_round_is_settle_ago() {
    let (release, three) = (release(), peers(3));
    let latest = round(&release.log, &three, NOW, &[20, 20, 20]);
    let after = |wait| {
        let earlier = round(&release.log, &three, before(wait), &[20, 20, 20]);
        confirm(&release, &three, &limits(), Some(&earlier), &latest)
    };
    assert!(after(HOUR).is_ok());
    assert!(after(10 * HOUR).is_ok());
    assert_eq!(settling(after(HOUR - 1)), NOW.0 + 1);
    assert_eq!(settling(after(0)), NOW.0 + HOUR);
    assert_eq!(settling(confirm(&release, &three, &limits(), None, &latest)), NOW.0 + HOUR);
    assert_eq!(
        settling(confirm(&release, &three, &limits(), Some(&latest), &latest)),
        NOW.0 + HOUR
    );
}

#[test]
fn earlier_round_in_the_future_settles_nothing() {
    let (release, three) = (release(), peers(3));
    let latest = round(&release.log, &three, before(HOUR), &[20, 20, 20]);
    let earlier = round(&release.log, &three, NOW, &[20, 20, 20]);
    for settle in [0, 1, HOUR] {
        let limits = RoundLimits { settle: seconds(settle), ..limits() };
        assert!(confirm(&release, &three, &limits, Some(&earlier), &latest).is_err(), "{settle}");
    }
}

#[test]
fn largest_settle_time_does_not_wrap() {
    let (release, three) = (release(), peers(3));
    let forever = RoundLimits { settle: std::time::Duration::MAX, ..limits() };
    let earlier = round(&release.log, &three, Timestamp(0), &[20, 20, 20]);
    let latest = round(&release.log, &three, NOW, &[20, 20, 20]);
    assert_eq!(settling(confirm(&release, &three, &forever, Some(&earlier), &latest)), u64::MAX);
}

#[test]
fn refuses_when_a_peer_had_not_confirmed_settle_ago() {
    let (release, three) = (release(), peers(3));
    let latest = round(&release.log, &three, NOW, &[20, 20, 20]);
    for sizes in [&[20, 5, 20][..], &[20, 20], &[]] {
        let earlier = round(&release.log, &three, before(HOUR), sizes);
        let result = confirm(&release, &three, &limits(), Some(&earlier), &latest);
        assert_eq!(settling(result), NOW.0 + HOUR, "{sizes:?}");
    }
}

#[test]
fn refuses_when_a_peer_was_added_between_the_rounds() {
    let (release, three) = (release(), peers(3));
    let earlier = round(&release.log, &peers(2), before(HOUR), &[20, 20]);
    let latest = round(&release.log, &three, NOW, &[20, 20, 20]);
    let result = confirm(&release, &three, &limits(), Some(&earlier), &latest);
    assert_eq!(settling(result), NOW.0 + HOUR);
    // A latest round of fewer peers is incomplete.
    let fewer = round(&release.log, &peers(2), NOW, &[20, 20]);
    let result = confirm(&release, &three, &limits(), Some(&earlier), &fewer);
    assert_eq!(unconfirmed(result), [("peer-3".into(), Confirmation::NoValidAnswer)]);
}

#[test]
fn a_peer_with_a_new_key_is_a_new_peer() {
    let (release, three) = (release(), peers(3));
    let mut rekeyed: Vec<_> = three.iter().cloned().collect();
    rekeyed[1].key = crate::fixtures::cosigner("cosigner-2", 99).public();
    let rekeyed = PeerSet::new(rekeyed, 3).unwrap();
    let earlier = round(&release.log, &three, before(HOUR), &[20, 20, 20]);
    let latest = round(&release.log, &three, NOW, &[20, 20, 20]);
    let result = confirm(&release, &rekeyed, &limits(), Some(&earlier), &latest);
    assert_eq!(unconfirmed(result), [("peer-2".into(), Confirmation::NoValidAnswer)]);
}

#[test]
fn removed_peers_need_not_confirm() {
    let (release, two) = (release(), peers(2));
    let earlier = round(&release.log, &peers(3), before(HOUR), &[20, 20]);
    let latest = round(&release.log, &two, NOW, &[20, 20]);
    assert!(confirm(&release, &two, &limits(), Some(&earlier), &latest).is_ok());
}

#[test]
fn one_round_serves_as_both_if_settle_is_zero() {
    let (release, three) = (release(), peers(3));
    let now = RoundLimits { settle: seconds(0), ..limits() };
    let latest = round(&release.log, &three, NOW, &[20, 20, 20]);
    assert!(confirm(&release, &three, &now, Some(&latest), &latest).is_ok());
    assert_eq!(settling(confirm(&release, &three, &now, None, &latest)), NOW.0);
    let short = round(&release.log, &three, NOW, &[20, 20]);
    assert_eq!(unconfirmed(confirm(&release, &three, &now, Some(&short), &short)).len(), 1);
}

#[test]
fn peers_heads_link_to_the_head_of_the_inclusion_proof() {
    let (release, three) = (release(), peers(3));
    let earlier = round(&release.log, &three, before(HOUR), &[6, 6, 6]);
    let latest = round(&release.log, &three, NOW, &[6, 6, 6]);
    let elsewhere =
        [release.log.consistent_heads(19), release.log.forked_at(6).consistent_heads(20)];
    for heads in elsewhere {
        let result = logged(&release).confirm(&heads, &three, &limits(), Some(&earlier), &latest);
        assert!(is_not_logged(result));
    }
}

#[test]
fn confirmed_release_is_valid_for_round_ttl_and_not_past_its_expiry() {
    let (release, three) = (release(), peers(3));
    let rounds = |at: Timestamp| {
        let earlier = round(&release.log, &three, Timestamp(at.0 - HOUR), &[20, 20, 20]);
        (earlier, round(&release.log, &three, at, &[20, 20, 20]))
    };
    let (earlier, latest) = rounds(NOW);
    let confirmed = confirm(&release, &three, &limits(), Some(&earlier), &latest).unwrap();
    assert_eq!(confirmed.check_not_expired(NOW), Ok(()));
    assert_eq!(confirmed.check_not_expired(Timestamp(NOW.0 + 900)), Ok(()));
    let too_old = Err(Refusal::RoundTooOld { at: NOW });
    assert_eq!(confirmed.check_not_expired(Timestamp(NOW.0 + 901)), too_old);
    assert_eq!(confirmed.check_not_expired(Timestamp(u64::MAX)), too_old);

    let expires = manifest(2).expires;
    let (earlier, latest) = rounds(Timestamp(expires.0 - 100));
    let confirmed = confirm(&release, &three, &limits(), Some(&earlier), &latest).unwrap();
    assert_eq!(confirmed.check_not_expired(Timestamp(expires.0 - 1)), Ok(()));
    let expired = Err(Refusal::Expired { release: "2-1.2.0".into(), at: expires });
    assert_eq!(confirmed.check_not_expired(expires), expired);
}
