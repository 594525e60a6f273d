//! A cycle of the client: mirrors that lie or stand still, releases that must not install, forks that latch.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fs, io};

use futures_util::future::join_all;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;
use unanimity_client::{
    Client, ClientError, CycleError, CycleOutcome, CycleReport, Downloader, MirrorProblem,
};
use unanimity_install::{InstallError, InstallRefusal, InstallRoot};
use unanimity_net::message::{Answer, Question};
use unanimity_net::{Listener as _, Mirror, READ_TIMEOUT};
use unanimity_protocol::checkpoint::LogId;
use unanimity_protocol::decision::confirmation::Confirmation;
use unanimity_protocol::proof_bundle::BundleError;
use unanimity_protocol::{
    CosignedHead, Hash, Note, PeerFailure, ProofBundle, Refusal, Tile, Timestamp,
};
use unanimity_report::{Classify, Exit};
use unanimity_state::{EvidenceStore, LogForked, StoreError};
use unanimity_storage::{Clock as _, ManualClock, Storage, WriteStep};
use unanimity_testkit::stalling_mirror::StallingMirror;
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, MINUTE, SECOND, SECOND_ARTIFACT, TROJAN, TestWorld, expect_error,
    expect_installed, expect_latched, expect_mirror_problem, expect_one_unconfirmed,
    expect_refusal, expect_unconfirmed, expect_up_to_date, release_spec,
};
use unanimity_testkit::{ReleaseSpec, World};

fn mirror(circle: &TestWorld, name: &str) -> Mirror {
    Mirror::from_directory(circle.directory.join(name))
}

fn evidence_store(circle: &TestWorld) -> EvidenceStore {
    EvidenceStore::new(&circle.config.cycle.state, &circle.keys.log, Storage::default())
}

/// A disk on which the clock moves when an artifact begins to be written: a long download. Once.
fn slow_download(clock: &ManualClock, takes: std::time::Duration) -> Storage {
    let (clock, done) = (clock.clone(), AtomicBool::new(false));
    Storage::with_hook(move |step| {
        if matches!(step, WriteStep::Create(path) if path.ends_with("hello"))
            && !done.swap(true, Ordering::SeqCst)
        {
            clock.advance(takes);
        }
        Ok(())
    })
}

#[tokio::test(start_paused = true)]
async fn the_head_is_stored_after_a_unanimous_roll_only_and_is_its_smallest() {
    let mut circle = TestWorld::new(60);
    circle.publish(&release_spec(1)).unwrap();
    let first = circle.head_of("log").unwrap();
    for peer in 0..4 {
        circle.poll(peer).await.unwrap();
        circle.update().await.1.unwrap_err();
        assert_eq!(circle.trusted_head(), None);
    }
    circle.poll(4).await.unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.poll(0).await.unwrap();
    circle.publish(&release_spec(3)).unwrap();
    circle.poll(1).await.unwrap();
    circle.update().await.1.unwrap_err();
    assert_eq!(circle.trusted_head(), Some(first.clone()));
    circle.poll_all().await.unwrap();
    circle.stop(2);
    circle.update().await.1.unwrap_err();
    assert_eq!(circle.trusted_head(), Some(first));
    circle.start(2);
    circle.update().await.1.unwrap_err();
    assert_eq!(circle.trusted_head(), Some(circle.head_of("log").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_new_peer_that_is_behind_does_not_move_the_head_back() {
    let mut circle = TestWorld::with_first_installed(61).await;
    circle.copy_log("old").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    let all = circle.config.peers.clone();
    circle.config.peers =
        unanimity_protocol::PeerSet::new(all.iter().take(4).cloned().collect(), 3).unwrap();
    circle.set_mirror(World::peer_name(4), "old").unwrap();
    circle.advance_and_poll(SECOND).await;
    circle.update().await.1.unwrap_err();
    let head = circle.trusted_head().unwrap();
    assert_eq!(head.size(), 2);
    circle.config.peers = all;
    for _ in 0..3 {
        let (who, standing, _) = expect_one_unconfirmed(circle.update().await);
        assert_eq!((who.as_str(), standing), ("elif", Confirmation::Behind));
        assert_eq!(circle.trusted_head(), Some(head.clone()));
        circle.advance_and_poll(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_forks_ahead_of_everybody_cannot_poison_what_is_stored() {
    let mut circle = TestWorld::with_first_installed(62).await;
    circle.copy_log("fork").unwrap();
    for n in 2..6 {
        circle.publish_to("fork", &ReleaseSpec::new(n, "6.6.6", TROJAN)).unwrap();
    }
    circle.set_mirror("client", "fork").unwrap();
    for _ in 0..3 {
        let missing = expect_unconfirmed(circle.update().await);
        assert_eq!(missing.len(), 5);
        assert!(missing.iter().all(|missing| missing.confirmation == Confirmation::Behind));
        circle.advance_and_poll(HOUR).await;
    }
    assert_eq!(circle.trusted_head().unwrap().size(), 1);
    // With an honest mirror again all is as if it had never been, and what is wrong is still told.
    circle.set_mirror("client", "log").unwrap();
    expect_up_to_date(circle.update().await);
    circle.publish(&ReleaseSpec { signers: vec![1], ..release_spec(2) }).unwrap();
    circle.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Threshold { signed: 1, .. }));
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    assert!(evidence_store(&circle).list().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_pinned_head_is_kept_to() {
    let base = TestWorld::with_first_installed(63).await;
    base.publish(&release_spec(2)).unwrap();
    let pinned = base.head_of("log").unwrap();
    // A client that begins, with a pinned head of size 2 and nothing else.
    let begin = |circle: &mut TestWorld| {
        circle.config.cycle.pinned = Some(pinned.clone());
        circle.config.cycle.state = circle.scratch_path("new-state");
        circle.config.cycle.install_root = circle.scratch_path("new-root");
    };
    let mut honest = base.copy();
    begin(&mut honest);
    honest.poll_all().await.unwrap();
    honest.update().await.1.unwrap_err();
    honest.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(honest.update().await), 2);
    // A smaller world, shown to everybody.
    let mut smaller = TestWorld::with_first_installed(63).await;
    begin(&mut smaller);
    let rollback = expect_mirror_problem(smaller.update().await);
    assert!(matches!(rollback, MirrorProblem::Rollback { shown: 1, known: 2, .. }), "{rollback}");
    // Another world of any size, shown to everybody.
    for grown in 1..4 {
        let mut other = TestWorld::with_first_installed(63).await;
        begin(&mut other);
        for _ in 0..grown {
            other.append_unchecked("log", &[TROJAN.to_vec()]).unwrap();
        }
        other.poll_all().await.unwrap();
        let Refusal::Fork(found) = expect_refusal(other.update().await) else { panic!("no fork") };
        assert!([found.smaller(), found.larger()].contains(&&pinned));
        expect_latched(other.update().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lagging_or_dead_or_garbled_mirror_among_two_is_fine() {
    let base = TestWorld::with_second_settling(64).await;
    for seed in 0..6 {
        let mut circle = base.copy();
        circle.copy_log("old").unwrap();
        circle.copy_log("garbled").unwrap();
        circle.copy_log("short").unwrap();
        for name in ["tile/entries/000.p/2", "tile/entries/000.p/3", "tile/0/000.p/2"] {
            fs::write(circle.directory.join("garbled").join(name), b"garbled").unwrap();
        }
        fs::write(
            circle.directory.join("garbled/artifact").join(Hash::digest(SECOND_ARTIFACT).hex()),
            TROJAN,
        )
        .unwrap();
        fs::write(circle.directory.join("short/tile/entries/000.p/2"), b"").unwrap();
        fs::write(
            circle.directory.join("short/artifact").join(Hash::digest(SECOND_ARTIFACT).hex()),
            &SECOND_ARTIFACT[1..],
        )
        .unwrap();
        circle.append_unchecked("log", &[b"news".to_vec()]).unwrap();
        let bad = ["old", "missing", "garbled", "short"][seed % 4];
        circle.mirrors = vec![mirror(&circle, bad), mirror(&circle, "log")];
        circle.advance_and_poll(HOUR).await;
        for _ in 0..seed {
            circle.check().await.1.unwrap();
        }
        assert_eq!(expect_installed(circle.update().await), 2, "{bad}");
        assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    }
}

#[tokio::test(start_paused = true)]
async fn dead_mirrors_are_an_error_and_not_a_refusal() {
    let mut circle = TestWorld::with_second_settling(65).await;
    circle.advance_and_poll(HOUR).await;
    circle.set_mirror("client", "missing").unwrap();
    assert!(matches!(expect_error(circle.update().await), ClientError::Mirrors(_)));
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    assert!(matches!(expect_error(circle.update().await), ClientError::Mirrors(_)));
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    circle.set_mirror("client", "log").unwrap();
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_not_the_heads_are_refused_and_names_the_mirror() {
    let mut circle = TestWorld::with_first_installed(66).await;
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.copy_log("bad").unwrap();
    circle.set_mirror("client", "bad").unwrap();
    let path = circle.directory.join("bad/tile/entries/000.p/2");
    let whole = fs::read(&path).unwrap();
    // The first entry was read before.
    let first = 2 + usize::from(u16::from_be_bytes([whole[0], whole[1]]));
    for at in (first..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        match circle.update().await.1.unwrap_err() {
            CycleError::Mirror(MirrorProblem::OtherEntries { served, .. }) => {
                assert!(served.contains("mirrors/client"));
            }
            CycleError::Client(ClientError::Mirrors(_)) => {}
            other => panic!("{other}"),
        }
        fs::write(&path, &whole[..at]).unwrap();
        assert!(matches!(expect_error(circle.check().await), ClientError::Mirrors(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn peers_serve_the_tiles_that_the_mirror_has_lost() {
    let mut circle = TestWorld::with_second_settling(67).await;
    circle.advance_and_poll(HOUR).await;
    circle.copy_log("bare").unwrap();
    fs::remove_dir_all(circle.directory.join("bare/tile/0")).unwrap();
    circle.set_mirror("client", "bare").unwrap();
    assert_eq!(expect_installed(circle.update().await), 2);
    verify_stored_proof(&circle, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_lies_about_tiles_or_stalls_on_them_only_costs_its_deadline() {
    let mut circle = TestWorld::with_second_settling(89).await;
    circle.advance_and_poll(HOUR).await;
    circle.copy_log("bare").unwrap();
    fs::remove_dir_all(circle.directory.join("bare/tile/0")).unwrap();
    circle.set_mirror("client", "bare").unwrap();
    for peer in 0..4 {
        let node = circle.peer(peer).clone();
        circle.replace_peer(peer, move |mut listener| async move {
            while let Ok(mut stream) = listener.accept().await {
                let node = node.clone();
                tokio::spawn(async move {
                    while let Ok(Some(frame)) = unanimity_net::message::receive(&mut stream).await {
                        let question = Question::decode(&frame).unwrap();
                        let answer = match (question, peer) {
                            (Question::CosignedHead(_), _) => node.answer(question).unwrap(),
                            (Question::Tile(..), 0) => Answer::Tile(vec![7; 64]),
                            (Question::Tile(..), 1) => Answer::Tile(vec![7; 5]),
                            (Question::Tile(..), 2) => {
                                node.answer(Question::CosignedHead(LogId([0; 32]))).unwrap()
                            }
                            (Question::Tile(..), _) => std::future::pending().await,
                        };
                        unanimity_net::message::send(&mut stream, &answer.encode()).await.unwrap();
                    }
                });
            }
        });
    }
    assert_eq!(expect_installed(circle.update().await), 2);
    verify_stored_proof(&circle, 2).unwrap();
}

/// What third parties make of the proof that an installed release left.
fn verify_stored_proof(circle: &TestWorld, sequence: u64) -> Result<(), String> {
    let label = ["", "1-1.0.0", "2-1.1.0"][sequence as usize];
    let text =
        fs::read_to_string(circle.config.cycle.install_root.join("proofs").join(label)).unwrap();
    verify(circle, &text)
}

fn verify(circle: &TestWorld, text: &str) -> Result<(), String> {
    let bundle = ProofBundle::parse(text).map_err(|error: BundleError| error.to_string())?;
    let config = &circle.config;
    let agreed = bundle.verify(&config.cycle.policy, &config.peers, &config.cycle.limits);
    agreed.map(|_| ()).map_err(|refusal| refusal.to_string())
}

#[tokio::test(start_paused = true)]
async fn the_proof_bundle_verifies_and_without_any_one_view_it_does_not() {
    let mut circle = TestWorld::with_first_installed(68).await;
    // Views of different sizes in both rolls.
    for n in 0..5 {
        circle.append_unchecked("log", &[vec![n]]).unwrap();
        circle.poll(usize::from(n)).await.unwrap();
    }
    circle.publish(&release_spec(2)).unwrap();
    for peer in 0..5 {
        circle.append_unchecked("log", &[vec![9]]).unwrap();
        circle.poll(peer).await.unwrap();
    }
    circle.update().await.1.unwrap_err();
    circle.advance(HOUR);
    for peer in 0..5 {
        circle.append_unchecked("log", &[vec![9]]).unwrap();
        circle.poll(peer).await.unwrap();
    }
    assert_eq!(expect_installed(circle.update().await), 2);
    verify_stored_proof(&circle, 1).unwrap();
    verify_stored_proof(&circle, 2).unwrap();
    let path = circle.config.cycle.install_root.join("proofs/2-1.1.0");
    let text = fs::read_to_string(path).unwrap();
    let views: Vec<usize> = text.match_indices("\nview ").map(|(at, _)| at + 1).collect();
    assert_eq!(views.len(), 10);
    for at in views {
        let (length, rest) = text[at + 5..].split_once('\n').unwrap();
        let rest = &rest[length.parse::<usize>().unwrap()..];
        let before = text[..at].rfind("\nroll ").unwrap();
        let (head, tail) = text[..at].split_at(before);
        let without = format!("{head}{}{rest}", tail.replacen(" 5\n", " 4\n", 1));
        let why = verify(&circle, &without).unwrap_err();
        assert!(why.contains("incomplete") || why.contains("settling"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_with_some_bad_tiles_leaves_neither_a_bad_proof_nor_a_frozen_node() {
    // Large enough that the tree's root can be right and the release's own tile wrong.
    let mut circle = TestWorld::with_first_installed(69).await;
    circle.publish(&release_spec(2)).unwrap();
    circle.append_unchecked("log", &vec![b"x".to_vec(); 600]).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    let bad = circle.copy_log("bad").unwrap();
    fs::write(bad.join("tile/0/000"), vec![7; 32 * 256]).unwrap();
    circle.set_mirror("client", "bad").unwrap();
    assert_eq!(expect_installed(circle.update().await), 2);
    verify_stored_proof(&circle, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_download_that_outlives_its_roll_asks_again() {
    let mut circle = TestWorld::with_second_settling(70).await;
    circle.advance_and_poll(HOUR).await;
    circle.disk = slow_download(&circle.clock, 16 * MINUTE);
    let begun = circle.now();
    assert_eq!(expect_installed(circle.update().await), 2);
    let text = fs::read_to_string(circle.config.cycle.install_root.join("proofs/2-1.1.0")).unwrap();
    let config = &circle.config;
    let agreed = ProofBundle::parse(&text).unwrap().verify(
        &config.cycle.policy,
        &config.peers,
        &config.cycle.limits,
    );
    assert_eq!(agreed.unwrap().rounds()[1].closed_at(), Timestamp(begun.0 + 16 * 60));
    // 15 minutes are not too long.
    let mut circle = TestWorld::with_second_settling(70).await;
    circle.advance_and_poll(HOUR).await;
    circle.disk = slow_download(&circle.clock, 15 * MINUTE);
    assert_eq!(expect_installed(circle.update().await), 2);
    let text = fs::read_to_string(circle.config.cycle.install_root.join("proofs/2-1.1.0")).unwrap();
    assert!(text.contains(&format!("\nroll {} 5\n", begun.0)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_gone_silent_during_the_download_stops_the_switch() {
    let mut circle = TestWorld::with_second_settling(71).await;
    circle.advance_and_poll(HOUR - 20 * MINUTE).await;
    circle.advance(20 * MINUTE);
    for peer in [0, 1, 3, 4] {
        circle.poll(peer).await.unwrap();
    }
    circle.disk = slow_download(&circle.clock, 16 * MINUTE);
    let (who, _, silence) = expect_one_unconfirmed(circle.update().await);
    assert_eq!(who, "carol");
    assert!(matches!(silence, Some(PeerFailure::NoFreshHead(_))));
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    circle.poll(2).await.unwrap();
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_newer_release_that_settles_during_the_download_is_what_installs() {
    let mut circle = TestWorld::with_second_settling(72).await;
    circle.advance_and_poll(10 * MINUTE).await;
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR - 10 * MINUTE).await;
    circle.disk = slow_download(&circle.clock, 16 * MINUTE);
    assert_eq!(expect_installed(circle.update().await), 3);
}

#[tokio::test(start_paused = true)]
async fn of_two_pending_releases_the_newest_settled_one_installs() {
    let mut circle = TestWorld::with_second_settling(73).await;
    circle.advance_and_poll(30 * MINUTE).await;
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    let Refusal::Settling { release: told, .. } = expect_refusal(circle.update().await) else {
        panic!()
    };
    assert!(told.starts_with("3-"));
    let mut both = circle.copy();
    both.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(both.update().await), 3);
    expect_up_to_date(both.update().await);
    // Only the older one is settled: it installs, and the newer one goes on settling.
    circle.advance_and_poll(30 * MINUTE).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    circle.advance_and_poll(30 * MINUTE - SECOND).await;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    circle.advance_and_poll(SECOND).await;
    assert_eq!(expect_installed(circle.update().await), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refused_entry_is_told_once() {
    let mut circle = TestWorld::with_first_installed(74).await;
    circle.publish(&ReleaseSpec { signers: vec![2], ..release_spec(2) }).unwrap();
    circle.poll_all().await.unwrap();
    let (report, ended) = circle.update().await;
    assert_eq!(report.refused.len(), 1);
    assert_eq!(report.refused[0].0, 1);
    assert!(matches!(
        expect_refusal((report, ended)),
        Refusal::Threshold { signed: 1, threshold: 2 }
    ));
    for _ in 0..3 {
        circle.advance_and_poll(10 * MINUTE).await;
        let (report, ended) = circle.update().await;
        assert_eq!(report.refused, []);
        expect_up_to_date((report, ended));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_entry_is_told_also_when_the_roll_is_called_twice() {
    let mut circle = TestWorld::with_second_settling(75).await;
    circle.publish(&ReleaseSpec { signers: vec![2], ..release_spec(3) }).unwrap();
    circle.advance_and_poll(HOUR).await;
    circle.disk = slow_download(&circle.clock, 16 * MINUTE);
    let (report, ended) = circle.update().await;
    assert_eq!(report.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
    assert_eq!(expect_installed((report, ended)), 2);
}

#[tokio::test(start_paused = true)]
async fn rubbish_in_the_log_blocks_nobody() {
    let mut circle = TestWorld::with_first_installed(76).await;
    let (_, note) = circle.sign_release(&release_spec(2)).unwrap();
    let note = note.to_string();
    let unsigned = |text: String| Note::unsigned(&text).unwrap();
    let mut stranger = unsigned(note.split("\n\n").next().unwrap().to_owned() + "\n");
    stranger.sign(&circle.keys.log_key);
    let mut odd = unsigned("unanimity/surprise/v1\nlog log.example/releases\n".into());
    odd.sign(&circle.keys.publisher_keys[0]);
    let mut broken = unsigned("unanimity/manifest/v1\nproduct hello\nchannel stable\n".into());
    circle.keys.publisher_keys.iter().for_each(|key| broken.sign(key));
    let mut elsewhere = unsigned(
        note.split("\n\n").next().unwrap().replace("log.example/releases", "other.example") + "\n",
    );
    circle.keys.publisher_keys.iter().for_each(|key| elsewhere.sign(key));
    let rubbish = [
        vec![],
        vec![0; 10],
        vec![0xff; 65_535],
        b"\n\n\n".to_vec(),
        note.replace("sequence 2", "sequence 9").into_bytes(),
        note.replace('\n', "\r\n").into_bytes(),
        stranger.to_string().into_bytes(),
        odd.to_string().into_bytes(),
        broken.to_string().into_bytes(),
        elsewhere.to_string().into_bytes(),
    ];
    circle.append_unchecked("log", &rubbish).unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.append_unchecked("log", &rubbish).unwrap();
    circle.poll_all().await.unwrap();
    let (report, ended) = circle.update().await;
    assert_eq!(report.unknown_kinds, 2);
    assert!(matches!(expect_refusal((report, ended)), Refusal::Settling { .. }));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn two_texts_of_one_sequence_install_neither_also_that_of_the_installed_one() {
    let mut circle = TestWorld::with_second_settling(77).await;
    circle.publish(&ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    circle.advance_and_poll(HOUR).await;
    let told = expect_refusal(circle.update().await);
    assert!(
        matches!(told, Refusal::DuplicateSequence { sequence: 2, first: 1, second: 2 }),
        "{told}"
    );
    circle.advance_and_poll(HOUR).await;
    expect_up_to_date(circle.update().await);
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // Sequence 1 is installed.
    circle.publish(&ReleaseSpec::new(1, "1.0.0", TROJAN)).unwrap();
    circle.poll_all().await.unwrap();
    let told = expect_refusal(circle.update().await);
    assert!(matches!(told, Refusal::DuplicateSequence { sequence: 1, .. }), "{told}");
    // The publisher goes on.
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 3);
}

#[tokio::test(start_paused = true)]
async fn one_text_logged_twice_is_no_conflict() {
    let mut circle = TestWorld::with_first_installed(78).await;
    let note = circle.sign_release(&release_spec(2)).unwrap().1.to_string().into_bytes();
    circle.publish(&release_spec(2)).unwrap();
    circle.append_unchecked("log", &[note.clone(), note]).unwrap();
    circle.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_expires_before_it_settles_is_told_once() {
    let mut circle = TestWorld::with_first_installed(79).await;
    circle.publish(&ReleaseSpec { valid_for: 50 * MINUTE, ..release_spec(2) }).unwrap();
    circle.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    circle.advance_and_poll(HOUR).await;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Expired { .. }));
    circle.advance_and_poll(MINUTE).await;
    expect_up_to_date(circle.update().await);
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_release_that_expires_during_the_download_does_not_install() {
    let mut circle = TestWorld::with_first_installed(80).await;
    circle.publish(&ReleaseSpec { valid_for: 70 * MINUTE, ..release_spec(2) }).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    circle.disk = slow_download(&circle.clock, 12 * MINUTE);
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Expired { .. }));
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_newer_kind_of_manifest_blocks_what_was_logged_before_it() {
    let mut circle = TestWorld::with_second_settling(81).await;
    let text = "unanimity/manifest/v2\nlog log.example/releases\nproduct hello\nchannel stable\n";
    let mut forged = Note::unsigned(text).unwrap();
    forged.sign(&circle.keys.publisher_keys[0]);
    circle.append_unchecked("log", &[forged.to_string().into_bytes()]).unwrap();
    circle.advance_and_poll(MINUTE).await;
    // One key is not enough for that.
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    forged.sign(&circle.keys.publisher_keys[1]);
    circle.append_unchecked("log", &[forged.to_string().into_bytes()]).unwrap();
    circle.advance_and_poll(HOUR).await;
    assert!(matches!(
        expect_refusal(circle.update().await),
        Refusal::UnsupportedFormat { index: 3, .. }
    ));
    // And stays so: a node that cannot read what its publisher says must not fall silent.
    circle.advance_and_poll(HOUR).await;
    assert!(matches!(
        expect_refusal(circle.update().await),
        Refusal::UnsupportedFormat { index: 3, .. }
    ));
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    circle.publish(&release_spec(3)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 3);
    circle.advance_and_poll(MINUTE).await;
    expect_up_to_date(circle.update().await);
}

#[tokio::test(start_paused = true)]
async fn a_fork_latches_until_it_is_acknowledged() {
    let mut circle = TestWorld::with_first_installed(82).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    circle.poll_all().await.unwrap();
    circle.set_mirror("client", "fork").unwrap();
    let Refusal::Fork(found) = expect_refusal(circle.update().await) else { panic!("no fork") };
    let store = evidence_store(&circle);
    assert_eq!(store.list().unwrap(), [(found.id(), false)]);
    // The mirror turns honest: too late.
    circle.set_mirror("client", "log").unwrap();
    for _ in 0..3 {
        circle.advance_and_poll(HOUR).await;
        let LogForked { id } = expect_latched(circle.update().await);
        assert_eq!(id, found.id());
    }
    for unknown in ["", "0123456789abcdef", "../client/client", &found.id()[..8]] {
        assert!(matches!(store.acknowledge(unknown), Err(StoreError::NoEvidence(_))));
    }
    expect_latched(circle.update().await);
    store.acknowledge(&found.id()).unwrap();
    store.acknowledge(&found.id()).unwrap();
    assert_eq!(store.list().unwrap(), [(found.id(), true)]);
    circle.update().await.1.unwrap_err();
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_fork_smaller_equal_or_larger_than_the_trusted_head_is_found_and_nothing_written_after_it()
 {
    let mut base = TestWorld::with_first_installed(90).await;
    base.copy_log("fork").unwrap();
    for n in 2..4 {
        base.publish(&release_spec(n)).unwrap();
    }
    base.poll_all().await.unwrap();
    base.update().await.1.unwrap_err();
    assert_eq!(base.trusted_head().unwrap().size(), 3);
    for grown in 1..4 {
        let mut circle = base.copy();
        circle.poll_all().await.unwrap();
        for n in 0..grown {
            circle.publish_to("fork", &ReleaseSpec::new(2 + n, "6.6.6", TROJAN)).unwrap();
        }
        circle.set_mirror("client", "fork").unwrap();
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = steps.clone();
        circle.disk = Storage::with_hook(move |step| {
            seen.lock().unwrap().push(format!("{step:?}"));
            Ok(())
        });
        let Refusal::Fork(found) = expect_refusal(circle.update().await) else { panic!("no fork") };
        assert_eq!(found.smaller().size(), 3.min(1 + grown));
        assert_eq!(evidence_store(&circle).list().unwrap(), [(found.id(), false)]);
        let steps = steps.lock().unwrap();
        let stored = steps.iter().position(|step| step.contains("evidence")).unwrap();
        assert!(!steps[stored..].iter().any(|step| step.contains("client.json")), "{steps:?}");
        assert_eq!(circle.trusted_head().unwrap(), base.trusted_head().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_goes_on_after_it_was_acknowledged_is_refused_again() {
    let mut circle = TestWorld::with_first_installed(91).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    circle.set_mirror("client", "fork").unwrap();
    for _ in 0..3 {
        circle.advance_and_poll(HOUR).await;
        let Refusal::Fork(found) = expect_refusal(circle.update().await) else { panic!("no fork") };
        evidence_store(&circle).acknowledge(&found.id()).unwrap();
    }
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_alone_ahead_of_everybody_holds_nothing_back_with_entries_it_does_not_serve() {
    let mut circle = TestWorld::with_second_settling(93).await;
    circle.copy_log("honest").unwrap();
    circle.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    let ahead = circle.copy_log("ahead").unwrap();
    fs::remove_file(ahead.join("tile/entries/000.p/3")).unwrap();
    circle.set_peer_mirrors("honest").unwrap();
    circle.mirrors =
        ["ahead", "honest"].map(|m| Mirror::from_directory(circle.directory.join(m))).to_vec();
    circle.advance_and_poll(HOUR).await;
    let (report, ended) = circle.update().await;
    assert!(report.remarks.iter().any(|line| line.contains("left out")), "{report:?}");
    assert_eq!(expect_installed((report, ended)), 2);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_alone_cannot_make_a_release_settle_anew() {
    let mut circle = TestWorld::with_second_settling(94).await;
    let news =
        |word: &str| (0..300).map(|i| format!("{word} {i}").into_bytes()).collect::<Vec<_>>();
    circle.append_unchecked("log", &news("old")).unwrap();
    circle.advance_and_poll(30 * MINUTE).await;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    // Ahead of everybody, and without the tile that would tie the first roll to what it shows.
    circle.copy_log("honest").unwrap();
    circle.set_peer_mirrors("honest").unwrap();
    circle.append_unchecked("log", &news("new")).unwrap();
    let ahead = circle.copy_log("ahead").unwrap();
    fs::remove_file(ahead.join("tile/0/000")).unwrap();
    circle.mirrors =
        ["ahead", "honest"].map(|m| Mirror::from_directory(circle.directory.join(m))).to_vec();
    circle.advance_and_poll(25 * MINUTE).await;
    circle.update().await.1.unwrap_err();
    // Everybody level again, and the hour since the first roll is over.
    circle.set_peer_mirrors("log").unwrap();
    circle.mirrors = vec![Mirror::from_directory(circle.directory.join("log"))];
    circle.advance_and_poll(6 * MINUTE).await;
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_is_over_holds_nothing_back_once_it_is_acknowledged() {
    let mut circle = TestWorld::with_first_installed(92).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    circle.poll_all().await.unwrap();
    // One peer shows the fork once; the client remembers it as that peer's largest view.
    let shown = circle.cosign_head(&circle.head_of("fork").unwrap(), 2, circle.now());
    circle.replace_with_responder(2, move |_| Answer::CosignedHead(shown.clone()));
    let Refusal::Fork(found) = expect_refusal(circle.update().await) else { panic!("no fork") };
    circle.start(2);
    expect_latched(circle.update().await);
    evidence_store(&circle).acknowledge(&found.id()).unwrap();
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn evidence_that_a_peer_sends_is_stored_before_anything_else() {
    let mut circle = TestWorld::with_first_installed(83).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    circle.poll_all().await.unwrap();
    circle.set_mirror(World::peer_name(2), "fork").unwrap();
    circle.poll(2).await.unwrap();
    assert!(matches!(circle.ask_for_head(2).await, Answer::Evidence(_)));
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    circle.disk = Storage::with_hook(move |step| {
        seen.lock().unwrap().push(step.clone());
        // Nothing but evidence can be written.
        match step {
            WriteStep::Create(path) if path.ends_with("client.json") => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    });
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Fork(_)));
    let first = steps.lock().unwrap().iter().find_map(|step| match step {
        WriteStep::Create(path) => Some(path.clone()),
        _ => None,
    });
    assert!(first.unwrap().to_string_lossy().contains("/evidence/"));
    expect_latched(circle.update().await);
}

#[tokio::test(start_paused = true)]
async fn check_says_what_could_install_and_installs_nothing() {
    let mut circle = TestWorld::with_second_settling(84).await;
    circle.advance_and_poll(HOUR).await;
    for _ in 0..2 {
        let (_, ended) = circle.check().await;
        assert_eq!(ended.as_ref().map(Classify::exit).ok(), Some(Exit::Available));
        let Ok(CycleOutcome::Available(agreed)) = ended else { panic!("{ended:?}") };
        assert_eq!(agreed.manifest().sequence, 2);
        assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_download_apart_from_any_roll_is_what_a_later_roll_installs() {
    let mut circle = TestWorld::with_second_settling(75).await;
    circle.advance_and_poll(HOUR).await;
    let mut rng = StdRng::seed_from_u64(3);
    let (config, network, clock) =
        (circle.config.clone(), circle.network.clone(), circle.clock.clone());
    let mirrors = circle.mirrors.clone();
    let client = || Client::open(&config, &mirrors, &network, &clock, Storage::default()).unwrap();
    // Nothing is fetched by the roll itself.
    let artifacts = circle.log_directory().join("artifact");
    fs::rename(&artifacts, circle.scratch_path("away")).unwrap();
    let ended = client().install_downloaded(&mut rng).await.1;
    let Ok(CycleOutcome::Available(agreed)) = ended else { panic!("{ended:?}") };
    fs::rename(circle.scratch_path("away"), &artifacts).unwrap();
    let fetcher = Downloader::new(&config, &mirrors, &network, Storage::default());
    fetcher.download(&agreed, &mut CycleReport::default(), &mut rng).await.unwrap();
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    fs::remove_dir_all(&artifacts).unwrap();
    // Not for what was confirmed back then, but for what is confirmed now.
    circle.stop(2);
    assert_eq!(expect_one_unconfirmed(client().install_downloaded(&mut rng).await).0, "carol");
    circle.start(2);
    circle.advance(MINUTE);
    assert_eq!(expect_installed(client().install_downloaded(&mut rng).await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn an_artifact_whose_name_may_not_be_durable_is_not_relied_on_before_it_is() {
    let mut circle = TestWorld::with_second_settling(77).await;
    circle.advance_and_poll(HOUR).await;
    let Ok(CycleOutcome::Available(agreed)) = circle.check().await.1 else {
        panic!("not available")
    };
    let (config, network) = (circle.config.clone(), circle.network.clone());
    let mirrors = circle.mirrors.clone();
    let mut rng = StdRng::seed_from_u64(3);
    // A run that is killed when it has named the artifact, and not synced the name.
    let named = AtomicBool::new(false);
    let dying = Storage::with_hook(move |step| match named.load(Ordering::SeqCst) {
        true => Err(io::ErrorKind::StorageFull.into()),
        false => {
            let names = matches!(step, WriteStep::Rename(path) if path.ends_with("hello"));
            named.fetch_or(names, Ordering::SeqCst);
            Ok(())
        }
    });
    let mut report = CycleReport::default();
    Downloader::new(&config, &mirrors, &network, dying)
        .download(&agreed, &mut report, &mut rng)
        .await
        .unwrap_err();
    // The next one finds it.
    let steps = Arc::new(Mutex::new(Vec::new()));
    let noting = steps.clone();
    let disk = Storage::with_hook(move |step| {
        noting.lock().unwrap().push(step.clone());
        Ok(())
    });
    Downloader::new(&config, &mirrors, &network, disk)
        .download(&agreed, &mut report, &mut rng)
        .await
        .unwrap();
    let place = config.cycle.install_root.join("versions/.2-1.1.0.new");
    let steps = steps.lock().unwrap();
    assert!(steps.contains(&WriteStep::SyncDir(place)), "{steps:?}");
    assert!(!steps.iter().any(|step| matches!(step, WriteStep::Create(_))), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn two_downloads_at_once_take_turns_and_one_that_lasts_is_not_waited_for_for_ever() {
    let mut circle = TestWorld::with_second_settling(76).await;
    circle.advance_and_poll(HOUR).await;
    let lock = Storage::default().lock(&circle.config.cycle.install_root).unwrap().unwrap();
    let began = tokio::time::Instant::now();
    let busy = expect_error(circle.update().await);
    assert!(matches!(busy, ClientError::Store(StoreError::Busy(_))), "{busy}");
    assert!((600..620).contains(&began.elapsed().as_secs()));
    circle.poll_all().await.unwrap();
    let release = async {
        tokio::time::sleep(MINUTE).await;
        drop(lock);
    };
    let (ended, ()) = tokio::join!(circle.update(), release);
    assert_eq!(expect_installed(ended), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_agreed_on_is_good_for_15_minutes_and_for_its_own_artifact() {
    let mut circle = TestWorld::with_second_settling(92).await;
    circle.advance_and_poll(HOUR).await;
    let (_, ended) = circle.check().await;
    let Ok(CycleOutcome::Available(agreed)) = ended else { panic!("{ended:?}") };
    let root = InstallRoot::new(&circle.config.cycle.install_root, Storage::default());
    let stage = |bytes: &[u8]| {
        let mut staging = root.open_download(&agreed, &circle.config.cycle.platform)?;
        staging.restart()?;
        staging.write(vec![bytes.to_vec()])?;
        staging.finish()?.unpack()
    };
    let mut altered = SECOND_ARTIFACT.to_vec();
    altered[20] ^= 1;
    for wrong in [TROJAN, &SECOND_ARTIFACT[1..], &[SECOND_ARTIFACT, b"x"].concat(), b"", &altered] {
        let refused = stage(wrong).unwrap_err();
        assert!(matches!(refused, InstallError::Install(InstallRefusal::Artifact(_))), "{refused}");
    }
    let at = agreed.rounds()[1].closed_at();
    let switch = async |now| {
        let ready = stage(SECOND_ARTIFACT).unwrap();
        let clock = ManualClock::at(now);
        let begun = root.begin_switch(&agreed, &clock, || Ok::<_, InstallError>(())).await?;
        begun.finish(&agreed, ready, "", &clock).await
    };
    let late = switch(at.after(15 * MINUTE + SECOND)).await.unwrap_err();
    assert!(matches!(late, InstallError::Refused(Refusal::RoundTooOld { .. })), "{late}");
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    switch(at.after(15 * MINUTE)).await.unwrap();
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_before_what_was_verified_is_an_error() {
    let mut circle = TestWorld::with_second_settling(85).await;
    circle.advance_and_poll(HOUR).await;
    assert_up_to_date_or_available(circle.check().await.1);
    let now = circle.now();
    for back in [61, 3600, 365 * 24 * 3600] {
        circle.clock.set(Timestamp(now.0 - back));
        circle.poll_all().await.unwrap();
        let error = expect_error(circle.update().await);
        assert!(matches!(error, ClientError::Clock { .. }), "{error}");
        assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    circle.clock.set(now);
    circle.poll_all().await.unwrap();
    assert_eq!(expect_installed(circle.update().await), 2);
}

fn assert_up_to_date_or_available(ended: Result<CycleOutcome, unanimity_client::CycleError>) {
    assert!(matches!(ended, Ok(CycleOutcome::UpToDate | CycleOutcome::Available(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_for_a_while_does_not_settle_anything() {
    let mut circle = TestWorld::with_first_installed(86).await;
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    circle.update().await.1.unwrap_err();
    // Only the client's own clock runs ahead: to it, every view is old.
    let others = circle.now();
    circle.clock.set(Timestamp(others.0 + 3700));
    let head = circle.head_of("log").unwrap();
    for peer in 0..5 {
        let view = circle.cosign_head(&head, peer, others);
        circle.replace_with_responder(peer, move |_| Answer::CosignedHead(view.clone()));
    }
    let missing = expect_unconfirmed(circle.update().await);
    assert!(
        missing.iter().all(|m| matches!(m.failure, Some(PeerFailure::TooOld(_)))),
        "{missing:?}"
    );
    assert_eq!(missing.len(), 5);
    circle.clock.set(others);
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
}

#[tokio::test(start_paused = true)]
async fn one_peer_and_a_wrong_clock_cannot_stop_a_node_for_ever() {
    let mut circle = TestWorld::with_second_settling(88).await;
    let right = circle.now();
    circle.clock.set(Timestamp(right.0 + 365 * 24 * 3600));
    let wrong = circle.now();
    let head = circle.head_of("log").unwrap();
    for peer in 0..5 {
        // One of them goes along with the wrong clock.
        let view = circle.cosign_head(&head, peer, if peer == 4 { wrong } else { right });
        circle.replace_with_responder(peer, move |_| Answer::CosignedHead(view.clone()));
    }
    assert_eq!(expect_unconfirmed(circle.update().await).len(), 4);
    circle.clock.set(right);
    (0..5).for_each(|peer| circle.start(peer));
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_its_mirrors_hide_from_no_honest_peer_never_installs() {
    // The attacker holds publisher keys, log key, the client's mirror and all peers but one.
    let base = TestWorld::with_first_installed(87).await;
    for honest_grows in [true, false] {
        let mut circle = base.copy();
        circle.copy_log("fork").unwrap();
        circle.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
        circle.set_mirror("client", "fork").unwrap();
        let fork = circle.head_of("fork").unwrap();
        if honest_grows {
            circle.publish(&release_spec(2)).unwrap();
        }
        for _ in 0..4 {
            circle.advance_and_poll(HOUR).await;
            for liar in 1..5 {
                let view = circle.cosign_head(&fork, liar, circle.now());
                circle.replace_with_responder(liar, move |_| Answer::CosignedHead(view.clone()));
            }
            match circle.update().await.1.unwrap_err() {
                CycleError::Refused(Refusal::Fork(_)) | CycleError::LogForked(_) => {
                    assert!(honest_grows)
                }
                CycleError::Refused(Refusal::Incomplete(missing)) => {
                    assert!(!honest_grows);
                    assert_eq!(missing[0].confirmation, Confirmation::Behind);
                }
                other => panic!("{other}"),
            }
            assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        }
    }
}

/// A head that looks served, since one hash is all that its root needs, and that nothing ties to
/// any other: made with the log's key and 32 bytes.
fn unlinkable_head(circle: &TestWorld) -> (unanimity_protocol::TreeHead, Tile) {
    (circle.keys.sign_head(1 << 40, Hash([7; 32])), Tile { level: 5, index: 0, width: 1 })
}

#[tokio::test(start_paused = true)]
async fn a_hollow_head_on_one_mirror_of_two_stops_nobody() {
    let mut circle = TestWorld::with_second_settling(93).await;
    circle.advance_and_poll(HOUR).await;
    let (head, tile) = unlinkable_head(&circle);
    let path = circle.copy_log("hollow").unwrap();
    fs::write(path.join("checkpoint"), head.note()).unwrap();
    let tile = path.join(tile.path());
    fs::create_dir_all(tile.parent().unwrap()).unwrap();
    fs::write(tile, head.root().0).unwrap();
    circle.mirrors = vec![mirror(&circle, "hollow"), mirror(&circle, "log")];
    let (report, ended) = circle.update().await;
    assert!(report.remarks.iter().any(|remark| remark.contains(&head.to_string())), "{report:?}");
    assert_eq!(expect_installed((report, ended)), 2);
    // Also for a node that begins.
    let mut new = TestWorld::with_second_settling(93).await;
    new.mirrors = circle.mirrors.clone();
    new.config.cycle.state = new.scratch_path("new-state");
    new.config.cycle.install_root = new.scratch_path("new-root");
    assert!(matches!(expect_refusal(new.update().await), Refusal::Settling { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_hollow_head_that_a_peer_shows_and_serves_makes_that_peer_unjoined_and_no_other() {
    let mut circle = TestWorld::with_second_settling(94).await;
    circle.advance_and_poll(HOUR).await;
    let (head, _) = unlinkable_head(&circle);
    let view = circle.cosign_head(&head, 2, circle.now());
    circle.replace_with_responder(2, move |question| match question {
        Question::CosignedHead(_) => Answer::CosignedHead(view.clone()),
        Question::Tile(..) => Answer::Tile(vec![7; 32]),
    });
    let (report, ended) = circle.update().await;
    assert_eq!(report.head.as_ref().unwrap().size(), 2);
    let (who, standing, _) = expect_one_unconfirmed((report, ended));
    assert_eq!((who.as_str(), standing), ("carol", Confirmation::Unproven));
    assert!(evidence_store(&circle).list().unwrap().is_empty());
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_stalls_on_tiles_costs_one_deadline_however_many_heads_there_are() {
    let mut circle = TestWorld::with_second_settling(95).await;
    circle.advance_and_poll(HOUR).await;
    for peer in 0..4 {
        let (node, head) =
            (circle.peer(peer).clone(), circle.keys.sign_head(100 + peer as u64, Hash([7; 32])));
        let (secret, clock) = (circle.keys.peer_keys[peer].clone(), circle.clock.clone());
        circle.replace_peer(peer, move |mut listener| async move {
            while let Ok(mut stream) = listener.accept().await {
                let (node, head, secret, now) =
                    (node.clone(), head.clone(), secret.clone(), clock.now());
                tokio::spawn(async move {
                    while let Ok(Some(frame)) = unanimity_net::message::receive(&mut stream).await {
                        let answer = match Question::decode(&frame).unwrap() {
                            question @ Question::CosignedHead(_) if peer > 2 => {
                                node.answer(question).unwrap()
                            }
                            Question::CosignedHead(_) => Answer::CosignedHead(
                                CosignedHead::sign(&head, &secret, now).note().into(),
                            ),
                            Question::Tile(..) => std::future::pending().await,
                        };
                        unanimity_net::message::send(&mut stream, &answer.encode()).await.unwrap();
                    }
                });
            }
        });
    }
    let begun = tokio::time::Instant::now();
    assert_eq!(expect_unconfirmed(circle.update().await).len(), 3);
    assert_eq!(begun.elapsed(), 4 * circle.config.cycle.ask_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_that_stalls_in_the_middle_of_an_artifact_is_given_up() {
    let mut circle = TestWorld::with_second_settling(61).await;
    circle.advance_and_poll(HOUR).await;
    let host = StallingMirror::from_directory(circle.log_directory(), "artifact/");
    circle.mirrors = vec![host.mirror.clone()];
    let stall = host.stall().await;
    let late = async {
        host.wait_for_reads(1).await;
        tokio::time::advance(READ_TIMEOUT + SECOND).await;
    };
    let ((_, ended), ()) = tokio::join!(circle.update(), late);
    let error = ended.unwrap_err().to_string();
    assert!(error.contains("stalling: reading") || error.contains("nothing came"), "{error}");
    assert_eq!((host.reads_begun(), circle.installed_bytes()), (1, Some(FIRST_ARTIFACT.to_vec())));
    drop(stall);
    while host.mirror.read("checkpoint", 10_000).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(expect_installed(circle.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn mirrors_that_stall_cost_a_cycle_their_time_once_and_others_serve() {
    let mut circle = TestWorld::with_second_settling(62).await;
    circle.advance_and_poll(HOUR).await;
    let hosts = [(); 3].map(|()| StallingMirror::from_directory(circle.log_directory(), ""));
    let mirrors = hosts.iter().map(|host| host.mirror.clone());
    circle.mirrors = mirrors.chain([mirror(&circle, "log")]).collect();
    let stalls = join_all(hosts.iter().map(StallingMirror::stall)).await;
    let late = async {
        for host in &hosts {
            host.wait_for_reads(1).await;
        }
        tokio::time::advance(READ_TIMEOUT + SECOND).await;
    };
    let began = Instant::now();
    let (ended, ()) = tokio::join!(circle.update(), late);
    assert_eq!(expect_installed(ended), 2);
    assert_eq!(began.elapsed(), READ_TIMEOUT + SECOND);
    drop(stalls);
}
