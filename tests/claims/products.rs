//! Many products on one node: a configuration each, and one roll for all of a log.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use unanimity::daemon::cycle_mode;
use unanimity::node::{NodeError, NodeRuntime};
use unanimity_client::{
    ClientError, CycleError, CycleMode, CycleOutcome, CycleProgress, CycleReport, ProgressSink,
};
use unanimity_config::{OnionAddress, ServePolicy};
use unanimity_install::journal::{Journal, Trial};
use unanimity_net::message::{Answer, QUESTION_BYTES};
use unanimity_net::{Listener as _, Transport, WebConnector};
use unanimity_protocol::{CosignedHead, Evidence, PeerFailure, Refusal};
use unanimity_state::EvidenceStore;
use unanimity_storage::ManualClock;
use unanimity_testkit::test_world::{HOUR, MINUTE, NOW, SECOND};
use unanimity_testkit::{MemoryNetwork, ReleaseSpec};

use crate::pairing::{PairedNodes, RunningNode, add_peer, create_invite, test_peers};

/// The network, and how often somebody was dialled on it.
struct CountingTransport<'a>(&'a MemoryNetwork, AtomicUsize);

impl CountingTransport<'_> {
    fn take_dial_count(&self) -> usize {
        self.1.swap(0, Ordering::SeqCst)
    }
}

impl Transport for CountingTransport<'_> {
    type Stream = <MemoryNetwork as Transport>::Stream;

    async fn dial(&self, to: &OnionAddress) -> io::Result<Self::Stream> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.dial(to).await
    }

    fn web_connector(&self) -> Option<Arc<dyn WebConnector>> {
        None
    }
}

/// Two who are each other's only peer.
async fn create_pair() -> (PairedNodes, RunningNode, RunningNode) {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&emil, &create_invite(&dora));
    add_peer(&dora, &create_invite(&emil));
    test_peers(&pairing, &emil).await;
    assert!(test_peers(&pairing, &dora).await[0].joined);
    (pairing, dora, emil)
}

/// Another product of dora's, told in a file beside her own.
fn other_product_config(
    pairing: &PairedNodes,
    from: &str,
    to: &str,
) -> unanimity_config::NodeConfig {
    let own = fs::read_to_string(pairing.node_directory("dora").join("unanimity.toml")).unwrap();
    let own = own.replace("[serve]\nname = \"dora\"\n", "");
    let other = own.replace("root = \"hello\"", "root = \"other\"");
    let other = other.replace("state = \"state\"", "state = \"other-state\"");
    let path = pairing.node_directory("dora").join("other.toml");
    assert!(other.contains(from));
    fs::write(&path, other.replace(from, to)).unwrap();
    unanimity_config::load_node_config(&path).unwrap()
}

async fn run_cycle(
    node: &NodeRuntime<ManualClock>,
    on: &CountingTransport<'_>,
    mode: CycleMode,
) -> (CycleReport, Result<CycleOutcome, CycleError>) {
    node.run_cycle(on, mode, &mut rand::rng()).await
}

fn is_settling(ended: &Result<CycleOutcome, CycleError>) -> bool {
    matches!(ended, Err(CycleError::Refused(Refusal::Settling { .. })))
}

#[tokio::test(start_paused = true)]
async fn peers_are_asked_once_for_all_products_of_a_node_and_again_after_five_minutes() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    let another = ReleaseSpec::new(1, "1.0.0", b"one");
    pairing
        .fixture
        .publish_release("log", &ReleaseSpec { sequence: 2, version: "1.1.0", ..another }, NOW)
        .unwrap();
    emil.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    assert!(is_settling(&run_cycle(&dora.node, &on, CycleMode::Check).await.1));
    assert_eq!(on.take_dial_count(), 1);
    let (report, ended) = run_cycle(&other, &on, CycleMode::Check).await;
    assert!(is_settling(&ended), "{ended:?}");
    assert_eq!((on.take_dial_count(), report.peers.len()), (0, 1));
    assert!(report.peers[0].1.is_ok(), "{report:?}");
    // Whose roll begins asks everybody, however lately that was.
    run_cycle(&dora.node, &on, CycleMode::Check).await.1.unwrap_err();
    assert_eq!(on.take_dial_count(), 1);
    tokio::time::advance(5 * MINUTE - SECOND).await;
    run_cycle(&other, &on, CycleMode::Check).await.1.unwrap_err();
    assert_eq!(on.take_dial_count(), 0);
    tokio::time::advance(SECOND).await;
    run_cycle(&other, &on, CycleMode::Check).await.1.unwrap_err();
    assert_eq!(on.take_dial_count(), 1);

    // Both are installed, each in its place, by one roll.
    pairing.clock.advance(HOUR + SECOND);
    emil.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    for node in [&dora.node, &other] {
        let ended = run_cycle(node, &on, CycleMode::Update).await.1;
        assert!(matches!(ended, Ok(CycleOutcome::Installed(_))), "{ended:?}");
    }
    assert_eq!(on.take_dial_count(), 1);
    for root in ["hello", "other"] {
        let current = pairing.node_directory("dora").join(root).join("current");
        assert_eq!(fs::read_link(current).unwrap().to_str(), Some("versions/2-1.1.0"));
    }
}

/// Who answered lately and has since become too old by their own signature does not count.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_shared_is_admitted_by_its_own_time() {
    let (pairing, dora, _emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    run_cycle(&dora.node, &on, CycleMode::Check).await.1.unwrap_err();
    pairing.clock.advance(16 * MINUTE);
    let ended = run_cycle(&other, &on, CycleMode::Check).await.1;
    assert!(matches!(ended, Err(CycleError::Refused(Refusal::Incomplete(_)))), "{ended:?}");
}

/// An answer that is from the future when it comes stays so, however long it is shared.
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_shared_is_admitted_by_the_time_it_came() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    // Emil's clock is 90 seconds ahead, and half of that is too much.
    let role = emil.node.role.as_ref().unwrap();
    let head = pairing.fixture.head_of("log").unwrap();
    let view = CosignedHead::sign(&head, &role.identity.cosigning_key, NOW.after(90 * SECOND));
    let mut listener = pairing.network.listen(role.address.clone());
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            while let Ok(Some(_)) =
                unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await
            {
                let answer = Answer::CosignedHead(view.note().to_owned()).encode();
                unanimity_net::message::send(&mut stream, &answer).await.unwrap();
            }
        }
    });
    run_cycle(&dora.node, &on, CycleMode::Check).await.1.unwrap_err();
    pairing.clock.advance(MINUTE);
    for node in [&other, &dora.node] {
        let (report, ended) = run_cycle(node, &on, CycleMode::Check).await;
        let is_ahead = matches!(report.peers[0].1, Err(PeerFailure::InFuture(_)));
        // Asked again, it is not.
        assert_eq!(is_ahead, std::ptr::eq(node, &other), "{report:?} {ended:?}");
    }
}

fn create_evidence(pairing: &PairedNodes) -> Evidence {
    pairing.fixture.copy_log("fork").unwrap();
    pairing.fixture.publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"two"), NOW).unwrap();
    pairing.fixture.publish_release("fork", &ReleaseSpec::new(2, "1.1.0", b"trojan"), NOW).unwrap();
    let heads = ["log", "fork"].map(|log| pairing.fixture.head_of(log).unwrap());
    Evidence::from_heads(&heads[0], &heads[1], &[]).unwrap()
}

fn evidence_store(node: &NodeRuntime<ManualClock>) -> EvidenceStore {
    EvidenceStore::new(&node.config.cycle.state, &node.config.cycle.policy.log, Default::default())
}

#[tokio::test(start_paused = true)]
async fn evidence_that_a_node_holds_latches_all_of_its_products() {
    let (pairing, dora, _emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    evidence_store(&dora.node).add(&create_evidence(&pairing)).unwrap();
    let ended = run_cycle(&other, &on, CycleMode::Update).await.1;
    assert!(matches!(ended, Err(CycleError::LogForked(_))), "{ended:?}");
    assert_eq!(on.take_dial_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn evidence_that_a_product_finds_latches_the_node_and_stays_with_the_product() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    let evidence = create_evidence(&pairing);
    // Emil has heard of it, and answers with it.
    evidence_store(&emil.node).add(&evidence).unwrap();
    let ended = run_cycle(&other, &on, CycleMode::Check).await.1;
    assert!(matches!(ended, Err(CycleError::Refused(Refusal::Fork(_)))), "{ended:?}");
    for node in [&dora.node, &other] {
        assert_eq!(evidence_store(node).find_unacknowledged().unwrap(), Some(evidence.id()));
        let ended = run_cycle(node, &on, CycleMode::Update).await.1;
        assert!(matches!(ended, Err(CycleError::LogForked(_))), "{ended:?}");
    }
    // Both have to be told that somebody has looked.
    evidence_store(&dora.node).acknowledge(&evidence.id()).unwrap();
    let ended = run_cycle(&other, &on, CycleMode::Update).await.1;
    assert!(matches!(ended, Err(CycleError::LogForked(_))), "{ended:?}");
}

/// Its own peer role may have found out while a product is being decided on.
#[tokio::test(start_paused = true)]
async fn evidence_that_the_node_finds_while_a_product_is_fetched_stops_the_switch() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let mut other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    assert!(is_settling(&run_cycle(&other, &on, CycleMode::Check).await.1));
    pairing.clock.advance(HOUR + SECOND);
    tokio::time::advance(5 * MINUTE).await;
    emil.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    let evidence = create_evidence(&pairing);
    let state = evidence_store(&dora.node);
    let finding = ProgressSink::new(move |step| {
        if matches!(step, CycleProgress::Download { .. }) {
            state.add(&evidence).unwrap();
        }
    });
    other.progress = finding;
    let ended = run_cycle(&other, &on, CycleMode::Update).await.1;
    assert!(matches!(ended, Err(CycleError::LogForked(_))), "{ended:?}");
    assert!(!pairing.node_directory("dora").join("other/current").exists());
}

/// What keeps a node from a cycle does not keep it from undoing what was interrupted.
#[tokio::test(start_paused = true)]
async fn a_trial_that_was_interrupted_is_undone_also_where_nothing_may_be_installed() {
    let (pairing, dora, _emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let root = pairing.node_directory("dora").join("hello");
    let leave_open = || {
        fs::create_dir_all(root.join("versions/1-1.0.0")).unwrap();
        symlink("versions/1-1.0.0", root.join("current")).unwrap();
        let trial = Some(Trial::new("1-1.0.0".to_owned(), None, false));
        let journal = Journal { trial, ..Journal::default() };
        fs::write(root.join("journal.json"), journal.text()).unwrap();
    };
    let evidence = create_evidence(&pairing);
    evidence_store(&dora.node).add(&evidence).unwrap();
    leave_open();
    let looked = run_cycle(&dora.node, &on, CycleMode::Check).await;
    assert!(looked.0.remarks.is_empty() && root.join("current").is_symlink(), "{looked:?}");
    let (report, ended) = run_cycle(&dora.node, &on, CycleMode::Update).await;
    assert!(matches!(ended, Err(CycleError::LogForked(_))), "{ended:?}");
    assert!(report.remarks[0].contains("its trial was interrupted"), "{report:?}");
    assert!(!root.join("current").is_symlink());
    // A circle that is too small.
    evidence_store(&dora.node).acknowledge(&evidence.id()).unwrap();
    fs::write(pairing.node_directory("dora").join("peers.toml"), "min_peers = 1\n").unwrap();
    leave_open();
    let (report, ended) = run_cycle(&dora.node, &on, CycleMode::InstallDownloaded).await;
    assert!(matches!(ended, Err(CycleError::Client(ClientError::Config(_)))), "{ended:?}");
    assert!(report.remarks[0].contains("its trial was interrupted"), "{report:?}");
    assert!(!root.join("current").is_symlink());
}

#[tokio::test(start_paused = true)]
async fn products_share_no_place_and_only_the_node_serves() {
    let (pairing, dora, _emil) = create_pair().await;
    for (from, to, why) in [
        ("\"other\"", "\"hello\"", "apart"),
        ("\"other\"", "\"hello/below\"", "apart"),
        ("\"other-state\"", "\"state\"", "apart"),
        ("\"other-state\"", "\"state/client\"", "apart"),
        ("\"other-state\"", "\"hello\"", "apart"),
        ("[install]", "[serve]\nname = \"dora\"\n[install]", "[serve] belongs to the node"),
    ] {
        let refused =
            dora.node.open_extra_product(other_product_config(&pairing, from, to)).unwrap_err();
        assert!(matches!(refused, NodeError::InvalidExtraProduct { .. }), "{refused}");
        assert!(refused.to_string().contains(why), "{to}: {refused}");
    }
}

#[test]
fn where_somebody_else_installs_a_daemon_that_stages_brings_it_there() {
    for (policy, alone, split) in [
        (ServePolicy::Notify, CycleMode::Check, CycleMode::Check),
        (ServePolicy::Download, CycleMode::Check, CycleMode::InstallDownloaded),
        (ServePolicy::Install, CycleMode::InstallDownloaded, CycleMode::InstallDownloaded),
    ] {
        assert_eq!((cycle_mode(policy, false), cycle_mode(policy, true)), (alone, split));
    }
}
