//! Cycles of the client: faulty mirrors, releases that must not install, and forks that latch.

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
use unanimity_protocol::log_path::artifact_path;
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

fn mirror(world: &TestWorld, name: &str) -> Mirror {
    Mirror::from_directory(world.directory.join(name))
}

fn evidence_store(world: &TestWorld) -> EvidenceStore {
    EvidenceStore::new(&world.config.cycle.state, &world.keys.log, Storage::default())
}

/// A storage that simulates one long download: the clock advances when the artifact is created.
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
async fn stored_head_is_the_smallest_of_a_unanimous_round() {
    let mut world = TestWorld::new(60);
    world.publish(&release_spec(1)).unwrap();
    let first = world.head_of("log").unwrap();
    for peer in 0..4 {
        world.poll(peer).await.unwrap();
        world.update().await.1.unwrap_err();
        assert_eq!(world.trusted_head(), None);
    }
    world.poll(4).await.unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.poll(0).await.unwrap();
    world.publish(&release_spec(3)).unwrap();
    world.poll(1).await.unwrap();
    world.update().await.1.unwrap_err();
    assert_eq!(world.trusted_head(), Some(first.clone()));
    world.poll_all().await.unwrap();
    world.stop(2);
    world.update().await.1.unwrap_err();
    assert_eq!(world.trusted_head(), Some(first));
    world.start(2);
    world.update().await.1.unwrap_err();
    assert_eq!(world.trusted_head(), Some(world.head_of("log").unwrap()));
}

#[tokio::test(start_paused = true)]
async fn new_peer_that_is_behind_does_not_move_the_head_back() {
    let mut world = TestWorld::with_first_installed(61).await;
    world.copy_log("old").unwrap();
    world.publish(&release_spec(2)).unwrap();
    let all = world.config.peers.clone();
    world.config.peers =
        unanimity_protocol::PeerSet::new(all.iter().take(4).cloned().collect(), 3).unwrap();
    world.set_mirror(World::peer_name(4), "old").unwrap();
    world.advance_and_poll(SECOND).await;
    world.update().await.1.unwrap_err();
    let head = world.trusted_head().unwrap();
    assert_eq!(head.size(), 2);
    world.config.peers = all;
    for _ in 0..3 {
        let (peer, confirmation, _) = expect_one_unconfirmed(world.update().await);
        assert_eq!((peer.as_str(), confirmation), ("elif", Confirmation::Behind));
        assert_eq!(world.trusted_head(), Some(head.clone()));
        world.advance_and_poll(MINUTE).await;
    }
}

#[tokio::test(start_paused = true)]
async fn mirror_with_a_longer_fork_does_not_change_the_state() {
    let mut world = TestWorld::with_first_installed(62).await;
    world.copy_log("fork").unwrap();
    for n in 2..6 {
        world.publish_to("fork", &ReleaseSpec::new(n, "6.6.6", TROJAN)).unwrap();
    }
    world.set_mirror("client", "fork").unwrap();
    for _ in 0..3 {
        let unconfirmed = expect_unconfirmed(world.update().await);
        assert_eq!(unconfirmed.len(), 5);
        assert!(
            unconfirmed.iter().all(|unconfirmed| unconfirmed.confirmation == Confirmation::Behind)
        );
        world.advance_and_poll(HOUR).await;
    }
    assert_eq!(world.trusted_head().unwrap().size(), 1);
    // With an honest mirror again, nothing of the fork is left. Refused entries are reported.
    world.set_mirror("client", "log").unwrap();
    expect_up_to_date(world.update().await);
    world.publish(&ReleaseSpec { signers: vec![1], ..release_spec(2) }).unwrap();
    world.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(world.update().await), Refusal::Threshold { signed: 1, .. }));
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    assert!(evidence_store(&world).list().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn client_accepts_only_logs_that_extend_the_pinned_head() {
    let base = TestWorld::with_first_installed(63).await;
    base.publish(&release_spec(2)).unwrap();
    let pinned = base.head_of("log").unwrap();
    // A new client with a pinned head of size 2 and no state.
    let reset_client = |world: &mut TestWorld| {
        world.config.cycle.pinned = Some(pinned.clone());
        world.config.cycle.state = world.scratch_path("new-state");
        world.config.cycle.install_root = world.scratch_path("new-root");
    };
    let mut honest = base.copy();
    reset_client(&mut honest);
    honest.poll_all().await.unwrap();
    honest.update().await.1.unwrap_err();
    honest.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(honest.update().await), 2);
    // A shorter log, shown to the client and all peers.
    let mut smaller = TestWorld::with_first_installed(63).await;
    reset_client(&mut smaller);
    let rollback = expect_mirror_problem(smaller.update().await);
    assert!(matches!(rollback, MirrorProblem::Rollback { shown: 1, known: 2, .. }), "{rollback}");
    // Another log of any size, shown to the client and all peers.
    for grown in 1..4 {
        let mut other = TestWorld::with_first_installed(63).await;
        reset_client(&mut other);
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
async fn update_installs_with_one_bad_mirror_of_two() {
    let base = TestWorld::with_second_settling(64).await;
    for seed in 0..6 {
        let mut world = base.copy();
        world.copy_log("old").unwrap();
        world.copy_log("garbled").unwrap();
        world.copy_log("short").unwrap();
        for name in ["tile/entries/000.p/2", "tile/entries/000.p/3", "tile/0/000.p/2"] {
            fs::write(world.directory.join("garbled").join(name), b"garbled").unwrap();
        }
        fs::write(
            world.directory.join("garbled/artifact").join(Hash::digest(SECOND_ARTIFACT).hex()),
            TROJAN,
        )
        .unwrap();
        fs::write(world.directory.join("short/tile/entries/000.p/2"), b"").unwrap();
        fs::write(
            world.directory.join("short/artifact").join(Hash::digest(SECOND_ARTIFACT).hex()),
            &SECOND_ARTIFACT[1..],
        )
        .unwrap();
        world.append_unchecked("log", &[b"news".to_vec()]).unwrap();
        let bad = ["old", "missing", "garbled", "short"][seed % 4];
        world.mirrors = vec![mirror(&world, bad), mirror(&world, "log")];
        world.advance_and_poll(HOUR).await;
        for _ in 0..seed {
            world.check().await.1.unwrap();
        }
        assert_eq!(expect_installed(world.update().await), 2, "{bad}");
        assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
    }
}

#[tokio::test(start_paused = true)]
async fn dead_mirrors_are_an_error_and_not_a_refusal() {
    let mut world = TestWorld::with_second_settling(65).await;
    world.advance_and_poll(HOUR).await;
    world.set_mirror("client", "missing").unwrap();
    assert!(matches!(expect_error(world.update().await), ClientError::Mirrors(_)));
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    assert!(matches!(expect_error(world.update().await), ClientError::Mirrors(_)));
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    world.set_mirror("client", "log").unwrap();
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn client_refuses_wrong_entries_and_names_the_mirror() {
    let mut world = TestWorld::with_first_installed(66).await;
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.copy_log("bad").unwrap();
    world.set_mirror("client", "bad").unwrap();
    let path = world.directory.join("bad/tile/entries/000.p/2");
    let whole = fs::read(&path).unwrap();
    // The first entry was read before.
    let first = 2 + usize::from(u16::from_be_bytes([whole[0], whole[1]]));
    for at in (first..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        match world.update().await.1.unwrap_err() {
            CycleError::Mirror(MirrorProblem::OtherEntries { served, .. }) => {
                assert!(served.contains("mirrors/client"));
            }
            CycleError::Client(ClientError::Mirrors(_)) => {}
            other => panic!("{other}"),
        }
        fs::write(&path, &whole[..at]).unwrap();
        assert!(matches!(expect_error(world.check().await), ClientError::Mirrors(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn peers_serve_the_tiles_that_the_mirror_lacks() {
    let mut world = TestWorld::with_second_settling(67).await;
    world.advance_and_poll(HOUR).await;
    world.copy_log("bare").unwrap();
    fs::remove_dir_all(world.directory.join("bare/tile/0")).unwrap();
    world.set_mirror("client", "bare").unwrap();
    assert_eq!(expect_installed(world.update().await), 2);
    verify_stored_proof(&world, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn peer_with_wrong_or_stalled_tiles_costs_only_its_deadline() {
    let mut world = TestWorld::with_second_settling(89).await;
    world.advance_and_poll(HOUR).await;
    world.copy_log("bare").unwrap();
    fs::remove_dir_all(world.directory.join("bare/tile/0")).unwrap();
    world.set_mirror("client", "bare").unwrap();
    for peer in 0..4 {
        let node = world.peer(peer).clone();
        world.replace_peer(peer, move |mut listener| async move {
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
    assert_eq!(expect_installed(world.update().await), 2);
    verify_stored_proof(&world, 2).unwrap();
}

/// Verifies the proof bundle of an installed release, as a third party does.
fn verify_stored_proof(world: &TestWorld, sequence: u64) -> Result<(), Refusal> {
    let label = ["", "1-1.0.0", "2-1.1.0"][sequence as usize];
    let text =
        fs::read_to_string(world.config.cycle.install_root.join("proofs").join(label)).unwrap();
    verify(world, &text)
}

/// Verifies the text of a proof bundle.
fn verify(world: &TestWorld, text: &str) -> Result<(), Refusal> {
    let bundle = ProofBundle::parse(text).unwrap();
    let config = &world.config;
    bundle.verify(&config.cycle.policy, &config.peers, &config.cycle.limits).map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn proof_bundle_verifies_only_with_every_cosigned_head() {
    let mut world = TestWorld::with_first_installed(68).await;
    // Cosigned heads of different sizes in both rounds.
    for n in 0..5 {
        world.append_unchecked("log", &[vec![n]]).unwrap();
        world.poll(usize::from(n)).await.unwrap();
    }
    world.publish(&release_spec(2)).unwrap();
    for peer in 0..5 {
        world.append_unchecked("log", &[vec![9]]).unwrap();
        world.poll(peer).await.unwrap();
    }
    world.update().await.1.unwrap_err();
    world.advance(HOUR);
    for peer in 0..5 {
        world.append_unchecked("log", &[vec![9]]).unwrap();
        world.poll(peer).await.unwrap();
    }
    assert_eq!(expect_installed(world.update().await), 2);
    verify_stored_proof(&world, 1).unwrap();
    verify_stored_proof(&world, 2).unwrap();
    let path = world.config.cycle.install_root.join("proofs/2-1.1.0");
    let text = fs::read_to_string(path).unwrap();
    let label = "\ncosigned-head ";
    let cosigned: Vec<usize> = text.match_indices(label).map(|(at, _)| at + 1).collect();
    assert_eq!(cosigned.len(), 10);
    for at in cosigned {
        let (length, rest) = text[at - 1 + label.len()..].split_once('\n').unwrap();
        let rest = &rest[length.parse::<usize>().unwrap()..];
        let before = text[..at].rfind("\nround ").unwrap();
        let (head, tail) = text[..at].split_at(before);
        let without = format!("{head}{}{rest}", tail.replacen(" 5\n", " 4\n", 1));
        let refusal = verify(&world, &without).unwrap_err();
        assert!(matches!(refusal, Refusal::Incomplete(_) | Refusal::Settling { .. }), "{refusal}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_tiles_cause_neither_a_bad_proof_nor_a_stuck_client() {
    // Large enough that the tree's root can be right and the release's own tile wrong.
    let mut world = TestWorld::with_first_installed(69).await;
    world.publish(&release_spec(2)).unwrap();
    world.append_unchecked("log", &vec![b"x".to_vec(); 600]).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    let bad = world.copy_log("bad").unwrap();
    fs::write(bad.join("tile/0/000"), vec![7; 32 * 256]).unwrap();
    world.set_mirror("client", "bad").unwrap();
    assert_eq!(expect_installed(world.update().await), 2);
    verify_stored_proof(&world, 2).unwrap();
}

#[tokio::test(start_paused = true)]
async fn download_that_outlives_its_round_asks_the_peers_again() {
    let mut world = TestWorld::with_second_settling(70).await;
    world.advance_and_poll(HOUR).await;
    world.disk = slow_download(&world.clock, 16 * MINUTE);
    let began = world.now();
    assert_eq!(expect_installed(world.update().await), 2);
    let text = fs::read_to_string(world.config.cycle.install_root.join("proofs/2-1.1.0")).unwrap();
    let config = &world.config;
    let confirmed = ProofBundle::parse(&text).unwrap().verify(
        &config.cycle.policy,
        &config.peers,
        &config.cycle.limits,
    );
    assert_eq!(confirmed.unwrap().rounds()[1].closed_at(), Timestamp(began.0 + 16 * 60));
    // 15 minutes are not too long.
    let mut world = TestWorld::with_second_settling(70).await;
    world.advance_and_poll(HOUR).await;
    world.disk = slow_download(&world.clock, 15 * MINUTE);
    assert_eq!(expect_installed(world.update().await), 2);
    let text = fs::read_to_string(world.config.cycle.install_root.join("proofs/2-1.1.0")).unwrap();
    assert!(text.contains(&format!("\nround {} 5\n", began.0)));
}

#[tokio::test(start_paused = true)]
async fn peer_that_falls_silent_during_the_download_stops_the_switch() {
    let mut world = TestWorld::with_second_settling(71).await;
    world.advance_and_poll(HOUR - 20 * MINUTE).await;
    world.advance(20 * MINUTE);
    for peer in [0, 1, 3, 4] {
        world.poll(peer).await.unwrap();
    }
    world.disk = slow_download(&world.clock, 16 * MINUTE);
    let (peer, _, failure) = expect_one_unconfirmed(world.update().await);
    assert_eq!(peer, "carol");
    assert!(matches!(failure, Some(PeerFailure::NoFreshHead(_))));
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    world.poll(2).await.unwrap();
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn newer_release_that_settles_during_the_download_installs() {
    let mut world = TestWorld::with_second_settling(72).await;
    world.advance_and_poll(10 * MINUTE).await;
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR - 10 * MINUTE).await;
    world.disk = slow_download(&world.clock, 16 * MINUTE);
    assert_eq!(expect_installed(world.update().await), 3);
}

#[tokio::test(start_paused = true)]
async fn newest_settled_release_of_two_installs() {
    let mut world = TestWorld::with_second_settling(73).await;
    world.advance_and_poll(30 * MINUTE).await;
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    let Refusal::Settling { release, .. } = expect_refusal(world.update().await) else { panic!() };
    assert!(release.starts_with("3-"));
    let mut both = world.copy();
    both.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(both.update().await), 3);
    expect_up_to_date(both.update().await);
    // Only the older release has settled. It installs, and the newer one continues to settle.
    world.advance_and_poll(30 * MINUTE).await;
    assert_eq!(expect_installed(world.update().await), 2);
    world.advance_and_poll(30 * MINUTE - SECOND).await;
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    world.advance_and_poll(SECOND).await;
    assert_eq!(expect_installed(world.update().await), 3);
}

#[tokio::test(start_paused = true)]
async fn refused_entry_is_reported_once() {
    let mut world = TestWorld::with_first_installed(74).await;
    world.publish(&ReleaseSpec { signers: vec![2], ..release_spec(2) }).unwrap();
    world.poll_all().await.unwrap();
    let (report, result) = world.update().await;
    assert_eq!(report.refused.len(), 1);
    assert_eq!(report.refused[0].0, 1);
    assert!(matches!(
        expect_refusal((report, result)),
        Refusal::Threshold { signed: 1, threshold: 2 }
    ));
    for _ in 0..3 {
        world.advance_and_poll(10 * MINUTE).await;
        let (report, result) = world.update().await;
        assert_eq!(report.refused, []);
        expect_up_to_date((report, result));
    }
}

#[tokio::test(start_paused = true)]
async fn refused_entry_is_reported_by_a_cycle_with_two_rounds() {
    let mut world = TestWorld::with_second_settling(75).await;
    world.publish(&ReleaseSpec { signers: vec![2], ..release_spec(3) }).unwrap();
    world.advance_and_poll(HOUR).await;
    world.disk = slow_download(&world.clock, 16 * MINUTE);
    let (report, result) = world.update().await;
    assert_eq!(report.refused.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2]);
    assert_eq!(expect_installed((report, result)), 2);
}

#[tokio::test(start_paused = true)]
async fn rubbish_in_the_log_blocks_no_release() {
    let mut world = TestWorld::with_first_installed(76).await;
    let (_, note) = world.sign_release(&release_spec(2)).unwrap();
    let note = note.to_string();
    let unsigned = |text: String| Note::unsigned(&text).unwrap();
    let mut stranger = unsigned(note.split("\n\n").next().unwrap().to_owned() + "\n");
    stranger.sign(&world.keys.log_key);
    let mut odd = unsigned("unanimity/surprise/v1\nlog log.example/releases\n".into());
    odd.sign(&world.keys.publisher_keys[0]);
    let mut broken = unsigned("unanimity/manifest/v1\nproduct hello\nchannel stable\n".into());
    world.keys.publisher_keys.iter().for_each(|key| broken.sign(key));
    let mut elsewhere = unsigned(
        note.split("\n\n").next().unwrap().replace("log.example/releases", "other.example") + "\n",
    );
    world.keys.publisher_keys.iter().for_each(|key| elsewhere.sign(key));
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
    world.append_unchecked("log", &rubbish).unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.append_unchecked("log", &rubbish).unwrap();
    world.poll_all().await.unwrap();
    let (report, result) = world.update().await;
    assert_eq!(report.unknown_kinds, 2);
    assert!(matches!(expect_refusal((report, result)), Refusal::Settling { .. }));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn two_texts_of_one_sequence_install_neither() {
    let mut world = TestWorld::with_second_settling(77).await;
    world.publish(&ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    world.advance_and_poll(HOUR).await;
    let refusal = expect_refusal(world.update().await);
    assert!(
        matches!(refusal, Refusal::DuplicateSequence { sequence: 2, first: 1, second: 2 }),
        "{refusal}"
    );
    world.advance_and_poll(HOUR).await;
    expect_up_to_date(world.update().await);
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    // Sequence 1 is installed.
    world.publish(&ReleaseSpec::new(1, "1.0.0", TROJAN)).unwrap();
    world.poll_all().await.unwrap();
    let refusal = expect_refusal(world.update().await);
    assert!(matches!(refusal, Refusal::DuplicateSequence { sequence: 1, .. }), "{refusal}");
    // The publisher makes another release.
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 3);
}

#[tokio::test(start_paused = true)]
async fn text_that_is_logged_twice_is_no_conflict() {
    let mut world = TestWorld::with_first_installed(78).await;
    let note = world.sign_release(&release_spec(2)).unwrap().1.to_string().into_bytes();
    world.publish(&release_spec(2)).unwrap();
    world.append_unchecked("log", &[note.clone(), note]).unwrap();
    world.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn release_that_expires_before_it_settles_is_reported_once() {
    let mut world = TestWorld::with_first_installed(79).await;
    world.publish(&ReleaseSpec { valid_for: 50 * MINUTE, ..release_spec(2) }).unwrap();
    world.poll_all().await.unwrap();
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    world.advance_and_poll(HOUR).await;
    assert!(matches!(expect_refusal(world.update().await), Refusal::Expired { .. }));
    world.advance_and_poll(MINUTE).await;
    expect_up_to_date(world.update().await);
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn release_that_expires_during_the_download_does_not_install() {
    let mut world = TestWorld::with_first_installed(80).await;
    world.publish(&ReleaseSpec { valid_for: 70 * MINUTE, ..release_spec(2) }).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    world.disk = slow_download(&world.clock, 12 * MINUTE);
    assert!(matches!(expect_refusal(world.update().await), Refusal::Expired { .. }));
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn newer_manifest_format_blocks_earlier_releases() {
    let mut world = TestWorld::with_second_settling(81).await;
    let text = "unanimity/manifest/v2\nlog log.example/releases\nproduct hello\nchannel stable\n";
    let mut forged = Note::unsigned(text).unwrap();
    forged.sign(&world.keys.publisher_keys[0]);
    world.append_unchecked("log", &[forged.to_string().into_bytes()]).unwrap();
    world.advance_and_poll(MINUTE).await;
    // One key is below the threshold.
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    forged.sign(&world.keys.publisher_keys[1]);
    world.append_unchecked("log", &[forged.to_string().into_bytes()]).unwrap();
    world.advance_and_poll(HOUR).await;
    assert!(matches!(
        expect_refusal(world.update().await),
        Refusal::UnsupportedFormat { index: 3, .. }
    ));
    // Every cycle reports it. A client that cannot read its publisher's manifest must not be
    // silent.
    world.advance_and_poll(HOUR).await;
    assert!(matches!(
        expect_refusal(world.update().await),
        Refusal::UnsupportedFormat { index: 3, .. }
    ));
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    world.publish(&release_spec(3)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 3);
    world.advance_and_poll(MINUTE).await;
    expect_up_to_date(world.update().await);
}

#[tokio::test(start_paused = true)]
async fn fork_latches_until_it_is_acknowledged() {
    let mut world = TestWorld::with_first_installed(82).await;
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    world.poll_all().await.unwrap();
    world.set_mirror("client", "fork").unwrap();
    let Refusal::Fork(found) = expect_refusal(world.update().await) else { panic!("no fork") };
    let store = evidence_store(&world);
    assert_eq!(store.list().unwrap(), [(found.id(), false)]);
    // The mirror becomes honest. The fork stays latched.
    world.set_mirror("client", "log").unwrap();
    for _ in 0..3 {
        world.advance_and_poll(HOUR).await;
        let LogForked { id } = expect_latched(world.update().await);
        assert_eq!(id, found.id());
    }
    for unknown in ["", "0123456789abcdef", "../client/client", &found.id()[..8]] {
        assert!(matches!(store.acknowledge(unknown), Err(StoreError::NoEvidence(_))));
    }
    expect_latched(world.update().await);
    store.acknowledge(&found.id()).unwrap();
    store.acknowledge(&found.id()).unwrap();
    assert_eq!(store.list().unwrap(), [(found.id(), true)]);
    world.update().await.1.unwrap_err();
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn fork_of_any_size_is_found_and_only_evidence_is_stored() {
    let mut base = TestWorld::with_first_installed(90).await;
    base.copy_log("fork").unwrap();
    for n in 2..4 {
        base.publish(&release_spec(n)).unwrap();
    }
    base.poll_all().await.unwrap();
    base.update().await.1.unwrap_err();
    assert_eq!(base.trusted_head().unwrap().size(), 3);
    for grown in 1..4 {
        let mut world = base.copy();
        world.poll_all().await.unwrap();
        for n in 0..grown {
            world.publish_to("fork", &ReleaseSpec::new(2 + n, "6.6.6", TROJAN)).unwrap();
        }
        world.set_mirror("client", "fork").unwrap();
        let steps = Arc::new(Mutex::new(Vec::new()));
        let seen = steps.clone();
        world.disk = Storage::with_hook(move |step| {
            seen.lock().unwrap().push(format!("{step:?}"));
            Ok(())
        });
        let Refusal::Fork(found) = expect_refusal(world.update().await) else { panic!("no fork") };
        assert_eq!(found.smaller().size(), 3.min(1 + grown));
        assert_eq!(evidence_store(&world).list().unwrap(), [(found.id(), false)]);
        let steps = steps.lock().unwrap();
        let stored = steps.iter().position(|step| step.contains("evidence")).unwrap();
        assert!(!steps[stored..].iter().any(|step| step.contains("client.json")), "{steps:?}");
        assert_eq!(world.trusted_head().unwrap(), base.trusted_head().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledged_fork_that_goes_on_is_refused_again() {
    let mut world = TestWorld::with_first_installed(91).await;
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    world.set_mirror("client", "fork").unwrap();
    for _ in 0..3 {
        world.advance_and_poll(HOUR).await;
        let Refusal::Fork(found) = expect_refusal(world.update().await) else { panic!("no fork") };
        evidence_store(&world).acknowledge(&found.id()).unwrap();
    }
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn mirror_ahead_of_all_peers_without_entries_stops_no_update() {
    let mut world = TestWorld::with_second_settling(93).await;
    world.copy_log("honest").unwrap();
    world.append_unchecked("log", &[b"news".to_vec()]).unwrap();
    let ahead = world.copy_log("ahead").unwrap();
    fs::remove_file(ahead.join("tile/entries/000.p/3")).unwrap();
    world.set_peer_mirrors("honest").unwrap();
    world.mirrors =
        ["ahead", "honest"].map(|m| Mirror::from_directory(world.directory.join(m))).to_vec();
    world.advance_and_poll(HOUR).await;
    let (report, result) = world.update().await;
    snapbox::assert_data_eq!(
        report.remarks.join("\n").replace(&world.directory.display().to_string(), "[DIR]"),
        snapbox::file!["words/remark_on_an_unconfirmed_head_without_entries.txt"]
    );
    assert_eq!(expect_installed((report, result)), 2);
}

#[tokio::test(start_paused = true)]
async fn mirror_ahead_of_all_peers_cannot_restart_settling() {
    let mut world = TestWorld::with_second_settling(94).await;
    let news =
        |word: &str| (0..300).map(|i| format!("{word} {i}").into_bytes()).collect::<Vec<_>>();
    world.append_unchecked("log", &news("old")).unwrap();
    world.advance_and_poll(30 * MINUTE).await;
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    // The mirror is ahead of all peers, and lacks the tile that links the first round to its head.
    world.copy_log("honest").unwrap();
    world.set_peer_mirrors("honest").unwrap();
    world.append_unchecked("log", &news("new")).unwrap();
    let ahead = world.copy_log("ahead").unwrap();
    fs::remove_file(ahead.join("tile/0/000")).unwrap();
    world.mirrors =
        ["ahead", "honest"].map(|m| Mirror::from_directory(world.directory.join(m))).to_vec();
    world.advance_and_poll(25 * MINUTE).await;
    world.update().await.1.unwrap_err();
    // All hosts show the same head again, and the hour since the first round is over.
    world.set_peer_mirrors("log").unwrap();
    world.mirrors = vec![Mirror::from_directory(world.directory.join("log"))];
    world.advance_and_poll(6 * MINUTE).await;
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn acknowledged_fork_that_has_ended_stops_no_update() {
    let mut world = TestWorld::with_first_installed(92).await;
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    world.poll_all().await.unwrap();
    // One peer shows the fork once. The client stores it as that peer's largest head.
    let shown = world.cosign_head(&world.head_of("fork").unwrap(), 2, world.now());
    world.replace_with_responder(2, move |_| Answer::CosignedHead(shown.clone()));
    let Refusal::Fork(found) = expect_refusal(world.update().await) else { panic!("no fork") };
    world.start(2);
    expect_latched(world.update().await);
    evidence_store(&world).acknowledge(&found.id()).unwrap();
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn evidence_from_a_peer_is_stored_before_anything_else() {
    let mut world = TestWorld::with_first_installed(83).await;
    world.copy_log("fork").unwrap();
    world.publish(&release_spec(2)).unwrap();
    world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
    world.poll_all().await.unwrap();
    world.set_mirror(World::peer_name(2), "fork").unwrap();
    world.poll(2).await.unwrap();
    assert!(matches!(world.ask_for_head(2).await, Answer::Evidence(_)));
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    world.disk = Storage::with_hook(move |step| {
        seen.lock().unwrap().push(step.clone());
        // The evidence can be written, and the client's state cannot.
        match step {
            WriteStep::Create(path) if path.ends_with("client.json") => {
                Err(io::Error::from(io::ErrorKind::StorageFull))
            }
            _ => Ok(()),
        }
    });
    assert!(matches!(expect_refusal(world.update().await), Refusal::Fork(_)));
    let first = steps.lock().unwrap().iter().find_map(|step| match step {
        WriteStep::Create(path) => Some(path.clone()),
        _ => None,
    });
    assert!(first.unwrap().to_string_lossy().contains("/evidence/"));
    expect_latched(world.update().await);
}

#[tokio::test(start_paused = true)]
async fn check_reports_the_release_and_installs_nothing() {
    let mut world = TestWorld::with_second_settling(84).await;
    world.advance_and_poll(HOUR).await;
    for _ in 0..2 {
        let (_, result) = world.check().await;
        assert_eq!(result.as_ref().map(Classify::exit).ok(), Some(Exit::Available));
        let Ok(CycleOutcome::Available(release)) = result else { panic!("{result:?}") };
        assert_eq!(release.manifest().sequence, 2);
        assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn later_round_installs_a_separate_download() {
    let mut world = TestWorld::with_second_settling(75).await;
    world.advance_and_poll(HOUR).await;
    let mut rng = StdRng::seed_from_u64(3);
    let (config, network, clock) =
        (world.config.clone(), world.network.clone(), world.clock.clone());
    let mirrors = world.mirrors.clone();
    let client = || Client::open(&config, &mirrors, &network, &clock, Storage::default()).unwrap();
    // The round itself downloads nothing.
    let artifacts = world.log_directory().join("artifact");
    fs::rename(&artifacts, world.scratch_path("away")).unwrap();
    let result = client().install_downloaded(&mut rng).await.1;
    let Ok(CycleOutcome::Available(release)) = result else { panic!("{result:?}") };
    fs::rename(world.scratch_path("away"), &artifacts).unwrap();
    let downloader = Downloader::new(&config, &mirrors, &network, Storage::default());
    downloader.download(&release, &mut CycleReport::default(), &mut rng).await.unwrap();
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    fs::remove_dir_all(&artifacts).unwrap();
    // The earlier confirmation does not count. Every peer must confirm again.
    world.stop(2);
    assert_eq!(expect_one_unconfirmed(client().install_downloaded(&mut rng).await).0, "carol");
    world.start(2);
    world.advance(MINUTE);
    assert_eq!(expect_installed(client().install_downloaded(&mut rng).await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn next_run_syncs_the_name_of_a_downloaded_artifact() {
    let mut world = TestWorld::with_second_settling(77).await;
    world.advance_and_poll(HOUR).await;
    let Ok(CycleOutcome::Available(release)) = world.check().await.1 else {
        panic!("not available")
    };
    let (config, network) = (world.config.clone(), world.network.clone());
    let mirrors = world.mirrors.clone();
    let mut rng = StdRng::seed_from_u64(3);
    // A run that is killed after it named the artifact and before it synced the name.
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
        .download(&release, &mut report, &mut rng)
        .await
        .unwrap_err();
    // The next run finds the artifact.
    let steps = Arc::new(Mutex::new(Vec::new()));
    let noting = steps.clone();
    let disk = Storage::with_hook(move |step| {
        noting.lock().unwrap().push(step.clone());
        Ok(())
    });
    Downloader::new(&config, &mirrors, &network, disk)
        .download(&release, &mut report, &mut rng)
        .await
        .unwrap();
    let directory = config.cycle.install_root.join("versions/.2-1.1.0.new");
    let steps = steps.lock().unwrap();
    assert!(steps.contains(&WriteStep::SyncDir(directory)), "{steps:?}");
    assert!(!steps.iter().any(|step| matches!(step, WriteStep::Create(_))), "{steps:?}");
}

#[tokio::test(start_paused = true)]
async fn download_waits_up_to_ten_minutes_for_another_one() {
    let mut world = TestWorld::with_second_settling(76).await;
    world.advance_and_poll(HOUR).await;
    let lock = Storage::default().lock(&world.config.cycle.install_root).unwrap().unwrap();
    let began = tokio::time::Instant::now();
    let busy = expect_error(world.update().await);
    assert!(matches!(busy, ClientError::Store(StoreError::Busy(_))), "{busy}");
    assert!((600..620).contains(&began.elapsed().as_secs()));
    world.poll_all().await.unwrap();
    let release = async {
        tokio::time::sleep(MINUTE).await;
        drop(lock);
    };
    let (result, ()) = tokio::join!(world.update(), release);
    assert_eq!(expect_installed(result), 2);
}

#[tokio::test(start_paused = true)]
async fn confirmed_release_is_valid_for_15_minutes_and_its_artifact() {
    let mut world = TestWorld::with_second_settling(92).await;
    world.advance_and_poll(HOUR).await;
    let (_, result) = world.check().await;
    let Ok(CycleOutcome::Available(release)) = result else { panic!("{result:?}") };
    let root = InstallRoot::new(&world.config.cycle.install_root, Storage::default());
    let prepare = |bytes: &[u8]| {
        let mut partial = root.open_download(&release, &world.config.cycle.platform)?;
        partial.restart()?;
        partial.write(vec![bytes.to_vec()])?;
        partial.finish()?.unpack()
    };
    let mut altered = SECOND_ARTIFACT.to_vec();
    altered[20] ^= 1;
    for wrong in [TROJAN, &SECOND_ARTIFACT[1..], &[SECOND_ARTIFACT, b"x"].concat(), b"", &altered] {
        let refused = prepare(wrong).unwrap_err();
        assert!(matches!(refused, InstallError::Install(InstallRefusal::Artifact(_))), "{refused}");
    }
    let at = release.rounds()[1].closed_at();
    let switch = async |now| {
        let prepared = prepare(SECOND_ARTIFACT).unwrap();
        let clock = ManualClock::at(now);
        let switch = root.begin_switch(&release, &clock, || Ok::<_, InstallError>(())).await?;
        switch.finish(&release, prepared, "", &clock).await
    };
    let late = switch(at.after(15 * MINUTE + SECOND)).await.unwrap_err();
    assert!(matches!(late, InstallError::Refused(Refusal::RoundTooOld { .. })), "{late}");
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    switch(at.after(15 * MINUTE)).await.unwrap();
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn clock_before_a_verified_time_is_an_error() {
    let mut world = TestWorld::with_second_settling(85).await;
    world.advance_and_poll(HOUR).await;
    assert_up_to_date_or_available(world.check().await.1);
    let now = world.now();
    for back in [61, 3600, 365 * 24 * 3600] {
        world.clock.set(Timestamp(now.0 - back));
        world.poll_all().await.unwrap();
        let error = expect_error(world.update().await);
        assert!(matches!(error, ClientError::Clock { .. }), "{error}");
        assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
    }
    world.clock.set(now);
    world.poll_all().await.unwrap();
    assert_eq!(expect_installed(world.update().await), 2);
}

fn assert_up_to_date_or_available(result: Result<CycleOutcome, unanimity_client::CycleError>) {
    assert!(
        matches!(result, Ok(CycleOutcome::UpToDate | CycleOutcome::Available(_))),
        "{result:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn clock_that_was_fast_for_a_while_settles_no_release() {
    let mut world = TestWorld::with_first_installed(86).await;
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    world.update().await.1.unwrap_err();
    // Only the client's clock is fast. For the client, every cosignature is too old.
    let others = world.now();
    world.clock.set(Timestamp(others.0 + 3700));
    let head = world.head_of("log").unwrap();
    for peer in 0..5 {
        let cosigned = world.cosign_head(&head, peer, others);
        world.replace_with_responder(peer, move |_| Answer::CosignedHead(cosigned.clone()));
    }
    let unconfirmed = expect_unconfirmed(world.update().await);
    assert!(
        unconfirmed.iter().all(|m| matches!(m.failure, Some(PeerFailure::TooOld(_)))),
        "{unconfirmed:?}"
    );
    assert_eq!(unconfirmed.len(), 5);
    world.clock.set(others);
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
}

#[tokio::test(start_paused = true)]
async fn one_peer_and_a_wrong_clock_cannot_stop_a_client_for_ever() {
    let mut world = TestWorld::with_second_settling(88).await;
    let right = world.now();
    world.clock.set(Timestamp(right.0 + 365 * 24 * 3600));
    let wrong = world.now();
    let head = world.head_of("log").unwrap();
    for peer in 0..5 {
        // One peer agrees with the wrong clock.
        let cosigned = world.cosign_head(&head, peer, if peer == 4 { wrong } else { right });
        world.replace_with_responder(peer, move |_| Answer::CosignedHead(cosigned.clone()));
    }
    assert_eq!(expect_unconfirmed(world.update().await).len(), 4);
    world.clock.set(right);
    (0..5).for_each(|peer| world.start(peer));
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn fork_never_installs_while_one_peer_is_honest() {
    // The attacker holds the publisher's keys, the log's key, the client's mirror and all peers but
    // one.
    let base = TestWorld::with_first_installed(87).await;
    for honest_grows in [true, false] {
        let mut world = base.copy();
        world.copy_log("fork").unwrap();
        world.publish_to("fork", &ReleaseSpec::new(2, "1.1.0", TROJAN)).unwrap();
        world.set_mirror("client", "fork").unwrap();
        let fork = world.head_of("fork").unwrap();
        if honest_grows {
            world.publish(&release_spec(2)).unwrap();
        }
        for _ in 0..4 {
            world.advance_and_poll(HOUR).await;
            for liar in 1..5 {
                let cosigned = world.cosign_head(&fork, liar, world.now());
                world.replace_with_responder(liar, move |_| Answer::CosignedHead(cosigned.clone()));
            }
            match world.update().await.1.unwrap_err() {
                CycleError::Refused(Refusal::Fork(_)) | CycleError::LogForked(_) => {
                    assert!(honest_grows)
                }
                CycleError::Refused(Refusal::Incomplete(unconfirmed)) => {
                    assert!(!honest_grows);
                    assert_eq!(unconfirmed[0].confirmation, Confirmation::Behind);
                }
                other => panic!("{other}"),
            }
            assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
        }
    }
}

/// A head, signed with the log's key, that looks served because its root needs only one hash. No
/// tiles link it to another head.
fn unlinkable_head(world: &TestWorld) -> (unanimity_protocol::TreeHead, Tile) {
    (world.keys.sign_head(1 << 40, Hash([7; 32])), Tile { level: 5, index: 0, width: 1 })
}

#[tokio::test(start_paused = true)]
async fn unlinkable_head_on_one_mirror_of_two_stops_no_update() {
    let mut world = TestWorld::with_second_settling(93).await;
    world.advance_and_poll(HOUR).await;
    let (head, tile) = unlinkable_head(&world);
    let path = world.copy_log("unlinkable").unwrap();
    fs::write(path.join("checkpoint"), head.note()).unwrap();
    let tile = path.join(tile.path());
    fs::create_dir_all(tile.parent().unwrap()).unwrap();
    fs::write(tile, head.root().0).unwrap();
    world.mirrors = vec![mirror(&world, "unlinkable"), mirror(&world, "log")];
    let (report, result) = world.update().await;
    assert!(report.remarks.iter().any(|remark| remark.contains(&head.to_string())), "{report:?}");
    assert_eq!(expect_installed((report, result)), 2);
    // A new client ignores the head as well.
    let mut new = TestWorld::with_second_settling(93).await;
    new.mirrors = world.mirrors.clone();
    new.config.cycle.state = new.scratch_path("new-state");
    new.config.cycle.install_root = new.scratch_path("new-root");
    assert!(matches!(expect_refusal(new.update().await), Refusal::Settling { .. }));
}

#[tokio::test(start_paused = true)]
async fn unlinkable_head_of_a_peer_leaves_only_that_peer_unproven() {
    let mut world = TestWorld::with_second_settling(94).await;
    world.advance_and_poll(HOUR).await;
    let (head, _) = unlinkable_head(&world);
    let cosigned = world.cosign_head(&head, 2, world.now());
    world.replace_with_responder(2, move |question| match question {
        Question::CosignedHead(_) => Answer::CosignedHead(cosigned.clone()),
        Question::Tile(..) => Answer::Tile(vec![7; 32]),
    });
    let (report, result) = world.update().await;
    assert_eq!(report.head.as_ref().unwrap().size(), 2);
    let (peer, confirmation, _) = expect_one_unconfirmed((report, result));
    assert_eq!((peer.as_str(), confirmation), ("carol", Confirmation::Unproven));
    assert!(evidence_store(&world).list().unwrap().is_empty());
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

#[tokio::test(start_paused = true)]
async fn peer_that_stalls_on_tiles_costs_one_deadline() {
    let mut world = TestWorld::with_second_settling(95).await;
    world.advance_and_poll(HOUR).await;
    for peer in 0..4 {
        let (node, head) =
            (world.peer(peer).clone(), world.keys.sign_head(100 + peer as u64, Hash([7; 32])));
        let (secret, clock) = (world.keys.peer_keys[peer].clone(), world.clock.clone());
        world.replace_peer(peer, move |mut listener| async move {
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
    let began = tokio::time::Instant::now();
    assert_eq!(expect_unconfirmed(world.update().await).len(), 3);
    assert_eq!(began.elapsed(), 4 * world.config.cycle.ask_timeout);
}

#[tokio::test(start_paused = true)]
async fn client_gives_up_a_mirror_that_stalls_during_an_artifact() {
    let mut world = TestWorld::with_second_settling(61).await;
    world.advance_and_poll(HOUR).await;
    let host = StallingMirror::from_directory(world.log_directory(), "artifact/");
    world.mirrors = vec![host.mirror.clone()];
    let stall = host.stall().await;
    let late = async {
        host.wait_for_reads(1).await;
        tokio::time::advance(READ_TIMEOUT + SECOND).await;
    };
    let ((_, result), ()) = tokio::join!(world.update(), late);
    let error = result.unwrap_err();
    let CycleError::Client(ClientError::Mirrors(causes)) = &error else { panic!("{error}") };
    // The client reports the timeout, not only that the mirror is busy with the stalled read.
    let path = artifact_path(&Hash::digest(SECOND_ARTIFACT));
    let cause = format!("stalling: {path}: the mirror sent nothing within {READ_TIMEOUT:?}");
    assert!(causes.contains(&cause), "{error}");
    assert_eq!((host.reads_begun(), world.installed_bytes()), (1, Some(FIRST_ARTIFACT.to_vec())));
    drop(stall);
    while host.mirror.read("checkpoint", 10_000).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(expect_installed(world.update().await), 2);
}

#[tokio::test(start_paused = true)]
async fn stalling_mirrors_cost_a_cycle_their_timeout_once() {
    let mut world = TestWorld::with_second_settling(62).await;
    world.advance_and_poll(HOUR).await;
    let hosts = [(); 3].map(|()| StallingMirror::from_directory(world.log_directory(), ""));
    let mirrors = hosts.iter().map(|host| host.mirror.clone());
    world.mirrors = mirrors.chain([mirror(&world, "log")]).collect();
    let stalls = join_all(hosts.iter().map(StallingMirror::stall)).await;
    let late = async {
        for host in &hosts {
            host.wait_for_reads(1).await;
        }
        tokio::time::advance(READ_TIMEOUT + SECOND).await;
    };
    let began = Instant::now();
    let (result, ()) = tokio::join!(world.update(), late);
    assert_eq!(expect_installed(result), 2);
    assert_eq!(began.elapsed(), READ_TIMEOUT + SECOND);
    drop(stalls);
}
