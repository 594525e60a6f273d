//! Known weaknesses, demonstrated against the code that ships.
//!
//! A test whose name begins with `known_fault_` passes as long as the fault exists. The change that
//! mends the fault inverts the test. The letter after it is the one in SECURITY.md. The other two
//! tests show that a suspicion was unfounded.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt as _;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use unanimity_client::CycleOutcome;
use unanimity_config::{ClientConfig, CycleSettings, PollingSettings, SpoolSettings};
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

/// An attacker with the log's key and enough publisher keys logs release `sequence` in a fork.
fn fork_with_trojan(world: &TestWorld, sequence: u64) {
    world.copy_log("fork").unwrap();
    world.publish_to("fork", &trojan_release(sequence)).unwrap();
    world.set_mirror("client", "fork").unwrap();
}

/// Takes the mirrors away from every peer.
fn block_peers(world: &TestWorld) {
    world.set_peer_mirrors("nowhere").unwrap();
}

async fn expect_settling(world: &mut TestWorld) {
    assert!(matches!(expect_refusal(world.update().await), Refusal::Settling { .. }));
}

async fn publish_and_settle(world: &mut TestWorld, spec: &ReleaseSpec) {
    world.publish(spec).unwrap();
    world.poll_all().await.unwrap();
    expect_settling(world).await;
    world.advance_and_poll(HOUR).await;
}

async fn expect_downloads(world: &mut TestWorld, sequence: u64) {
    let (_, result) = world.update().await;
    assert!(
        matches!(&result, Ok(CycleOutcome::Available(agreed)) if agreed.manifest().sequence == sequence),
        "{result:?}"
    );
}

/// A split installation with release 1 installed, and its spool.
async fn create_split_install(seed: u64) -> (TestWorld, PathBuf) {
    let mut world = TestWorld::new(seed);
    let spool = world.scratch_path("spool");
    fs::create_dir(&spool).unwrap();
    world.config.cycle.spool = Some(SpoolSettings { directory: spool.clone(), freshness: DAY });
    publish_and_settle(&mut world, &release_spec(1)).await;
    expect_downloads(&mut world, 1).await;
    assert_eq!(install_offline(&world, &world.config, &spool).unwrap(), 1);
    (world, spool)
}

fn install_offline(
    world: &TestWorld,
    config: &ClientConfig,
    spool: &Path,
) -> Result<u64, OfflineInstallError> {
    let spool = SpoolReader::open(spool)?;
    let clock = ManualClock::at(world.now());
    let mut installer = OfflineInstaller::open(config, Storage::default())?;
    installer.install(&spool, DAY, &clock).now_or_never().unwrap().map(|done| done.sequence)
}

/// With `settle` of 20 minutes, one poll of every peer is enough for both rounds.
#[tokio::test(start_paused = true)]
async fn known_fault_a1_one_poll_makes_two_rounds() {
    let mut world = TestWorld::with_first_installed(9001).await;
    world.config.cycle.limits.settle = 20 * MINUTE;
    // The fork is shown for one moment.
    fork_with_trojan(&world, 2);
    world.set_peer_mirrors("fork").unwrap();
    world.poll_all().await.unwrap();
    block_peers(&world);
    expect_settling(&mut world).await;
    for _ in 0..2 {
        world.advance(10 * MINUTE);
        for polled in world.poll_all().await.unwrap() {
            assert!(matches!(polled, PollOutcome::NoFreshHead));
        }
    }
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(TROJAN));
}

/// With the default `settle` of an hour, two polls 60 minutes apart are enough. The attacker has to
/// show the fork to the peers at those two moments only.
#[tokio::test(start_paused = true)]
async fn known_fault_a2_two_moments_are_enough_for_the_default_settle() {
    let mut world = TestWorld::with_first_installed(9002).await;
    fork_with_trojan(&world, 2);
    world.set_peer_mirrors("fork").unwrap();
    world.poll_all().await.unwrap();
    block_peers(&world);
    world.advance(29 * MINUTE);
    expect_settling(&mut world).await;
    // Minute 60: the second moment.
    world.advance(31 * MINUTE);
    world.set_peer_mirrors("fork").unwrap();
    world.poll_all().await.unwrap();
    block_peers(&world);
    world.advance(29 * MINUTE);
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(TROJAN));
}

/// A compromised downloader leaves nothing new in the spool for 30 days. The installer reports
/// every day that a round is too old. It does not report that it has seen no release since then.
#[tokio::test(start_paused = true)]
async fn known_fault_b_withholding_is_not_noticed_by_the_installer() {
    let (mut world, spool) = create_split_install(9010).await;
    publish_and_settle(&mut world, &release_spec(2)).await;
    let mut errors = Vec::new();
    for _ in 0..30 {
        world.advance_and_poll(DAY).await;
        errors.push(install_offline(&world, &world.config, &spool).unwrap_err().to_string());
    }
    errors.dedup();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

/// The installer takes an older release than the one that every peer confirmed in both rounds of
/// the same proof bundle.
#[tokio::test(start_paused = true)]
async fn known_fault_c_installer_takes_an_older_release_than_the_log_has() {
    let (mut world, spool) = create_split_install(9011).await;
    let own = world.config.cycle.policy.clone();
    world.publish(&release_spec(2)).unwrap();
    // Release 3, the security fix, is signed by publishers 0 and 2. The installer's policy accepts
    // it.
    world.publish(&ReleaseSpec { signers: vec![0, 2], ..release_spec(3) }).unwrap();
    // A compromised downloader decides by a policy of its own.
    let keys = own.publishers()[..2].to_vec();
    world.config.cycle.policy =
        Policy::new(own.product.clone(), own.channel.clone(), own.log.clone(), keys, 2).unwrap();
    world.poll_all().await.unwrap();
    expect_settling(&mut world).await;
    world.advance_and_poll(HOUR).await;
    expect_downloads(&mut world, 2).await;
    world.config.cycle.policy = own;
    assert_eq!(install_offline(&world, &world.config, &spool).unwrap(), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

/// The client has found a fork and is latched. The installer still installs from that log.
#[tokio::test(start_paused = true)]
async fn known_fault_d_a_latched_node_installs_what_was_downloaded() {
    let (mut world, spool) = create_split_install(9012).await;
    publish_and_settle(&mut world, &release_spec(2)).await;
    expect_downloads(&mut world, 2).await;
    world.copy_log("fork").unwrap();
    world.publish(&ReleaseSpec::new(3, "1.2.0", b"honest")).unwrap();
    world.advance_and_poll(MINUTE).await;
    world.publish_to("fork", &ReleaseSpec::new(3, "1.2.0", TROJAN)).unwrap();
    world.set_mirror("client", "fork").unwrap();
    assert!(matches!(expect_refusal(world.update().await), Refusal::Fork(_)));
    expect_latched(world.update().await);
    assert!(spool.join(PROOF_FILE).exists());
    world.advance(23 * HOUR);
    assert_eq!(install_offline(&world, &world.config, &spool).unwrap(), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(SECOND_ARTIFACT));
}

/// The installer ignores a pinned head that is smaller than its own head and contradicts it. The
/// client recognizes the two heads as a fork.
#[tokio::test(start_paused = true)]
async fn known_fault_e_installer_ignores_a_small_pinned_head() {
    let (mut world, spool) = create_split_install(9014).await;
    publish_and_settle(&mut world, &release_spec(2)).await;
    expect_downloads(&mut world, 2).await;
    assert_eq!(install_offline(&world, &world.config, &spool).unwrap(), 2);
    publish_and_settle(&mut world, &release_spec(3)).await;
    expect_downloads(&mut world, 3).await;
    // A head of size 1 of another tree, signed by the same key.
    let other_head = TestWorld::new(9014).append_unchecked("log", &[b"strange".to_vec()]).unwrap();
    world.config.cycle.pinned = Some(other_head);
    assert_eq!(install_offline(&world, &world.config, &spool).unwrap(), 3);
    assert!(matches!(expect_refusal(world.check().await), Refusal::Fork(_)));
}

/// The mirrors of the client and of every peer show an old log for a year. The attacker needs no
/// key.
#[tokio::test(start_paused = true)]
async fn known_fault_f_a_freeze_of_all_mirrors_is_up_to_date_for_a_year() {
    let mut world = TestWorld::with_first_installed(9015).await;
    world.copy_log("frozen").unwrap();
    world.set_peer_mirrors("frozen").unwrap();
    world.set_mirror("client", "frozen").unwrap();
    world.publish(&release_spec(2)).unwrap();
    for _ in 0..365 {
        world.advance_and_poll(DAY).await;
        expect_up_to_date(world.update().await);
    }
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}

/// A peer stores every piece of evidence that the holder of the log's key signs, without a bound.
#[tokio::test(start_paused = true)]
async fn known_fault_g_evidence_is_kept_without_a_bound() {
    const FORKS: usize = 100;
    let mut world = TestWorld::with_first_installed(9016).await;
    world.publish(&release_spec(2)).unwrap();
    world.poll_all().await.unwrap();
    for i in 0..FORKS {
        // One more head, signed for one mirror of peer 0.
        let name = format!("fork{i}");
        world.copy_log(&name).unwrap();
        world.append_unchecked(&name, &[i.to_be_bytes().to_vec()]).unwrap();
        world.set_mirror(PEER_NAMES[0], &name).unwrap();
        world.poll(0).await.unwrap();
        fs::remove_dir_all(world.directory.join(&name)).unwrap();
    }
    let log = &world.config.cycle.policy.log;
    let store = EvidenceStore::new(&world.peer_state(0), log, Storage::default());
    // For the peer, the first head is honest growth. Each of the others contradicts it.
    assert_eq!(store.list().unwrap().len(), FORKS - 1);
}

/// A peer whose operator has acknowledged the evidence no longer answers with it.
#[tokio::test(start_paused = true)]
async fn known_fault_h_acknowledged_evidence_is_not_passed_on() {
    let mut world = TestWorld::with_first_installed(9017).await;
    world.copy_log("fork").unwrap();
    world.append_unchecked("log", &[b"honest".to_vec()]).unwrap();
    world.append_unchecked("fork", &[b"forked".to_vec()]).unwrap();
    world.poll(0).await.unwrap();
    world.set_mirror(PEER_NAMES[0], "fork").unwrap();
    world.poll(0).await.unwrap();
    assert!(matches!(world.ask_for_head(0).await, Answer::Evidence(_)));
    let log = &world.config.cycle.policy.log;
    let store = EvidenceStore::new(&world.peer_state(0), log, Storage::default());
    let id = store.find_unacknowledged().unwrap().unwrap();
    store.acknowledge(&id).unwrap();
    assert!(matches!(world.ask_for_head(0).await, Answer::CosignedHead(_)));
}

/// A cosigned head has the time of the question. It should have the time at which the peer polled
/// the log.
#[tokio::test(start_paused = true)]
async fn known_fault_i_a_cosigned_head_has_the_time_of_the_question() {
    let mut world = TestWorld::with_first_installed(9018).await;
    world.advance_and_poll(MINUTE).await;
    world.advance(29 * MINUTE);
    let Answer::CosignedHead(note) = world.ask_for_head(0).await else { panic!() };
    let key = world.keys.peer_keys[0].public();
    let head = CosignedHead::verify(note.as_bytes(), &world.keys.log, &key).unwrap();
    assert_eq!(head.signed_at(), world.now());
}

/// The client forgets a signed head that is larger than its own and has no tiles. Once the log has
/// grown, that head would prove a fork.
#[tokio::test(start_paused = true)]
async fn known_fault_j_larger_heads_without_tiles_are_forgotten() {
    let mut world = TestWorld::with_first_installed(9020).await;
    world.copy_log("fork").unwrap();
    world.append_unchecked("fork", &[b"a", b"b", b"c", b"d"].map(|entry| entry.to_vec())).unwrap();
    fs::remove_dir_all(world.directory.join("fork/tile")).unwrap();
    world.set_mirror("client", "fork").unwrap();
    world.set_mirror(PEER_NAMES[0], "fork").unwrap();
    world.poll_all().await.unwrap();
    // The client reports that head, stores it nowhere, and ends as up to date.
    expect_up_to_date(world.check().await);
    world.set_mirror("client", "log").unwrap();
    world.set_mirror(PEER_NAMES[0], "log").unwrap();
    world.append_unchecked("log", &(0..10_u8).map(|i| vec![i]).collect::<Vec<_>>()).unwrap();
    world.advance_and_poll(MINUTE).await;
    expect_up_to_date(world.check().await);
    assert!(world.latched_evidence().unwrap().is_none());
    assert!(matches!(world.ask_for_head(0).await, Answer::CosignedHead(_)));
}

/// No peer can read the entry of a release. Every peer confirms it all the same, and the client
/// installs it. There is one tree and no fork. The attacker has the log's key and enough publisher
/// keys.
#[tokio::test(start_paused = true)]
async fn known_fault_k_an_entry_withheld_from_every_peer_is_installed() {
    let mut world = TestWorld::with_first_installed(9021).await;
    for peer in 0..PEERS {
        world.serve_files(peer).await.unwrap();
    }
    world.publish(&trojan_release(2)).unwrap();
    world.copy_log("hollow").unwrap();
    // The peers can read the checkpoint and the hash tiles. They can read neither entry nor
    // artifact.
    fs::remove_dir_all(world.directory.join("hollow/tile/entries")).unwrap();
    fs::remove_dir_all(world.directory.join("hollow/artifact")).unwrap();
    world.set_peer_mirrors("hollow").unwrap();
    for polled in world.poll_all().await.unwrap() {
        assert!(matches!(polled, PollOutcome::Fresh(_)), "{polled:?}");
    }
    // A peer that serves files fails to fetch the entry, and confirms it all the same.
    world.serve_files(0).await.unwrap_err();
    expect_settling(&mut world).await;
    world.advance_and_poll(HOUR).await;
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(TROJAN));
    for peer in 0..PEERS {
        // An entry bundle is named for its number of entries.
        let bundles = world.peer_state(peer).join("peer/tile/entries/000.p");
        let held: Vec<_> = fs::read_dir(bundles).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(held, ["1"]);
    }
    assert!(world.latched_evidence().unwrap().is_none());
}

/// The root of a tree with these leaves, by the definition in RFC 6962 section 2.1.
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

/// No path of an honest tree's own hashes turns two of its heads into evidence.
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

/// The parsers of untrusted text and messages do not panic on damaged input.
#[tokio::test(start_paused = true)]
async fn m_parsers_do_not_panic_on_damaged_input() {
    let mut world = TestWorld::with_first_installed(9023).await;
    world.copy_log("fork").unwrap();
    world.append_unchecked("log", &[b"honest".to_vec()]).unwrap();
    world.append_unchecked("fork", &[b"forked".to_vec(), b"x".to_vec()]).unwrap();
    for log in ["fork", "log"] {
        world.set_mirror(PEER_NAMES[0], log).unwrap();
        world.poll(0).await.unwrap();
    }
    let Answer::Evidence(evidence) = world.ask_for_head(0).await else { panic!() };
    let bundle = world.config.cycle.install_root.join("proofs/1-1.0.0");
    let bundle = fs::read_to_string(bundle).unwrap();
    let head = world.head_of("log").unwrap().note().to_owned();
    let samples = [bundle, evidence, head];
    let ClientConfig { cycle: CycleSettings { policy, limits, .. }, peers, .. } = &world.config;
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

/// Changes, removes or inserts up to three bytes, or cuts off the end.
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

/// Every peer shows the fork. The node's own witness follows the honest log, and the client does
/// not ask it.
#[tokio::test(start_paused = true)]
async fn known_fault_n_the_client_does_not_ask_the_nodes_own_witness() {
    let mut world = TestWorld::with_first_installed(9030).await;
    let own_config = WitnessConfig {
        log: world.keys.log.clone(),
        signing_key: CosignatureSigningKey::from_seed("own".parse().unwrap(), &[9; 32]),
        mirrors: vec![Mirror::from_directory(world.directory.join("log"))],
        polling: PollingSettings::default(),
    };
    let (state, clock) = (&world.config.cycle.state, world.clock.clone());
    let own = Witness::open(own_config, state, Storage::default(), clock).unwrap();
    let mut rng = StdRng::seed_from_u64(3);
    assert!(matches!(own.poll(&mut rng).await.unwrap(), PollOutcome::Fresh(_)));
    fork_with_trojan(&world, 2);
    world.set_peer_mirrors("fork").unwrap();
    world.poll_all().await.unwrap();
    expect_settling(&mut world).await;
    for _ in 0..6 {
        world.advance_and_poll(10 * MINUTE).await;
        assert!(matches!(own.poll(&mut rng).await.unwrap(), PollOutcome::Fresh(_)));
    }
    assert_eq!(own.head().map(|head| head.size()), Some(1));
    assert_eq!(expect_installed(world.update().await), 2);
    assert_eq!(world.installed_bytes().as_deref(), Some(TROJAN));
}

/// A newer release without an artifact for this platform blocks an older one that every peer has
/// confirmed.
#[tokio::test(start_paused = true)]
async fn known_fault_o_a_release_for_other_platforms_blocks_an_older_one() {
    let mut world = TestWorld::with_first_installed(9031).await;
    world.publish(&release_spec(2)).unwrap();
    let (mut manifest, _) = world.sign_release(&release_spec(3)).unwrap();
    manifest.artifacts[0].platform = "riscv64-linux".parse().unwrap();
    let mut note = Note::unsigned(&manifest.to_string()).unwrap();
    world.keys.publisher_keys[..2].iter().for_each(|key| note.sign(key));
    world.append_unchecked("log", &[note.to_string().into_bytes()]).unwrap();
    world.poll_all().await.unwrap();
    expect_settling(&mut world).await;
    world.advance_and_poll(HOUR).await;
    assert!(matches!(expect_refusal(world.update().await), Refusal::NoArtifactForPlatform { .. }));
    assert_eq!(world.installed_bytes().as_deref(), Some(FIRST_ARTIFACT));
}
