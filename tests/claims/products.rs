//! Several products on one node: each has a configuration, and one round serves all products of a
//! log.

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

use crate::messages::Messages;
use crate::pairing::{PairedNodes, RunningNode, add_peer, create_invite, test_peers};

/// A network that counts its connections.
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

/// Two nodes that are each other's only peer.
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

/// The configuration of another product of dora's node, in a file beside the node's own. Each
/// `from` in it becomes `to`.
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

fn is_settling(result: &Result<CycleOutcome, CycleError>) -> bool {
    matches!(result, Err(CycleError::Refused(Refusal::Settling { .. })))
}

#[tokio::test(start_paused = true)]
async fn peers_are_asked_once_in_five_minutes_for_all_products() {
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
    let (report, result) = run_cycle(&other, &on, CycleMode::Check).await;
    assert!(is_settling(&result), "{result:?}");
    assert_eq!((on.take_dial_count(), report.peers.len()), (0, 1));
    assert!(report.peers[0].1.is_ok(), "{report:?}");
    // The node's own cycle always asks every peer.
    run_cycle(&dora.node, &on, CycleMode::Check).await.1.unwrap_err();
    assert_eq!(on.take_dial_count(), 1);
    tokio::time::advance(5 * MINUTE - SECOND).await;
    run_cycle(&other, &on, CycleMode::Check).await.1.unwrap_err();
    assert_eq!(on.take_dial_count(), 0);
    tokio::time::advance(SECOND).await;
    run_cycle(&other, &on, CycleMode::Check).await.1.unwrap_err();
    assert_eq!(on.take_dial_count(), 1);

    // One round is enough to install both products, each in its own root.
    pairing.clock.advance(HOUR + SECOND);
    emil.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    for node in [&dora.node, &other] {
        let result = run_cycle(node, &on, CycleMode::Update).await.1;
        assert!(matches!(result, Ok(CycleOutcome::Installed(_))), "{result:?}");
    }
    assert_eq!(on.take_dial_count(), 1);
    for root in ["hello", "other"] {
        let current = pairing.node_directory("dora").join(root).join("current");
        assert_eq!(fs::read_link(current).unwrap().to_str(), Some("versions/2-1.1.0"));
    }
}

/// A shared answer whose signature has become too old in the meantime does not count.
#[tokio::test(start_paused = true)]
async fn a_shared_answer_is_admitted_by_its_signature_time() {
    let (pairing, dora, _emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    run_cycle(&dora.node, &on, CycleMode::Check).await.1.unwrap_err();
    pairing.clock.advance(16 * MINUTE);
    let result = run_cycle(&other, &on, CycleMode::Check).await.1;
    assert!(matches!(result, Err(CycleError::Refused(Refusal::Incomplete(_)))), "{result:?}");
}

/// An answer from the future stays refused for as long as it is shared.
#[tokio::test(start_paused = true)]
async fn a_shared_answer_is_admitted_by_its_arrival_time() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    // Emil's clock is 90 seconds ahead. Half of that would be too much.
    let role = emil.node.role.as_ref().unwrap();
    let head = pairing.fixture.head_of("log").unwrap();
    let cosigned = CosignedHead::sign(&head, &role.identity.cosigning_key, NOW.after(90 * SECOND));
    let mut listener = pairing.network.listen(role.address.clone());
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            while let Ok(Some(_)) =
                unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await
            {
                let answer = Answer::CosignedHead(cosigned.note().to_owned()).encode();
                unanimity_net::message::send(&mut stream, &answer).await.unwrap();
            }
        }
    });
    run_cycle(&dora.node, &on, CycleMode::Check).await.1.unwrap_err();
    pairing.clock.advance(MINUTE);
    for node in [&other, &dora.node] {
        let (report, result) = run_cycle(node, &on, CycleMode::Check).await;
        let is_ahead = matches!(report.peers[0].1, Err(PeerFailure::InFuture(_)));
        // The node's own cycle asks again, and the new answer is not from the future.
        assert_eq!(is_ahead, std::ptr::eq(node, &other), "{report:?} {result:?}");
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
async fn evidence_of_a_node_latches_all_of_its_products() {
    let (pairing, dora, _emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    evidence_store(&dora.node).add(&create_evidence(&pairing)).unwrap();
    let result = run_cycle(&other, &on, CycleMode::Update).await.1;
    assert!(matches!(result, Err(CycleError::LogForked(_))), "{result:?}");
    assert_eq!(on.take_dial_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn evidence_that_a_product_finds_latches_the_node_and_the_product() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    let evidence = create_evidence(&pairing);
    // Emil has the evidence, and answers with it.
    evidence_store(&emil.node).add(&evidence).unwrap();
    let result = run_cycle(&other, &on, CycleMode::Check).await.1;
    assert!(matches!(result, Err(CycleError::Refused(Refusal::Fork(_)))), "{result:?}");
    for node in [&dora.node, &other] {
        assert_eq!(evidence_store(node).find_unacknowledged().unwrap(), Some(evidence.id()));
        let result = run_cycle(node, &on, CycleMode::Update).await.1;
        assert!(matches!(result, Err(CycleError::LogForked(_))), "{result:?}");
    }
    // The evidence has to be acknowledged in both states.
    evidence_store(&dora.node).acknowledge(&evidence.id()).unwrap();
    let result = run_cycle(&other, &on, CycleMode::Update).await.1;
    assert!(matches!(result, Err(CycleError::LogForked(_))), "{result:?}");
}

/// The node's own witness may find evidence while a product's cycle runs.
#[tokio::test(start_paused = true)]
async fn evidence_found_during_a_download_stops_the_switch() {
    let (pairing, dora, emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let mut other = dora.node.open_extra_product(other_product_config(&pairing, "", "")).unwrap();
    assert!(is_settling(&run_cycle(&other, &on, CycleMode::Check).await.1));
    pairing.clock.advance(HOUR + SECOND);
    tokio::time::advance(5 * MINUTE).await;
    emil.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    let evidence = create_evidence(&pairing);
    let state = evidence_store(&dora.node);
    let find_evidence = ProgressSink::new(move |step| {
        if matches!(step, CycleProgress::Download { .. }) {
            state.add(&evidence).unwrap();
        }
    });
    other.progress = find_evidence;
    let result = run_cycle(&other, &on, CycleMode::Update).await.1;
    assert!(matches!(result, Err(CycleError::LogForked(_))), "{result:?}");
    assert!(!pairing.node_directory("dora").join("other/current").exists());
}

/// A node that may not run a cycle still undoes an interrupted trial.
#[tokio::test(start_paused = true)]
async fn an_interrupted_trial_is_undone_where_nothing_may_be_installed() {
    let (pairing, dora, _emil) = create_pair().await;
    let on = CountingTransport(&pairing.network, AtomicUsize::new(0));
    let root = pairing.node_directory("dora").join("hello");
    let leave_trial_open = || {
        fs::create_dir_all(root.join("versions/1-1.0.0")).unwrap();
        symlink("versions/1-1.0.0", root.join("current")).unwrap();
        let trial = Some(Trial::new("1-1.0.0".to_owned(), None, false));
        let journal = Journal { trial, ..Journal::default() };
        fs::write(root.join("journal.json"), journal.text()).unwrap();
    };
    let evidence = create_evidence(&pairing);
    evidence_store(&dora.node).add(&evidence).unwrap();
    leave_trial_open();
    let checked = run_cycle(&dora.node, &on, CycleMode::Check).await;
    assert!(checked.0.remarks.is_empty() && root.join("current").is_symlink(), "{checked:?}");
    let (report, result) = run_cycle(&dora.node, &on, CycleMode::Update).await;
    assert!(matches!(result, Err(CycleError::LogForked(_))), "{result:?}");
    let mut messages = Messages::new(&pairing.fixture.directory);
    messages.add("fork", &report.remarks[0]);
    assert!(!root.join("current").is_symlink());
    // Too few peers count.
    evidence_store(&dora.node).acknowledge(&evidence.id()).unwrap();
    fs::write(pairing.node_directory("dora").join("peers.toml"), "min_peers = 1\n").unwrap();
    leave_trial_open();
    let (report, result) = run_cycle(&dora.node, &on, CycleMode::InstallDownloaded).await;
    assert!(matches!(result, Err(CycleError::Client(ClientError::Config(_)))), "{result:?}");
    messages.add("too few peers", &report.remarks[0]);
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/undone_trial.txt"]);
    assert!(!root.join("current").is_symlink());
}

#[tokio::test(start_paused = true)]
async fn products_share_no_directory_and_only_the_node_serves() {
    let (pairing, dora, _emil) = create_pair().await;
    let mut messages = Messages::new(&pairing.fixture.directory);
    for (case, from, to) in [
        ("same root", "\"other\"", "\"hello\""),
        ("root in root", "\"other\"", "\"hello/below\""),
        ("same state", "\"other-state\"", "\"state\""),
        ("state in state", "\"other-state\"", "\"state/client\""),
        ("state is root", "\"other-state\"", "\"hello\""),
        ("serve", "[install]", "[serve]\nname = \"dora\"\n[install]"),
    ] {
        let refused =
            dora.node.open_extra_product(other_product_config(&pairing, from, to)).unwrap_err();
        assert!(matches!(refused, NodeError::InvalidExtraProduct { .. }), "{refused}");
        messages.add(case, &refused.to_string());
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/extra_product.txt"]);
}

#[test]
fn a_daemon_of_a_split_installation_fills_the_spool() {
    for (policy, alone, split) in [
        (ServePolicy::Notify, CycleMode::Check, CycleMode::Check),
        (ServePolicy::Download, CycleMode::Check, CycleMode::InstallDownloaded),
        (ServePolicy::Install, CycleMode::InstallDownloaded, CycleMode::InstallDownloaded),
    ] {
        assert_eq!((cycle_mode(policy, false), cycle_mode(policy, true)), (alone, split));
    }
}
