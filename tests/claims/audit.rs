//! Findings of an audit, played against the code that ships.
//!
//! A test whose name begins with `known_fault_` passes by showing a fault; the change that mends the
//! fault turns the test round. The other two tests show that a suspicion was unfounded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use unanimity_client::CycleOutcome;
use unanimity_config::{ClientConfig, CycleSettings, PollingSettings, SpoolSettings as Told};
use unanimity_install::spool::{PROOF_FILE, SpoolReader};
use unanimity_install::{OfflineInstallError, OfflineInstaller};
use unanimity_net::Mirror;
use unanimity_net::message::{Answer, Question};
use unanimity_protocol::tree::{consistency_ranges, consistency_roots};
use unanimity_protocol::{
    CosignatureSigningKey, CosignedHead, Evidence, Hash, Manifest, Note, Policy, ProofBundle,
    Refusal, TlogProof, Withdrawal,
};
use unanimity_state::EvidenceStore;
use unanimity_storage::{ManualClock, Storage};
use unanimity_testkit::test_world::{
    FIRST_ARTIFACT, HOUR, MINUTE, SECOND_ARTIFACT, TROJAN, TestWorld, expect_installed,
    expect_latched, expect_refusal, expect_up_to_date, release_spec,
};
use unanimity_testkit::{PEER_NAMES, PEERS, ReleaseSpec};
use unanimity_witness::{PollOutcome, Witness, WitnessConfig};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn trojan_release(sequence: u64) -> ReleaseSpec {
    ReleaseSpec::new(sequence, "6.6.6", TROJAN)
}

/// An attacker who holds the log's key and enough publisher keys logs release `sequence` in a fork.
fn fork_with_trojan(circle: &TestWorld, sequence: u64) {
    circle.copy_log("fork").unwrap();
    circle.publish_to("fork", &trojan_release(sequence)).unwrap();
    circle.set_mirror("client", "fork").unwrap();
}

/// No peer reaches a mirror.
fn block_peers(circle: &TestWorld) {
    circle.set_peer_mirrors("nowhere").unwrap();
}

async fn expect_settling(circle: &mut TestWorld) {
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Settling { .. }));
}

async fn publish_and_settle(circle: &mut TestWorld, draft: &ReleaseSpec) {
    circle.publish(draft).unwrap();
    circle.poll_all().await.unwrap();
    expect_settling(circle).await;
    circle.advance_and_poll(HOUR).await;
}

async fn expect_downloads(circle: &mut TestWorld, sequence: u64) {
    let (_, ended) = circle.update().await;
    assert!(
        matches!(&ended, Ok(CycleOutcome::Available(agreed)) if agreed.manifest().sequence == sequence),
        "{ended:?}"
    );
}

/// A node whose downloader and installer are apart, with release 1 installed.
async fn create_split_install(seed: u64) -> (TestWorld, PathBuf) {
    let mut circle = TestWorld::new(seed);
    let spool = circle.scratch_path("spool");
    fs::create_dir(&spool).unwrap();
    circle.config.cycle.spool = Some(Told { directory: spool.clone(), freshness: DAY });
    publish_and_settle(&mut circle, &release_spec(1)).await;
    expect_downloads(&mut circle, 1).await;
    assert_eq!(install_offline(&circle, &circle.config, &spool).unwrap(), 1);
    (circle, spool)
}

fn install_offline(
    circle: &TestWorld,
    config: &ClientConfig,
    spool: &Path,
) -> Result<u64, OfflineInstallError> {
    let spool = SpoolReader::open(spool)?;
    let clock = ManualClock::at(circle.now());
    let mut installer = OfflineInstaller::open(config, Storage::default())?;
    installer.install(&spool, DAY, &clock).now_or_never().unwrap().map(|done| done.sequence)
}

/// With `settle` of 20 minutes, one poll of every peer is enough for both rolls.
#[tokio::test(start_paused = true)]
async fn known_fault_a1_one_poll_makes_two_rolls() {
    let mut circle = TestWorld::with_first_installed(9001).await;
    circle.config.cycle.limits.settle = 20 * MINUTE;
    // The fork is shown for one moment.
    fork_with_trojan(&circle, 2);
    circle.set_peer_mirrors("fork").unwrap();
    circle.poll_all().await.unwrap();
    block_peers(&circle);
    expect_settling(&mut circle).await;
    for _ in 0..2 {
        circle.advance(10 * MINUTE);
        for polled in circle.poll_all().await.unwrap() {
            assert!(matches!(polled, PollOutcome::NoFreshHead));
        }
    }
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(TROJAN));
}

/// With the default `settle` of an hour, two polls 60 minutes apart are enough, and the log has
/// to be shown to the peers for those two moments alone.
#[tokio::test(start_paused = true)]
async fn known_fault_a2_two_moments_are_enough_for_the_default_settle() {
    let mut circle = TestWorld::with_first_installed(9002).await;
    fork_with_trojan(&circle, 2);
    circle.set_peer_mirrors("fork").unwrap();
    circle.poll_all().await.unwrap();
    block_peers(&circle);
    circle.advance(29 * MINUTE);
    expect_settling(&mut circle).await;
    // Minute 60: the second moment.
    circle.advance(31 * MINUTE);
    circle.set_peer_mirrors("fork").unwrap();
    circle.poll_all().await.unwrap();
    block_peers(&circle);
    circle.advance(29 * MINUTE);
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(TROJAN));
}

/// A downloader that was taken over stages nothing for 30 days. The installer says the same every day: that
/// a roll is too old, and not that it has seen no release since.
#[tokio::test(start_paused = true)]
async fn known_fault_b_withholding_is_not_noticed_by_the_installer() {
    let (mut circle, spool) = create_split_install(9010).await;
    publish_and_settle(&mut circle, &release_spec(2)).await;
    let mut said = Vec::new();
    for _ in 0..30 {
        circle.advance_and_poll(DAY).await;
        said.push(install_offline(&circle, &circle.config, &spool).unwrap_err().to_string());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

/// The installer takes an older release than one that every peer had confirmed in both rolls of
/// the same proof.
#[tokio::test(start_paused = true)]
async fn known_fault_c_the_installer_takes_an_older_release_than_the_log_has() {
    let (mut circle, spool) = create_split_install(9011).await;
    let own = circle.config.cycle.policy.clone();
    circle.publish(&release_spec(2)).unwrap();
    // Release 3, the security fix: signed by publishers 0 and 2, and good for the installer.
    circle.publish(&ReleaseSpec { signers: vec![0, 2], ..release_spec(3) }).unwrap();
    // A downloader that was taken over goes by a policy of its own.
    let keys = own.publishers()[..2].to_vec();
    circle.config.cycle.policy =
        Policy::new(own.product.clone(), own.channel.clone(), own.log.clone(), keys, 2).unwrap();
    circle.poll_all().await.unwrap();
    expect_settling(&mut circle).await;
    circle.advance_and_poll(HOUR).await;
    expect_downloads(&mut circle, 2).await;
    circle.config.cycle.policy = own;
    assert_eq!(install_offline(&circle, &circle.config, &spool).unwrap(), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

/// The client has found a fork and is latched, and the installer still installs from that log.
#[tokio::test(start_paused = true)]
async fn known_fault_d_a_latched_node_installs_what_was_staged() {
    let (mut circle, spool) = create_split_install(9012).await;
    publish_and_settle(&mut circle, &release_spec(2)).await;
    expect_downloads(&mut circle, 2).await;
    circle.copy_log("fork").unwrap();
    circle.publish(&ReleaseSpec::new(3, "1.2.0", b"honest")).unwrap();
    circle.advance_and_poll(MINUTE).await;
    circle.publish_to("fork", &ReleaseSpec::new(3, "1.2.0", TROJAN)).unwrap();
    circle.set_mirror("client", "fork").unwrap();
    assert!(matches!(expect_refusal(circle.update().await), Refusal::Fork(_)));
    expect_latched(circle.update().await);
    assert!(spool.join(PROOF_FILE).exists());
    circle.advance(23 * HOUR);
    assert_eq!(install_offline(&circle, &circle.config, &spool).unwrap(), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

/// A pinned head that is smaller than what the installer has read, and contradicts it, is not looked at
/// by the installer. The client takes the two for the fork that they are.
#[tokio::test(start_paused = true)]
async fn known_fault_e_the_installer_ignores_a_pinned_head_that_is_small() {
    let (mut circle, spool) = create_split_install(9014).await;
    publish_and_settle(&mut circle, &release_spec(2)).await;
    expect_downloads(&mut circle, 2).await;
    assert_eq!(install_offline(&circle, &circle.config, &spool).unwrap(), 2);
    publish_and_settle(&mut circle, &release_spec(3)).await;
    expect_downloads(&mut circle, 3).await;
    // A head of size 1 of another tree, under the same key.
    let strange = TestWorld::new(9014).append_unchecked("log", &[b"strange".to_vec()]).unwrap();
    circle.config.cycle.pinned = Some(strange);
    assert_eq!(install_offline(&circle, &circle.config, &spool).unwrap(), 3);
    assert!(matches!(expect_refusal(circle.check().await), Refusal::Fork(_)));
}

/// The mirrors of the client and of every peer show an old log for a year. The attacker needs no key.
#[tokio::test(start_paused = true)]
async fn known_fault_f_a_freeze_of_all_mirrors_is_up_to_date_for_a_year() {
    let mut circle = TestWorld::with_first_installed(9015).await;
    circle.copy_log("frozen").unwrap();
    circle.set_peer_mirrors("frozen").unwrap();
    circle.set_mirror("client", "frozen").unwrap();
    circle.publish(&release_spec(2)).unwrap();
    for _ in 0..365 {
        circle.advance_and_poll(DAY).await;
        expect_up_to_date(circle.update().await);
    }
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

/// A peer keeps as many pieces of evidence as the holder of the log's key cares to sign.
#[tokio::test(start_paused = true)]
async fn known_fault_g_evidence_is_kept_without_a_bound() {
    const FORKS: usize = 100;
    let mut circle = TestWorld::with_first_installed(9016).await;
    circle.publish(&release_spec(2)).unwrap();
    circle.poll_all().await.unwrap();
    for i in 0..FORKS {
        // One more head, signed for one mirror of peer 0.
        let name = format!("fork{i}");
        circle.copy_log(&name).unwrap();
        circle.append_unchecked(&name, &[i.to_be_bytes().to_vec()]).unwrap();
        circle.set_mirror(PEER_NAMES[0], &name).unwrap();
        circle.poll(0).await.unwrap();
        fs::remove_dir_all(circle.directory.join(&name)).unwrap();
    }
    let log = &circle.config.cycle.policy.log;
    let store = EvidenceStore::new(&circle.peer_state(0), log, Storage::default());
    // The first is honest growth as far as the peer can tell; each other one contradicts it.
    assert_eq!(store.list().unwrap().len(), FORKS - 1);
}

/// A peer whose operator has acknowledged the evidence hands it to no client any more.
#[tokio::test(start_paused = true)]
async fn known_fault_h_acknowledged_evidence_is_not_passed_on() {
    let mut circle = TestWorld::with_first_installed(9017).await;
    circle.copy_log("fork").unwrap();
    circle.append_unchecked("log", &[b"honest".to_vec()]).unwrap();
    circle.append_unchecked("fork", &[b"forked".to_vec()]).unwrap();
    circle.poll(0).await.unwrap();
    circle.set_mirror(PEER_NAMES[0], "fork").unwrap();
    circle.poll(0).await.unwrap();
    assert!(matches!(circle.ask_for_head(0).await, Answer::Evidence(_)));
    let log = &circle.config.cycle.policy.log;
    let store = EvidenceStore::new(&circle.peer_state(0), log, Storage::default());
    let id = store.find_unacknowledged().unwrap().unwrap();
    store.acknowledge(&id).unwrap();
    assert!(matches!(circle.ask_for_head(0).await, Answer::CosignedHead(_)));
}

/// What a peer cosigns bears the time of the question, not the time at which the peer polled the log.
#[tokio::test(start_paused = true)]
async fn known_fault_i_a_view_bears_the_time_of_the_question() {
    let mut circle = TestWorld::with_first_installed(9018).await;
    circle.advance_and_poll(MINUTE).await;
    circle.advance(29 * MINUTE);
    let Answer::CosignedHead(note) = circle.ask_for_head(0).await else { panic!() };
    let key = circle.keys.peer_keys[0].public();
    let view = CosignedHead::verify(note.as_bytes(), &circle.keys.log, &key).unwrap();
    assert_eq!(view.signed_at(), circle.now());
}

/// A signed head that is larger than ours and comes without tiles is forgotten, though it proves a
/// fork once the log has grown.
#[tokio::test(start_paused = true)]
async fn known_fault_j_larger_heads_without_tiles_are_forgotten() {
    let mut circle = TestWorld::with_first_installed(9020).await;
    circle.copy_log("fork").unwrap();
    circle.append_unchecked("fork", &[b"a", b"b", b"c", b"d"].map(|entry| entry.to_vec())).unwrap();
    fs::remove_dir_all(circle.directory.join("fork/tile")).unwrap();
    circle.set_mirror("client", "fork").unwrap();
    circle.set_mirror(PEER_NAMES[0], "fork").unwrap();
    circle.poll_all().await.unwrap();
    // The client remarks on that head, keeps it nowhere, and finds that all is well.
    expect_up_to_date(circle.check().await);
    circle.set_mirror("client", "log").unwrap();
    circle.set_mirror(PEER_NAMES[0], "log").unwrap();
    circle.append_unchecked("log", &(0..10_u8).map(|i| vec![i]).collect::<Vec<_>>()).unwrap();
    circle.advance_and_poll(MINUTE).await;
    expect_up_to_date(circle.check().await);
    assert!(circle.latched_evidence().unwrap().is_none());
    assert!(matches!(circle.ask_for_head(0).await, Answer::CosignedHead(_)));
}

/// No peer can read the entry of a release, every peer confirms it, and the client installs it. There
/// is one log, one tree and no fork; the log's key and enough publisher keys are the attacker's.
#[tokio::test(start_paused = true)]
async fn known_fault_k_an_entry_withheld_from_every_peer_is_installed() {
    let mut circle = TestWorld::with_first_installed(9021).await;
    for peer in 0..PEERS {
        circle.serve_files(peer).await.unwrap();
    }
    circle.publish(&trojan_release(2)).unwrap();
    circle.copy_log("hollow").unwrap();
    // What the peers can read: checkpoint and hash tiles, and neither the entry nor the artifact.
    fs::remove_dir_all(circle.directory.join("hollow/tile/entries")).unwrap();
    fs::remove_dir_all(circle.directory.join("hollow/artifact")).unwrap();
    circle.set_peer_mirrors("hollow").unwrap();
    for polled in circle.poll_all().await.unwrap() {
        assert!(matches!(polled, PollOutcome::Fresh(_)), "{polled:?}");
    }
    // A peer that serves files fails to fetch the entry, and confirms it all the same.
    circle.serve_files(0).await.unwrap_err();
    expect_settling(&mut circle).await;
    circle.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(TROJAN));
    for peer in 0..PEERS {
        // Bundles are named for how many entries they have.
        let bundles = circle.peer_state(peer).join("peer/tile/entries/000.p");
        let held: Vec<_> = fs::read_dir(bundles).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(held, ["1"]);
    }
    assert!(circle.latched_evidence().unwrap().is_none());
}

/// The root of a tree with these leaves.
fn rfc6962_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::empty_root(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
            Hash::node(&rfc6962_root(left), &rfc6962_root(right))
        }
    }
}

/// The hashes of every node of a tree.
fn collect_inner_nodes(leaves: &[Hash], out: &mut Vec<Hash>) {
    out.push(rfc6962_root(leaves));
    if leaves.len() > 1 {
        let (left, right) = leaves.split_at(1 << (leaves.len() - 1).ilog2());
        collect_inner_nodes(left, out);
        collect_inner_nodes(right, out);
    }
}

/// No path made of an honest tree's own hashes turns two of its heads into evidence.
#[test]
fn l_an_honest_tree_yields_no_evidence() {
    const LARGEST: usize = 24;
    let leaves: Vec<Hash> = (0..LARGEST as u32).map(|i| Hash::leaf(&i.to_be_bytes())).collect();
    let roots: Vec<Hash> = (0..=LARGEST).map(|size| rfc6962_root(&leaves[..size])).collect();
    for new in 2..=LARGEST {
        let mut hashes = roots[1..new].to_vec();
        collect_inner_nodes(&leaves[..new], &mut hashes);
        let is_larger = |found: Option<(Hash, Hash)>| found.is_some_and(|(_, n)| n == roots[new]);
        for old in 1..new {
            let (from, to) = (old as u64, new as u64);
            let honest: Vec<Hash> = (consistency_ranges(from, to).into_iter())
                .map(|range| rfc6962_root(&leaves[range.start as usize..range.end as usize]))
                .collect();
            let both = consistency_roots(from, to, &honest);
            assert_eq!(both, Some((roots[old], roots[new])), "{old} {new}");
            for hash in &hashes {
                for at in 0..honest.len() {
                    let mut path = honest.clone();
                    path[at] = *hash;
                    let found = consistency_roots(from, to, &path);
                    assert!(found.is_none_or(|(o, n)| n != roots[new] || o == roots[old]));
                }
                let longer = [&honest[..], &[*hash]].concat();
                assert!(consistency_roots(from, to, &longer).is_none());
                let longer = [&[*hash], &honest[..]].concat();
                assert!(!is_larger(consistency_roots(from, to, &longer)));
            }
            for cut in 0..honest.len() {
                assert!(!is_larger(consistency_roots(from, to, &honest[..cut])));
            }
        }
    }
}

/// Parsers of what other people wrote do not panic on damaged input.
#[tokio::test(start_paused = true)]
async fn m_parsers_do_not_panic_on_damaged_input() {
    let mut circle = TestWorld::with_first_installed(9023).await;
    circle.copy_log("fork").unwrap();
    circle.append_unchecked("log", &[b"honest".to_vec()]).unwrap();
    circle.append_unchecked("fork", &[b"forked".to_vec(), b"x".to_vec()]).unwrap();
    for log in ["fork", "log"] {
        circle.set_mirror(PEER_NAMES[0], log).unwrap();
        circle.poll(0).await.unwrap();
    }
    let Answer::Evidence(evidence) = circle.ask_for_head(0).await else { panic!() };
    let bundle = circle.config.cycle.install_root.join("proofs/1-1.0.0");
    let bundle = fs::read_to_string(bundle).unwrap();
    let head = circle.head_of("log").unwrap().note().to_owned();
    let samples = [bundle, evidence, head];
    let ClientConfig { cycle: CycleSettings { policy, limits, .. }, peers, .. } = &circle.config;
    let mut rng = StdRng::seed_from_u64(1);
    for turn in 0..20_000 {
        let bytes = corrupt(samples[turn % 3].clone().into_bytes(), &mut rng);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Ok(bundle) = ProofBundle::parse(&text)
            && turn % 30 == 0
        {
            bundle.verify(policy, peers, limits).ok();
        }
        Evidence::verify(&text, &policy.log).ok();
        Note::parse(&bytes).ok();
        TlogProof::parse(&text).ok();
        Manifest::parse(&text).ok();
        Withdrawal::parse(&text).ok();
        let mut frame = [0; 256];
        let many = rng.random_range(0..frame.len());
        rng.fill_bytes(&mut frame[..many]);
        frame[..3].fill(0);
        Question::decode(&frame).ok();
        let mut answer = [0; 8448];
        rng.fill_bytes(&mut answer[..300]);
        answer[..2].fill(0);
        answer[4..6].copy_from_slice(&[1, 0]);
        answer[6..10].copy_from_slice(&u32::to_le_bytes(rng.random_range(0..7)));
        Answer::decode(&answer).ok();
    }
}

/// Up to three bytes changed, taken out or put in, or an end cut off.
fn corrupt(mut bytes: Vec<u8>, rng: &mut StdRng) -> Vec<u8> {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..4) {
            0 => bytes[at] = rng.random(),
            1 if bytes.len() > 1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, b"0123456789\n -"[rng.random_range(0..13)]),
            _ => bytes.truncate(at.max(1)),
        }
    }
    if rng.random() {
        bytes.push(b'\n');
    }
    bytes
}

/// Every peer shows the fork. The node's own peer role follows the honest log, and its client does not
/// ask it.
#[tokio::test(start_paused = true)]
async fn known_fault_n_the_nodes_own_peer_role_is_no_witness() {
    let mut circle = TestWorld::with_first_installed(9030).await;
    let follow = WitnessConfig {
        log: circle.keys.log.clone(),
        signing_key: CosignatureSigningKey::from_seed("own".parse().unwrap(), &[9; 32]),
        mirrors: vec![Mirror::from_directory(circle.directory.join("log"))],
        polling: PollingSettings::default(),
    };
    let (state, clock) = (&circle.config.cycle.state, circle.clock.clone());
    let own = Witness::open(follow, state, Storage::default(), clock).unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    assert!(matches!(own.poll(&mut rng).await.unwrap(), PollOutcome::Fresh(_)));
    fork_with_trojan(&circle, 2);
    circle.set_peer_mirrors("fork").unwrap();
    circle.poll_all().await.unwrap();
    expect_settling(&mut circle).await;
    for _ in 0..6 {
        circle.advance_and_poll(10 * MINUTE).await;
        assert!(matches!(own.poll(&mut rng).await.unwrap(), PollOutcome::Fresh(_)));
    }
    assert_eq!(own.head().map(|head| head.size()), Some(1));
    assert_eq!(expect_installed(circle.update().await), 2);
    assert_eq!(circle.installed_bytes().as_deref(), Some(TROJAN));
}

/// A newer release without an artifact for this platform keeps an older one, which every peer has
/// confirmed, from being installed.
#[tokio::test(start_paused = true)]
async fn known_fault_o_a_release_for_other_platforms_holds_back_an_older_one() {
    let mut circle = TestWorld::with_first_installed(9031).await;
    circle.publish(&release_spec(2)).unwrap();
    let (mut manifest, _) = circle.sign_release(&release_spec(3)).unwrap();
    manifest.artifacts[0].platform = "riscv64-linux".parse().unwrap();
    let mut note = Note::unsigned(&manifest.to_string()).unwrap();
    circle.keys.publisher_keys[..2].iter().for_each(|key| note.sign(key));
    circle.append_unchecked("log", &[note.to_string().into_bytes()]).unwrap();
    circle.poll_all().await.unwrap();
    expect_settling(&mut circle).await;
    circle.advance_and_poll(HOUR).await;
    assert!(matches!(expect_refusal(circle.update().await), Refusal::NoArtifactForPlatform { .. }));
    assert_eq!(circle.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}
