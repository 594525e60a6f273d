//! Claims about proof bundles, and about the proof files inside them.

use proptest::prelude::*;
use unanimity_protocol::decision::admission::RoundLimits;
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::proof_bundle::{BundleError, MAX_BUNDLE_BYTES, Proofs};
use unanimity_protocol::{
    ConfirmedRelease, CosignatureSigningKey, CosignedHead, Hash, PeerFailure, PeerSet, ProofBundle,
    Refusal, Round, Timestamp, TlogProof,
};

use crate::fixtures::{
    HOUR, LogWorld, NOW, Release, base64, cases, cosigner, cosigners, flips, limits, manifest,
    note, peer, peers, policy, publishers, released, round, seconds,
};

const EARLIER: Timestamp = Timestamp(NOW.0 - HOUR);
/// The sizes of the peers' heads in the two rounds.
const SIZES: [[usize; 3]; 2] = [[6, 7, 8], [8, 9, 11]];
const HEAD: usize = 11;

/// Entry 5 of 11 is the release.
fn release() -> Release {
    Release::new(5, HEAD)
}

fn proofs(release: &Release) -> Proofs {
    release.proofs(&[6, 7, 8, 9, HEAD])
}

fn confirmed(
    release: &Release,
    rounds: [&Round; 2],
    peers: &PeerSet,
    limits: &RoundLimits,
) -> ConfirmedRelease {
    let heads = release.log.consistent_heads(HEAD);
    let inclusion = release.log.inclusion(release.index, HEAD);
    unanimity_protocol::SignedRelease::verify(release.entry(), &policy(), 0, NOW)
        .and_then(|signed| signed.prove_inclusion(&heads, None, &inclusion))
        .and_then(|logged| logged.confirm(&heads, peers, limits, Some(rounds[0]), rounds[1]))
        .unwrap()
}

fn bundle() -> ProofBundle {
    let (release, three) = (release(), peers(3));
    let rounds = [(EARLIER, SIZES[0]), (NOW, SIZES[1])]
        .map(|(at, sizes)| round(&release.log, &three, at, &sizes));
    ProofBundle::from_confirmed(
        &confirmed(&release, [&rounds[0], &rounds[1]], &three, &limits()),
        &proofs(&release),
    )
}

/// Whether a text does not parse as a bundle, or does not verify.
fn is_refused(text: &str) -> bool {
    ProofBundle::parse(text).is_err() || verify(text).is_err()
}

fn verify(text: &str) -> Result<ConfirmedRelease, Refusal> {
    ProofBundle::parse(text).unwrap().verify(&policy(), &peers(3), &limits())
}

/// The text of a round in a bundle. It may be a round that the pipeline would refuse.
fn written(at: Timestamp, proofs: &[TlogProof]) -> String {
    let texts = proofs.iter().map(TlogProof::to_string);
    let texts: String = texts.map(|text| format!("cosigned-head {}\n{text}", text.len())).collect();
    format!("round {} {}\n{texts}", at.0, proofs.len())
}

fn proof(
    release: &Release,
    log: &LogWorld,
    secret: &CosignatureSigningKey,
    size: usize,
    at: Timestamp,
) -> TlogProof {
    let cosigned = CosignedHead::sign(&log.head(size), secret, at);
    TlogProof {
        index: release.index as u64,
        hashes: if release.index < size { log.inclusion(release.index, size) } else { vec![] },
        checkpoint: cosigned.note().to_owned(),
    }
}

fn head_proofs(release: &Release, at: Timestamp, sizes: &[usize]) -> Vec<TlogProof> {
    let secrets = cosigners(sizes.len() as u8);
    secrets
        .iter()
        .zip(sizes)
        .map(|(secret, &size)| proof(release, &release.log, secret, size, at))
        .collect()
}

fn good_rounds() -> [String; 2] {
    let release = release();
    [
        written(EARLIER, &head_proofs(&release, EARLIER, &SIZES[0])),
        written(NOW, &head_proofs(&release, NOW, &SIZES[1])),
    ]
}

/// The good bundle with other rounds.
fn with_rounds(earlier: &str, latest: &str) -> String {
    let text = bundle().to_string();
    let (before, _) = text.split_once("round ").unwrap();
    format!("{before}{earlier}{latest}")
}

fn unconfirmed(result: Result<ConfirmedRelease, Refusal>) -> Vec<(String, Confirmation)> {
    match result {
        Err(Refusal::Incomplete(unconfirmed)) => {
            unconfirmed.into_iter().map(|m| (m.peer.to_string(), m.confirmation)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn does_not_prove(result: &Result<ConfirmedRelease, Refusal>) -> bool {
    matches!(result, Err(Refusal::Bundle(_)))
}

#[test]
fn bundle_alone_confirms_its_release_again() {
    let text = bundle().to_string();
    assert_eq!(ProofBundle::parse(&text), Ok(bundle()));
    let again = verify(&text).unwrap();
    assert_eq!(*again.manifest(), manifest(2));
    assert_eq!((again.log_entry().index, &again.log_entry().note), (5, &release().note));
    assert_eq!(*again.head(), release().log.head(HEAD));
    assert_eq!(again.rounds().map(Round::closed_at), [EARLIER, NOW]);
    assert_eq!(ProofBundle::from_confirmed(&again, &proofs(&release())).to_string(), text);
    // The texts that the tests below make by hand are equal.
    let [earlier, latest] = good_rounds();
    assert_eq!(with_rounds(&earlier, &latest), text);
    let release = release();
    assert_eq!(by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &earlier + &latest, text);
}

#[test]
fn changed_byte_is_refused_unless_it_is_in_the_time_of_a_round() {
    // One peer and small trees: every signature is checked for every byte.
    let (release, one) = (Release::new(1, 4), peers(1));
    let rounds = [(EARLIER, 2), (NOW, 3)].map(|(at, size)| round(&release.log, &one, at, &[size]));
    let heads = release.log.consistent_heads(4);
    let confirmed = unanimity_protocol::SignedRelease::verify(release.entry(), &policy(), 0, NOW)
        .and_then(|signed| signed.prove_inclusion(&heads, None, &release.log.inclusion(1, 4)))
        .and_then(|logged| logged.confirm(&heads, &one, &limits(), Some(&rounds[0]), &rounds[1]))
        .unwrap();
    let text = ProofBundle::from_confirmed(&confirmed, &release.proofs(&[2, 3, 4])).to_string();
    let times: Vec<_> = text.match_indices("\nround ").map(|(at, _)| at + 7..at + 17).collect();
    let head_proofs = |confirmed: &ConfirmedRelease| -> Vec<String> {
        confirmed
            .rounds()
            .iter()
            .flat_map(|round| round.cosigned_heads())
            .map(|cosigned| cosigned.note().into())
            .collect()
    };
    let open = |text: &str| ProofBundle::parse(text).ok()?.verify(&policy(), &one, &limits()).ok();
    assert!(open(&text).is_some());
    for (at, flipped) in flips(text.as_bytes()) {
        let Some(opened) = String::from_utf8(flipped).ok().and_then(|text| open(&text)) else {
            continue;
        };
        // The time of a round is unsigned. The times of its cosignatures bound it.
        assert!(times.iter().any(|time| time.contains(&at)), "byte {at}");
        assert_eq!(opened.manifest(), confirmed.manifest());
        assert_eq!((opened.log_entry().index, &opened.log_entry().note), (1, &release.note));
        assert_eq!(
            (opened.head(), opened.head().note()),
            (confirmed.head(), confirmed.head().note())
        );
        assert_eq!(head_proofs(&opened), head_proofs(&confirmed));
        for round in opened.rounds() {
            for cosigned in round.cosigned_heads() {
                assert!(limits().admit(cosigned.clone(), round.closed_at(), 0).is_ok());
            }
        }
    }
    for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
        assert!(ProofBundle::parse(&text[..length]).is_err(), "cut at {length}");
    }
    for longer in [format!("{text}\n"), format!("{text}x"), format!("\n{text}")] {
        assert!(ProofBundle::parse(&longer).is_err());
    }
}

#[test]
fn bundle_without_the_head_of_one_peer_is_incomplete() {
    let release = release();
    let [earlier, latest] = good_rounds();
    for absent in 0..3 {
        let mut rest = head_proofs(&release, NOW, &SIZES[1]);
        rest.remove(absent);
        let result = verify(&with_rounds(&earlier, &written(NOW, &rest)));
        assert_eq!(
            unconfirmed(result),
            [(format!("peer-{}", absent + 1), Confirmation::NoValidAnswer)]
        );
        let mut rest = head_proofs(&release, EARLIER, &SIZES[0]);
        rest.remove(absent);
        let result = verify(&with_rounds(&written(EARLIER, &rest), &latest));
        assert!(matches!(result, Err(Refusal::Settling { .. })));
    }
    let empty = verify(&with_rounds(&written(EARLIER, &[]), &written(NOW, &[])));
    assert_eq!(unconfirmed(empty).len(), 3);
}

#[test]
fn two_heads_of_one_peer_in_one_round_are_refused() {
    let release = release();
    let [earlier, _] = good_rounds();
    let all = head_proofs(&release, NOW, &SIZES[1]);
    let twice = [all[0].clone(), all[1].clone(), all[1].clone()];
    assert!(does_not_prove(&verify(&with_rounds(&earlier, &written(NOW, &twice)))));
    // Two different heads of one peer are refused, too, also beside the heads of all other peers.
    let two =
        [all[0].clone(), all[1].clone(), proof(&release, &release.log, &cosigners(2)[1], 8, NOW)];
    assert!(does_not_prove(&verify(&with_rounds(&earlier, &written(NOW, &two)))));
    let four = [&all[..], &all[..1]].concat();
    assert!(does_not_prove(&verify(&with_rounds(&earlier, &written(NOW, &four)))));
}

#[test]
fn heads_of_unlisted_cosigners_count_for_no_peer() {
    let release = release();
    let [earlier, latest] = good_rounds();
    let stranger = proof(&release, &release.log, &cosigner("cosigner-4", 54), 8, NOW);
    let mut replaced = head_proofs(&release, NOW, &SIZES[1]);
    replaced[1] = stranger.clone();
    let result = verify(&with_rounds(&earlier, &written(NOW, &replaced)));
    assert_eq!(unconfirmed(result), [("peer-2".into(), Confirmation::NoValidAnswer)]);
    // A cosigner with the peer's name and another key.
    replaced[1] = proof(&release, &release.log, &cosigner("cosigner-2", 99), 8, NOW);
    let result = verify(&with_rounds(&earlier, &written(NOW, &replaced)));
    assert_eq!(unconfirmed(result), [("peer-2".into(), Confirmation::NoValidAnswer)]);
    // Beside the heads of all peers, the head of an unlisted cosigner does no harm.
    let mut more = head_proofs(&release, NOW, &SIZES[1]);
    more.push(stranger);
    assert!(verify(&with_rounds(&earlier, &written(NOW, &more))).is_ok());
    assert!(verify(&with_rounds(&earlier, &latest)).is_ok());
}

#[test]
fn bundle_of_other_peers_is_incomplete() {
    let text = bundle();
    let refused = text.verify(&policy(), &peers(4), &limits());
    assert_eq!(unconfirmed(refused), [("peer-4".into(), Confirmation::NoValidAnswer)]);
    assert!(text.verify(&policy(), &peers(2), &limits()).is_ok(), "two of the three are listed");
    let others = PeerSet::new(vec![peer(4)], 1).unwrap();
    assert_eq!(unconfirmed(text.verify(&policy(), &others, &limits())).len(), 1);
}

#[test]
fn earlier_round_comes_first() {
    let release = release();
    let [earlier, latest] =
        [EARLIER, NOW].map(|at| written(at, &head_proofs(&release, at, &SIZES[1])));
    assert!(verify(&with_rounds(&earlier, &latest)).is_ok());
    let result = verify(&with_rounds(&latest, &earlier));
    assert!(matches!(result, Err(Refusal::Settling { .. })), "{result:?}");
}

#[test]
fn rounds_are_settle_apart() {
    let (release, [_, latest]) = (release(), good_rounds());
    let after = |wait| {
        let at = Timestamp(NOW.0 - wait);
        verify(&with_rounds(&written(at, &head_proofs(&release, at, &SIZES[0])), &latest))
    };
    assert!(after(HOUR).is_ok());
    assert!(matches!(after(HOUR - 1), Err(Refusal::Settling { .. })));
    assert!(matches!(verify(&with_rounds(&latest, &latest)), Err(Refusal::Settling { .. })));
    // The limits of the verifier decide.
    let stricter = RoundLimits { settle: seconds(HOUR + 1), ..limits() };
    assert!(bundle().verify(&policy(), &peers(3), &stricter).is_err());
}

#[test]
fn round_cannot_claim_another_time_than_its_cosignatures() {
    let release = release();
    let [earlier, latest] = good_rounds();
    // Heads cosigned now, in a round that claims to be an hour old.
    let backdated = written(EARLIER, &head_proofs(&release, NOW, &SIZES[0]));
    assert!(matches!(verify(&with_rounds(&backdated, &latest)), Err(Refusal::Settling { .. })));
    // Heads cosigned an hour ago, in a round that claims to be new.
    let stale = written(NOW, &head_proofs(&release, EARLIER, &SIZES[1]));
    assert_eq!(unconfirmed(verify(&with_rounds(&earlier, &stale))).len(), 3);
    // One stale head among fresh ones.
    let mut mixed = head_proofs(&release, NOW, &SIZES[1]);
    mixed[2] = proof(&release, &release.log, &cosigners(3)[2], HEAD, Timestamp(NOW.0 - 901));
    let result = verify(&with_rounds(&earlier, &written(NOW, &mixed)));
    assert_eq!(unconfirmed(result), [("peer-3".into(), Confirmation::NoValidAnswer)]);
    // Fresh enough, but less than `settle` after the peer's cosignature in the earlier round.
    mixed[2] = proof(&release, &release.log, &cosigners(3)[2], HEAD, Timestamp(NOW.0 - 900));
    let result = verify(&with_rounds(&earlier, &written(NOW, &mixed)));
    assert!(matches!(result, Err(Refusal::Settling { .. })), "{result:?}");
}

#[test]
fn one_set_of_cosignatures_is_not_two_rounds_whatever_their_times() {
    let release = release();
    let once = head_proofs(&release, NOW, &SIZES[1]);
    let limits = RoundLimits { settle: seconds(16 * 60), ..limits() };
    // As far apart as the ages of cosignatures allow: 60 s ahead of the clock, 15 min old.
    let (early, late) = (Timestamp(NOW.0 - 60), Timestamp(NOW.0 + 900));
    let result = with_rounds(&written(early, &once), &written(late, &once));
    let result = ProofBundle::parse(&result).unwrap().verify(&policy(), &peers(3), &limits);
    assert!(matches!(result, Err(Refusal::Settling { .. })), "{result:?}");
}

#[test]
fn head_smaller_than_the_peers_earlier_head_does_not_count() {
    let release = release();
    let earlier = written(EARLIER, &head_proofs(&release, EARLIER, &[6, 8, 8]));
    let latest = written(NOW, &head_proofs(&release, NOW, &[8, 7, 8]));
    match verify(&with_rounds(&earlier, &latest)) {
        Err(Refusal::Incomplete(unconfirmed)) => {
            assert_eq!(unconfirmed.len(), 1);
            assert_eq!(unconfirmed[0].failure, Some(PeerFailure::Regressed { size: 7, before: 8 }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn release_that_expired_by_the_latest_round_is_refused() {
    let mut release = release();
    let mut short = manifest(2);
    short.expires = NOW;
    release.note = released(&short.to_string());
    release.log.leaves[5] = Hash::leaf(release.note.to_string().as_bytes());
    let text = |at: u64| {
        let (earlier, latest) = (Timestamp(at - HOUR), Timestamp(at));
        let rounds = written(earlier, &head_proofs(&release, earlier, &SIZES[0]))
            + &written(latest, &head_proofs(&release, latest, &SIZES[1]));
        by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &rounds
    };
    assert!(verify(&text(NOW.0 - 1)).is_ok());
    assert!(matches!(verify(&text(NOW.0)), Err(Refusal::Expired { .. })));
}

/// The text of a bundle before its rounds.
fn by_hand(release: &Release, index: u64, inclusion: &[Hash]) -> String {
    let manifest = release.note.to_string();
    let head = release.log.head(HEAD);
    let lines =
        |hashes: &[Hash]| -> String { hashes.iter().map(|hash| hash.base64() + "\n").collect() };
    let paths: String = [6, 7, 8, 9]
        .map(|size| {
            let path = release.log.path(size, HEAD);
            format!("path {size} {}\n{}", path.len(), lines(&path))
        })
        .concat();
    format!(
        "unanimity/bundle/v1\nmanifest {index} {}\n{manifest}head {}\n{}inclusion {}\n{}{paths}",
        manifest.len(),
        head.note().len(),
        head.note(),
        inclusion.len(),
        lines(inclusion),
    )
}

#[test]
fn bundle_with_another_index_is_refused() {
    let text = bundle().to_string();
    for index in ["4", "6", "11", "18446744073709551615"] {
        assert!(is_refused(&text.replacen("manifest 5 ", &format!("manifest {index} "), 1)));
        // The cosigned heads have that index, too.
        let everywhere = text
            .replacen("manifest 5 ", &format!("manifest {index} "), 1)
            .replace("\nindex 5\n", &format!("\nindex {index}\n"));
        assert!(is_refused(&everywhere));
    }
    let one_view = text.replacen("\nindex 5\n", "\nindex 4\n", 1);
    assert!(does_not_prove(&verify(&one_view)));
}

#[test]
fn release_of_too_few_keys_or_another_product_is_refused() {
    let [a, ..] = publishers();
    let with = |note| {
        let mut release = release();
        release.note = note;
        release.log.leaves[5] = Hash::leaf(release.note.to_string().as_bytes());
        let rounds = written(EARLIER, &head_proofs(&release, EARLIER, &SIZES[0]))
            + &written(NOW, &head_proofs(&release, NOW, &SIZES[1]));
        verify(&(by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &rounds))
    };
    assert!(with(released(&manifest(2).to_string())).is_ok());
    let weak = with(note(&manifest(2).to_string(), &[&a]));
    assert!(matches!(weak, Err(Refusal::Threshold { signed: 1, threshold: 2 })));
    let mut other = manifest(2);
    other.product = "other".parse().unwrap();
    assert!(matches!(with(released(&other.to_string())), Err(Refusal::OtherProduct { .. })));
    assert!(matches!(with(released("hello\n")), Err(Refusal::Malformed(_))));
}

#[test]
fn cosigned_head_without_a_path_to_the_head_is_refused() {
    let release = release();
    for absent in [6, 7, 8, 9] {
        let mut proofs = proofs(&release);
        assert!(proofs.paths.remove(&absent).is_some());
        let rounds = verify(&bundle().to_string()).unwrap();
        let text = ProofBundle::from_confirmed(&rounds, &proofs).to_string();
        assert!(does_not_prove(&verify(&text)), "without the path from {absent}");
    }
    let none =
        ProofBundle::from_confirmed(&verify(&bundle().to_string()).unwrap(), &Proofs::default())
            .to_string();
    assert!(verify(&none).is_err());
}

#[test]
fn cosigned_head_larger_than_the_head_is_refused() {
    let release = Release::new(5, 13);
    let rounds = written(EARLIER, &head_proofs(&release, EARLIER, &SIZES[0]))
        + &written(NOW, &head_proofs(&release, NOW, &[8, 9, 12]));
    let text = by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &rounds;
    assert!(does_not_prove(&verify(&text)));
}

#[test]
fn cosigned_head_without_the_release_is_refused() {
    let (release, [earlier, _]) = (release(), good_rounds());
    let mut behind = head_proofs(&release, NOW, &SIZES[1]);
    behind[1] = proof(&release, &release.log, &cosigners(2)[1], 5, NOW);
    assert!(does_not_prove(&verify(&with_rounds(&earlier, &written(NOW, &behind)))));
    let mut wrong = head_proofs(&release, NOW, &SIZES[1]);
    wrong[1].hashes[0].0[0] ^= 1;
    assert!(does_not_prove(&verify(&with_rounds(&earlier, &written(NOW, &wrong)))));
}

#[test]
fn cosigned_head_proves_the_entry_of_the_bundle() {
    // One release, logged twice, and a proof of the other entry.
    let mut release = release();
    release.log.leaves[4] = release.log.leaves[5];
    let mut latest = head_proofs(&release, NOW, &SIZES[1]);
    let text = |latest: &[TlogProof]| {
        let earlier = written(EARLIER, &head_proofs(&release, EARLIER, &SIZES[0]));
        by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &earlier + &written(NOW, latest)
    };
    assert!(verify(&text(&latest)).is_ok());
    latest[1].index = 4;
    latest[1].hashes = release.log.inclusion(4, SIZES[1][1]);
    assert!(does_not_prove(&verify(&text(&latest))));
}

#[test]
fn cosigned_head_of_another_history_is_a_fork() {
    let (release, [earlier, _]) = (release(), good_rounds());
    for size in [8, 9, HEAD] {
        let fork = release.log.forked_at(6);
        let mut forked = head_proofs(&release, NOW, &SIZES[1]);
        forked[1] = proof(&release, &fork, &cosigners(2)[1], size, NOW);
        let result = verify(&with_rounds(&earlier, &written(NOW, &forked)));
        let Err(Refusal::Fork(evidence)) = result else { panic!("{result:?}") };
        assert!([evidence.smaller(), evidence.larger()].contains(&&fork.head(size)));
    }
}

#[test]
fn bundle_of_another_log_is_refused() {
    let mut other = policy();
    other.log.key = crate::fixtures::secret("log-key", 101).public();
    assert!(does_not_prove(&bundle().verify(&other, &peers(3), &limits())));
    let mut other = policy();
    other.log.origin = "example.org/other".parse().unwrap();
    let result = bundle().verify(&other, &peers(3), &limits());
    assert!(matches!(result, Err(Refusal::OtherLog(_))), "{result:?}");
}

#[test]
fn numbers_of_a_bundle_are_bounded_and_have_one_spelling() {
    let text = bundle().to_string();
    let manifest = release().note.to_string().len();
    for (word, right) in [
        ("manifest 5 ", manifest),
        ("inclusion ", 4),
        ("path 6 ", release().log.path(6, HEAD).len()),
    ] {
        let good = format!("{word}{right}\n");
        assert!(text.contains(&good), "{good}");
        for number in [
            "0",
            "00",
            "-1",
            "+1",
            "",
            " ",
            "1e3",
            "65536",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            assert!(
                is_refused(&text.replacen(&good, &format!("{word}{number}\n"), 1)),
                "{word}{number}"
            );
        }
        for other in
            [format!("{word}0{right}\n"), format!("{word}{right} \n"), format!("{word} {right}\n")]
        {
            assert!(matches!(
                ProofBundle::parse(&text.replacen(&good, &other, 1)),
                Err(BundleError::Form(_))
            ));
        }
    }
    for count in [2, 4, 256, 257, u64::MAX] {
        let wrong =
            text.replacen(&format!("round {} 3", NOW.0), &format!("round {} {count}", NOW.0), 1);
        assert!(matches!(ProofBundle::parse(&wrong), Err(BundleError::Form(_))), "{count}");
    }
    let huge = text + &"x".repeat(MAX_BUNDLE_BYTES);
    assert_eq!(ProofBundle::parse(&huge), Err(BundleError::TooLong));
}

#[test]
fn paths_are_in_ascending_order() {
    let text = bundle().to_string();
    let (six, seven) = (text.find("path 6 ").unwrap(), text.find("path 7 ").unwrap());
    let eight = text.find("path 8 ").unwrap();
    let (head, tail) = (&text[..six], &text[eight..]);
    let (first, second) = (&text[six..seven], &text[seven..eight]);
    assert!(ProofBundle::parse(&format!("{head}{second}{first}{tail}")).is_err());
    assert!(ProofBundle::parse(&format!("{head}{first}{first}{second}{tail}")).is_err());
    assert!(ProofBundle::parse(&format!("{head}{first}{second}{tail}")).is_ok());
}

#[test]
fn bundle_holds_one_round_twice_if_settle_is_zero() {
    let (release, three) = (release(), peers(3));
    let now = RoundLimits { settle: seconds(0), ..limits() };
    let latest = round(&release.log, &three, NOW, &SIZES[1]);
    let confirmed = confirmed(&release, [&latest, &latest], &three, &now);
    let text = ProofBundle::from_confirmed(&confirmed, &proofs(&release)).to_string();
    assert!(ProofBundle::parse(&text).unwrap().verify(&policy(), &three, &now).is_ok());
    assert!(ProofBundle::parse(&text).unwrap().verify(&policy(), &three, &limits()).is_err());
}

/// The proof file of the release in the second peer's head.
fn proof_file() -> (Release, TlogProof) {
    let release = release();
    let proof = proof(&release, &release.log, &cosigners(2)[1], 9, NOW);
    (release, proof)
}

fn holds(release: &Release, text: &str) -> Option<(TlogProof, CosignedHead)> {
    let proof = TlogProof::parse(text).ok()?;
    let cosigned =
        CosignedHead::verify(proof.checkpoint.as_bytes(), &release.log.log(), &peer(2).key).ok()?;
    let leaf = Hash::leaf(release.note.to_string().as_bytes());
    proof.verify(&leaf, cosigned.head()).then_some((proof, cosigned))
}

#[test]
fn proof_file_has_the_form_of_c2sp_tlog_proof() {
    let (release, proof) = proof_file();
    let hashes: String =
        release.log.inclusion(5, 9).iter().map(|hash| hash.base64() + "\n").collect();
    let golden = format!("c2sp.org/tlog-proof@v1\nindex 5\n{hashes}\n{}", proof.checkpoint);
    assert_eq!(proof.to_string(), golden);
    assert_eq!(TlogProof::parse(&golden), Ok(proof.clone()));
    assert!(holds(&release, &golden).is_some());
    let extra = golden.replacen("index", &format!("extra {}\nindex", base64(b"anything")), 1);
    assert_eq!(TlogProof::parse(&extra), Ok(proof), "an extra line is ignored");
}

#[test]
fn changed_byte_of_a_proof_file_is_refused_unless_it_is_extra() {
    let (release, proof) = proof_file();
    let text =
        proof.to_string().replacen("index", &format!("extra {}\nindex", base64(b"anything")), 1);
    let extra = text.find("extra ").unwrap() + 6..text.find("\nindex").unwrap();
    for (at, flipped) in flips(text.as_bytes()) {
        let Some((opened, _)) =
            String::from_utf8(flipped).ok().and_then(|text| holds(&release, &text))
        else {
            continue;
        };
        assert!(extra.contains(&at), "byte {at}");
        assert_eq!(opened, proof);
    }
    for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
        assert!(holds(&release, &text[..length]).is_none(), "cut at {length}");
    }
}

#[test]
fn malformed_proof_file_is_refused() {
    let (_, proof) = proof_file();
    let good = proof.to_string();
    let hash = format!("{}\n", proof.hashes[0].base64());
    let wrong = [
        String::new(),
        good.replacen("@v1", "@v2", 1),
        good.replacen("index 5\n", "", 1),
        good.replacen("index 5", "index 05", 1),
        good.replacen("index 5", "index -5", 1),
        good.replacen("index 5", "index 18446744073709551616", 1),
        good.replacen("index 5", "index  5", 1),
        good.replacen("index 5", "extra\nindex 5", 1),
        good.replacen("index 5", "extra ?\nindex 5", 1),
        good.replacen("index 5", "extra AA==\nextra AA==\nindex 5", 1),
        good.replacen("index 5\n", "index 5\nextra AA==\n", 1),
        good.replacen(&hash, &hash[1..], 1),
        good.replacen(&hash, &hash.repeat(64), 1),
        good.split_once("\n\n").unwrap().0.to_owned() + "\n",
        good.split_once("\n\n").unwrap().0.to_owned() + "\n\n",
    ];
    for text in wrong {
        assert!(TlogProof::parse(&text).is_err(), "{text}");
    }
    let full = TlogProof { hashes: vec![proof.hashes[0]; 65], ..proof.clone() };
    assert_eq!(TlogProof::parse(&full.to_string()), Ok(full));
    let over = TlogProof { hashes: vec![proof.hashes[0]; 66], ..proof };
    assert!(TlogProof::parse(&over.to_string()).is_err());
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn parsed_bundle_prints_back_to_its_bytes(at in any::<usize>(), byte in prop_oneof![0x20u8..0x7f, Just(b'\n')]) {
        let mut text = bundle().to_string().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) && let Ok(bundle) = ProofBundle::parse(&text) {
            prop_assert_eq!(bundle.to_string(), text);
        }
    }
}
