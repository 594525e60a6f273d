//! Proof bundles, and the proof files inside them: they convince without a network, or not at all.

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
    note, peer, peers, policy, publishers, released, roll, seconds,
};

const EARLIER: Timestamp = Timestamp(NOW.0 - HOUR);
/// The peers' sizes in the two rolls, and the head's.
const SIZES: [[usize; 3]; 2] = [[6, 7, 8], [8, 9, 11]];
const HEAD: usize = 11;

/// Entry 5 of 11 is the release.
fn release() -> Release {
    Release::new(5, HEAD)
}

fn proofs(release: &Release) -> Proofs {
    release.proofs(&[6, 7, 8, 9, HEAD])
}

fn agreed(
    release: &Release,
    rolls: [&Round; 2],
    peers: &PeerSet,
    limits: &RoundLimits,
) -> ConfirmedRelease {
    let chain = release.log.chain(HEAD);
    let inclusion = release.log.inclusion(release.index, HEAD);
    unanimity_protocol::SignedRelease::verify(release.fetched(), &policy(), 0, NOW)
        .and_then(|signed| signed.prove_inclusion(&chain, None, &inclusion))
        .and_then(|logged| logged.confirm(&chain, peers, limits, Some(rolls[0]), rolls[1]))
        .unwrap()
}

fn bundle() -> ProofBundle {
    let (release, three) = (release(), peers(3));
    let rolls = [(EARLIER, SIZES[0]), (NOW, SIZES[1])]
        .map(|(at, sizes)| roll(&release.log, &three, at, &sizes));
    ProofBundle::from_confirmed(
        &agreed(&release, [&rolls[0], &rolls[1]], &three, &limits()),
        &proofs(&release),
    )
}

/// Whether a text is no bundle, or proves nothing.
fn is_refused(text: &str) -> bool {
    ProofBundle::parse(text).is_err() || verify(text).is_err()
}

fn verify(text: &str) -> Result<ConfirmedRelease, Refusal> {
    ProofBundle::parse(text).unwrap().verify(&policy(), &peers(3), &limits())
}

/// A roll as a bundle writes it; what the pipeline would refuse can be written too.
fn written(at: Timestamp, proofs: &[TlogProof]) -> String {
    let views = proofs.iter().map(TlogProof::to_string);
    let views: String = views.map(|view| format!("view {}\n{view}", view.len())).collect();
    format!("roll {} {}\n{views}", at.0, proofs.len())
}

fn proof(
    release: &Release,
    log: &LogWorld,
    secret: &CosignatureSigningKey,
    size: usize,
    at: Timestamp,
) -> TlogProof {
    let view = CosignedHead::sign(&log.head(size), secret, at);
    TlogProof {
        index: release.index as u64,
        hashes: if release.index < size { log.inclusion(release.index, size) } else { vec![] },
        checkpoint: view.note().to_owned(),
    }
}

fn views(release: &Release, at: Timestamp, sizes: &[usize]) -> Vec<TlogProof> {
    let secrets = cosigners(sizes.len() as u8);
    secrets
        .iter()
        .zip(sizes)
        .map(|(secret, &size)| proof(release, &release.log, secret, size, at))
        .collect()
}

fn good_rolls() -> [String; 2] {
    let release = release();
    [
        written(EARLIER, &views(&release, EARLIER, &SIZES[0])),
        written(NOW, &views(&release, NOW, &SIZES[1])),
    ]
}

/// The good bundle with other rolls.
fn with_rolls(earlier: &str, latest: &str) -> String {
    let text = bundle().to_string();
    let (before, _) = text.split_once("roll ").unwrap();
    format!("{before}{earlier}{latest}")
}

fn missing(result: Result<ConfirmedRelease, Refusal>) -> Vec<(String, Confirmation)> {
    match result {
        Err(Refusal::Incomplete(missing)) => {
            missing.into_iter().map(|m| (m.peer.to_string(), m.confirmation)).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn does_not_prove(result: &Result<ConfirmedRelease, Refusal>) -> bool {
    matches!(result, Err(Refusal::Bundle(_)))
}

#[test]
fn what_was_agreed_on_is_agreed_on_again_from_the_bundle_alone() {
    let text = bundle().to_string();
    assert_eq!(ProofBundle::parse(&text), Ok(bundle()));
    let again = verify(&text).unwrap();
    assert_eq!(*again.manifest(), manifest(2));
    assert_eq!((again.log_entry().index, &again.log_entry().note), (5, &release().note));
    assert_eq!(*again.head(), release().log.head(HEAD));
    assert_eq!(again.rounds().map(Round::closed_at), [EARLIER, NOW]);
    assert_eq!(ProofBundle::from_confirmed(&again, &proofs(&release())).to_string(), text);
    // The tests below write rolls by hand: they write the same.
    let [earlier, latest] = good_rolls();
    assert_eq!(with_rolls(&earlier, &latest), text);
    let release = release();
    assert_eq!(by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &earlier + &latest, text);
}

#[test]
fn a_changed_byte_is_refused_or_changes_nothing_but_when_a_roll_was_closed() {
    // One peer and small trees: every signature is checked for every byte.
    let (release, one) = (Release::new(1, 4), peers(1));
    let rolls = [(EARLIER, 2), (NOW, 3)].map(|(at, size)| roll(&release.log, &one, at, &[size]));
    let chain = release.log.chain(4);
    let agreed = unanimity_protocol::SignedRelease::verify(release.fetched(), &policy(), 0, NOW)
        .and_then(|signed| signed.prove_inclusion(&chain, None, &release.log.inclusion(1, 4)))
        .and_then(|logged| logged.confirm(&chain, &one, &limits(), Some(&rolls[0]), &rolls[1]))
        .unwrap();
    let text = ProofBundle::from_confirmed(&agreed, &release.proofs(&[2, 3, 4])).to_string();
    let times: Vec<_> = text.match_indices("\nroll ").map(|(at, _)| at + 6..at + 16).collect();
    let views = |agreed: &ConfirmedRelease| -> Vec<String> {
        agreed
            .rounds()
            .iter()
            .flat_map(|roll| roll.cosigned_heads())
            .map(|view| view.note().into())
            .collect()
    };
    let open = |text: &str| ProofBundle::parse(text).ok()?.verify(&policy(), &one, &limits()).ok();
    assert!(open(&text).is_some());
    for (at, flipped) in flips(text.as_bytes()) {
        let Some(opened) = String::from_utf8(flipped).ok().and_then(|text| open(&text)) else {
            continue;
        };
        // Nobody signs when a roll was closed; the views' own times bound it.
        assert!(times.iter().any(|time| time.contains(&at)), "byte {at}");
        assert_eq!(opened.manifest(), agreed.manifest());
        assert_eq!((opened.log_entry().index, &opened.log_entry().note), (1, &release.note));
        assert_eq!((opened.head(), opened.head().note()), (agreed.head(), agreed.head().note()));
        assert_eq!(views(&opened), views(&agreed));
        for roll in opened.rounds() {
            for view in roll.cosigned_heads() {
                assert!(limits().admit(view.clone(), roll.closed_at(), 0).is_ok());
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
fn a_bundle_without_one_peers_view_is_incomplete() {
    let release = release();
    let [earlier, latest] = good_rolls();
    for absent in 0..3 {
        let mut rest = views(&release, NOW, &SIZES[1]);
        rest.remove(absent);
        let result = verify(&with_rolls(&earlier, &written(NOW, &rest)));
        assert_eq!(
            missing(result),
            [(format!("peer-{}", absent + 1), Confirmation::NoValidAnswer)]
        );
        let mut rest = views(&release, EARLIER, &SIZES[0]);
        rest.remove(absent);
        let result = verify(&with_rolls(&written(EARLIER, &rest), &latest));
        assert!(matches!(result, Err(Refusal::Settling { .. })));
    }
    let nobody = verify(&with_rolls(&written(EARLIER, &[]), &written(NOW, &[])));
    assert_eq!(missing(nobody).len(), 3);
}

#[test]
fn one_view_twice_does_not_stand_for_two() {
    let release = release();
    let [earlier, _] = good_rolls();
    let all = views(&release, NOW, &SIZES[1]);
    let twice = [all[0].clone(), all[1].clone(), all[1].clone()];
    assert!(does_not_prove(&verify(&with_rolls(&earlier, &written(NOW, &twice)))));
    // Nor do two different views of one peer, nor two beside all the others.
    let two =
        [all[0].clone(), all[1].clone(), proof(&release, &release.log, &cosigners(2)[1], 8, NOW)];
    assert!(does_not_prove(&verify(&with_rolls(&earlier, &written(NOW, &two)))));
    let four = [&all[..], &all[..1]].concat();
    assert!(does_not_prove(&verify(&with_rolls(&earlier, &written(NOW, &four)))));
}

#[test]
fn views_of_strangers_count_for_nobody() {
    let release = release();
    let [earlier, latest] = good_rolls();
    let stranger = proof(&release, &release.log, &cosigner("cosigner-4", 54), 8, NOW);
    let mut replaced = views(&release, NOW, &SIZES[1]);
    replaced[1] = stranger.clone();
    let result = verify(&with_rolls(&earlier, &written(NOW, &replaced)));
    assert_eq!(missing(result), [("peer-2".into(), Confirmation::NoValidAnswer)]);
    // The same name with another key.
    replaced[1] = proof(&release, &release.log, &cosigner("cosigner-2", 99), 8, NOW);
    let result = verify(&with_rolls(&earlier, &written(NOW, &replaced)));
    assert_eq!(missing(result), [("peer-2".into(), Confirmation::NoValidAnswer)]);
    // Beside all the others it does no harm.
    let mut more = views(&release, NOW, &SIZES[1]);
    more.push(stranger);
    assert!(verify(&with_rolls(&earlier, &written(NOW, &more))).is_ok());
    assert!(verify(&with_rolls(&earlier, &latest)).is_ok());
}

#[test]
fn other_peers_than_ours_are_not_enough() {
    let text = bundle();
    let refused = text.verify(&policy(), &peers(4), &limits());
    assert_eq!(missing(refused), [("peer-4".into(), Confirmation::NoValidAnswer)]);
    assert!(text.verify(&policy(), &peers(2), &limits()).is_ok(), "some of them are ours");
    let others = PeerSet::new(vec![peer(4)], 1).unwrap();
    assert_eq!(missing(text.verify(&policy(), &others, &limits())).len(), 1);
}

#[test]
fn the_earlier_roll_comes_first() {
    let release = release();
    let [earlier, latest] = [EARLIER, NOW].map(|at| written(at, &views(&release, at, &SIZES[1])));
    assert!(verify(&with_rolls(&earlier, &latest)).is_ok());
    let result = verify(&with_rolls(&latest, &earlier));
    assert!(matches!(result, Err(Refusal::Settling { .. })), "{result:?}");
}

#[test]
fn the_rolls_are_settle_apart() {
    let (release, [_, latest]) = (release(), good_rolls());
    let after = |wait| {
        let at = Timestamp(NOW.0 - wait);
        verify(&with_rolls(&written(at, &views(&release, at, &SIZES[0])), &latest))
    };
    assert!(after(HOUR).is_ok());
    assert!(matches!(after(HOUR - 1), Err(Refusal::Settling { .. })));
    assert!(matches!(verify(&with_rolls(&latest, &latest)), Err(Refusal::Settling { .. })));
    // The reader's limits decide, not the writer's.
    let stricter = RoundLimits { settle: seconds(HOUR + 1), ..limits() };
    assert!(bundle().verify(&policy(), &peers(3), &stricter).is_err());
}

#[test]
fn a_roll_cannot_be_said_to_be_of_another_time_than_its_views() {
    let release = release();
    let [earlier, latest] = good_rolls();
    // Views cosigned now, in a roll that claims to be an hour old.
    let backdated = written(EARLIER, &views(&release, NOW, &SIZES[0]));
    assert!(matches!(verify(&with_rolls(&backdated, &latest)), Err(Refusal::Settling { .. })));
    // Views cosigned an hour ago, in a roll that claims to be new.
    let stale = written(NOW, &views(&release, EARLIER, &SIZES[1]));
    assert_eq!(missing(verify(&with_rolls(&earlier, &stale))).len(), 3);
    // One stale view among fresh ones.
    let mut mixed = views(&release, NOW, &SIZES[1]);
    mixed[2] = proof(&release, &release.log, &cosigners(3)[2], HEAD, Timestamp(NOW.0 - 901));
    let result = verify(&with_rolls(&earlier, &written(NOW, &mixed)));
    assert_eq!(missing(result), [("peer-3".into(), Confirmation::NoValidAnswer)]);
    // Young enough, and not yet `settle` after the same peer's word in the earlier roll.
    mixed[2] = proof(&release, &release.log, &cosigners(3)[2], HEAD, Timestamp(NOW.0 - 900));
    let result = verify(&with_rolls(&earlier, &written(NOW, &mixed)));
    assert!(matches!(result, Err(Refusal::Settling { .. })), "{result:?}");
}

#[test]
fn one_set_of_cosignatures_is_not_two_rolls_whatever_times_are_written_over_it() {
    let release = release();
    let once = views(&release, NOW, &SIZES[1]);
    let limits = RoundLimits { settle: seconds(16 * 60), ..limits() };
    // As far apart as the ages of views allow: 60 s ahead of the clock, 15 min old.
    let (early, late) = (Timestamp(NOW.0 - 60), Timestamp(NOW.0 + 900));
    let result = with_rolls(&written(early, &once), &written(late, &once));
    let result = ProofBundle::parse(&result).unwrap().verify(&policy(), &peers(3), &limits);
    assert!(matches!(result, Err(Refusal::Settling { .. })), "{result:?}");
}

#[test]
fn a_view_smaller_than_the_same_peers_earlier_one_does_not_count() {
    let release = release();
    let earlier = written(EARLIER, &views(&release, EARLIER, &[6, 8, 8]));
    let latest = written(NOW, &views(&release, NOW, &[8, 7, 8]));
    match verify(&with_rolls(&earlier, &latest)) {
        Err(Refusal::Incomplete(missing)) => {
            assert_eq!(missing.len(), 1);
            assert_eq!(missing[0].failure, Some(PeerFailure::Regressed { size: 7, before: 8 }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_release_that_had_expired_by_the_latest_roll_is_refused() {
    let mut release = release();
    let mut short = manifest(2);
    short.expires = NOW;
    release.note = released(&short.to_string());
    release.log.leaves[5] = Hash::leaf(release.note.to_string().as_bytes());
    let text = |at: u64| {
        let (earlier, latest) = (Timestamp(at - HOUR), Timestamp(at));
        let rolls = written(earlier, &views(&release, earlier, &SIZES[0]))
            + &written(latest, &views(&release, latest, &SIZES[1]));
        by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &rolls
    };
    assert!(verify(&text(NOW.0 - 1)).is_ok());
    assert!(matches!(verify(&text(NOW.0)), Err(Refusal::Expired { .. })));
}

/// Everything of a bundle before its rolls.
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
fn another_index_is_refused() {
    let text = bundle().to_string();
    for index in ["4", "6", "11", "18446744073709551615"] {
        assert!(is_refused(&text.replacen("manifest 5 ", &format!("manifest {index} "), 1)));
        // Also when the views agree with it.
        let everywhere = text
            .replacen("manifest 5 ", &format!("manifest {index} "), 1)
            .replace("\nindex 5\n", &format!("\nindex {index}\n"));
        assert!(is_refused(&everywhere));
    }
    let one_view = text.replacen("\nindex 5\n", "\nindex 4\n", 1);
    assert!(does_not_prove(&verify(&one_view)));
}

#[test]
fn a_release_that_too_few_signed_or_somebody_else_is_refused() {
    let [a, ..] = publishers();
    let with = |note| {
        let mut release = release();
        release.note = note;
        release.log.leaves[5] = Hash::leaf(release.note.to_string().as_bytes());
        let rolls = written(EARLIER, &views(&release, EARLIER, &SIZES[0]))
            + &written(NOW, &views(&release, NOW, &SIZES[1]));
        verify(&(by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &rolls))
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
fn a_view_that_no_path_ties_to_the_head_is_refused() {
    let release = release();
    for absent in [6, 7, 8, 9] {
        let mut proofs = proofs(&release);
        assert!(proofs.paths.remove(&absent).is_some());
        let rolls = verify(&bundle().to_string()).unwrap();
        let text = ProofBundle::from_confirmed(&rolls, &proofs).to_string();
        assert!(does_not_prove(&verify(&text)), "without the path from {absent}");
    }
    let none =
        ProofBundle::from_confirmed(&verify(&bundle().to_string()).unwrap(), &Proofs::default())
            .to_string();
    assert!(verify(&none).is_err());
}

#[test]
fn a_view_larger_than_the_head_is_refused() {
    let release = Release::new(5, 13);
    let rolls = written(EARLIER, &views(&release, EARLIER, &SIZES[0]))
        + &written(NOW, &views(&release, NOW, &[8, 9, 12]));
    let text = by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &rolls;
    assert!(does_not_prove(&verify(&text)));
}

#[test]
fn a_view_that_does_not_include_the_release_is_refused() {
    let (release, [earlier, _]) = (release(), good_rolls());
    let mut behind = views(&release, NOW, &SIZES[1]);
    behind[1] = proof(&release, &release.log, &cosigners(2)[1], 5, NOW);
    assert!(does_not_prove(&verify(&with_rolls(&earlier, &written(NOW, &behind)))));
    let mut wrong = views(&release, NOW, &SIZES[1]);
    wrong[1].hashes[0].0[0] ^= 1;
    assert!(does_not_prove(&verify(&with_rolls(&earlier, &written(NOW, &wrong)))));
}

#[test]
fn a_view_is_about_the_entry_that_the_bundle_is_about() {
    // One release, logged twice, and a proof of the other entry.
    let mut release = release();
    release.log.leaves[4] = release.log.leaves[5];
    let mut latest = views(&release, NOW, &SIZES[1]);
    let text = |latest: &[TlogProof]| {
        let earlier = written(EARLIER, &views(&release, EARLIER, &SIZES[0]));
        by_hand(&release, 5, &release.log.inclusion(5, HEAD)) + &earlier + &written(NOW, latest)
    };
    assert!(verify(&text(&latest)).is_ok());
    latest[1].index = 4;
    latest[1].hashes = release.log.inclusion(4, SIZES[1][1]);
    assert!(does_not_prove(&verify(&text(&latest))));
}

#[test]
fn a_view_of_another_history_is_shown_as_the_fork_it_is() {
    let (release, [earlier, _]) = (release(), good_rolls());
    for size in [8, 9, HEAD] {
        let fork = release.log.forked_at(6);
        let mut forked = views(&release, NOW, &SIZES[1]);
        forked[1] = proof(&release, &fork, &cosigners(2)[1], size, NOW);
        let result = verify(&with_rolls(&earlier, &written(NOW, &forked)));
        let Err(Refusal::Fork(evidence)) = result else { panic!("{result:?}") };
        assert!([evidence.smaller(), evidence.larger()].contains(&&fork.head(size)));
    }
}

#[test]
fn a_bundle_is_for_the_log_it_was_made_from() {
    let mut other = policy();
    other.log.key = crate::fixtures::secret("log-key", 101).public();
    assert!(does_not_prove(&bundle().verify(&other, &peers(3), &limits())));
    let mut other = policy();
    other.log.origin = "example.org/other".parse().unwrap();
    let result = bundle().verify(&other, &peers(3), &limits());
    assert!(matches!(result, Err(Refusal::OtherLog(_))), "{result:?}");
}

#[test]
fn every_announced_number_of_a_bundle_is_bounded_and_spelled_in_one_way() {
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
            text.replacen(&format!("roll {} 3", NOW.0), &format!("roll {} {count}", NOW.0), 1);
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
fn with_settle_zero_a_bundle_holds_one_roll_twice() {
    let (release, three) = (release(), peers(3));
    let now = RoundLimits { settle: seconds(0), ..limits() };
    let latest = roll(&release.log, &three, NOW, &SIZES[1]);
    let agreed = agreed(&release, [&latest, &latest], &three, &now);
    let text = ProofBundle::from_confirmed(&agreed, &proofs(&release)).to_string();
    assert!(ProofBundle::parse(&text).unwrap().verify(&policy(), &three, &now).is_ok());
    assert!(ProofBundle::parse(&text).unwrap().verify(&policy(), &three, &limits()).is_err());
}

/// The proof that the release is in the second peer's view, as a file of its own.
fn proof_file() -> (Release, TlogProof) {
    let release = release();
    let proof = proof(&release, &release.log, &cosigners(2)[1], 9, NOW);
    (release, proof)
}

fn holds(release: &Release, text: &str) -> Option<(TlogProof, CosignedHead)> {
    let proof = TlogProof::parse(text).ok()?;
    let view =
        CosignedHead::verify(proof.checkpoint.as_bytes(), &release.log.log(), &peer(2).key).ok()?;
    let leaf = Hash::leaf(release.note.to_string().as_bytes());
    proof.verify(&leaf, view.head()).then_some((proof, view))
}

#[test]
fn a_proof_file_has_the_form_that_other_tools_read() {
    let (release, proof) = proof_file();
    let hashes: String =
        release.log.inclusion(5, 9).iter().map(|hash| hash.base64() + "\n").collect();
    let golden = format!("c2sp.org/tlog-proof@v1\nindex 5\n{hashes}\n{}", proof.checkpoint);
    assert_eq!(proof.to_string(), golden);
    assert_eq!(TlogProof::parse(&golden), Ok(proof.clone()));
    assert!(holds(&release, &golden).is_some());
    let extra = golden.replacen("index", &format!("extra {}\nindex", base64(b"anything")), 1);
    assert_eq!(TlogProof::parse(&extra), Ok(proof), "nothing covers it, nothing comes of it");
}

#[test]
fn a_changed_byte_of_a_proof_file_is_refused_or_proves_the_same() {
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
fn what_is_nearly_a_proof_file_is_refused() {
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
    fn what_parses_prints_back_to_the_same_bytes(at in any::<usize>(), byte in prop_oneof![0x20u8..0x7f, Just(b'\n')]) {
        let mut text = bundle().to_string().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok(text) = String::from_utf8(text) && let Ok(bundle) = ProofBundle::parse(&text) {
            prop_assert_eq!(bundle.to_string(), text);
        }
    }
}
