//! Pairing: a peer counts once its answer shows that both nodes follow one log.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinHandle;
use unanimity::node::{NodeError, NodeRuntime, PeerTest, ServiceAddresses};
use unanimity_client::{ClientError, CycleError, CycleMode, CycleOutcome, ask_once};
use unanimity_config::{Invite, Membership, OnionAddress};
use unanimity_net::Listener as _;
use unanimity_net::message::{Answer, QUESTION_BYTES};
use unanimity_protocol::key::KeyName;
use unanimity_protocol::{Hash, PeerFailure, Refusal, Timestamp};
use unanimity_state::{Identity, IdentityError};
use unanimity_storage::{ManualClock, Storage, WriteStep};
use unanimity_testkit::scratch_dir::scratch_dir;
use unanimity_testkit::test_world::{HOUR, MINUTE, NOW};
use unanimity_testkit::{Fixture, FixtureKeys, MemoryNetwork, ReleaseSpec};
use unanimity_witness::HeadRelation;

use crate::messages::Messages;

/// Nodes that follow one log, connected by streams in memory.
pub(crate) struct PairedNodes {
    pub(crate) fixture: Fixture,
    pub(crate) network: MemoryNetwork,
    pub(crate) clock: ManualClock,
    _scratch: tempfile::TempDir,
}

pub(crate) struct RunningNode {
    pub(crate) node: NodeRuntime<ManualClock>,
    server: JoinHandle<()>,
}

impl PairedNodes {
    pub(crate) fn new() -> PairedNodes {
        let scratch = scratch_dir();
        let keys = FixtureKeys::generate(&mut StdRng::seed_from_u64(3));
        let fixture = Fixture::create(&scratch.path().join("fixture"), keys).unwrap();
        let pairing = PairedNodes {
            fixture,
            network: MemoryNetwork::default(),
            clock: ManualClock::at(NOW),
            _scratch: scratch,
        };
        pairing.fixture.publish_release("log", &ReleaseSpec::new(1, "1.0.0", b"one"), NOW).unwrap();
        pairing
    }

    pub(crate) fn node_directory(&self, name: &str) -> PathBuf {
        self.fixture.directory.join(name)
    }

    fn write_config(&self, name: &str, log: &str) -> unanimity_config::NodeConfig {
        let (keys, policy) = (&self.fixture.keys, self.fixture.keys.policy());
        let publishers: Vec<String> =
            policy.publishers().iter().map(|key| format!("\"{key}\"")).collect();
        let text = format!(
            "[product]\nname = \"hello\"\nchannel = \"stable\"\n\
             [publisher]\nthreshold = 2\nkeys = [{}]\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [\"file:{}\"]\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n[serve]\nname = \"{name}\"\n",
            publishers.join(", "),
            keys.log.origin,
            keys.log.key,
            self.fixture.directory.join(log).display(),
        );
        fs::create_dir_all(self.node_directory(name)).unwrap();
        fs::write(self.node_directory(name).join("unanimity.toml"), text).unwrap();
        let peers = self.node_directory(name).join("peers.toml");
        if !peers.exists() {
            fs::write(peers, "min_peers = 1\n").unwrap();
        }
        unanimity_config::load_node_config(&self.node_directory(name).join("unanimity.toml"))
            .unwrap()
    }

    fn open(&self, name: &str, log: &str) -> NodeRuntime<ManualClock> {
        let key = Hash::digest(name.as_bytes()).0;
        let address_of = |_: &unanimity_config::NodeConfig,
                          serve: &unanimity_config::ServeSettings| {
            let peer = OnionAddress { key, port: serve.port };
            Ok::<_, NodeError>(ServiceAddresses { peer, artifacts: None })
        };
        let mut rng = StdRng::seed_from_u64(u64::from(key[0]));
        let config = self.write_config(name, log);
        NodeRuntime::open(config, address_of, self.clock.clone(), Storage::default(), &mut rng)
            .unwrap()
    }

    /// Starts a node that serves its peers and has polled its mirror once.
    pub(crate) async fn start_node(&self, name: &str, log: &str) -> RunningNode {
        let node = self.open(name, log);
        let role = node.role.as_ref().unwrap();
        role.witness.poll(&mut rand::rng()).await.unwrap();
        let listener = self.network.listen(role.address.clone());
        let serving = tokio::spawn(role.witness.clone().serve_connections(listener));
        RunningNode { node, server: serving }
    }
}

pub(crate) fn create_invite(node: &RunningNode) -> Invite {
    node.node.create_invite().unwrap()
}

pub(crate) fn add_peer(to: &RunningNode, invite: &Invite) {
    to.node.add_peer(invite, None, None).unwrap();
}

fn membership(node: &RunningNode, name: &str) -> Membership {
    let peers = node.node.config.reload().unwrap().peers;
    peers.find(&name.parse().unwrap()).unwrap().membership
}

pub(crate) async fn test_peers(pairing: &PairedNodes, node: &RunningNode) -> Vec<PeerTest> {
    node.node.test_peers(&pairing.network, |_| true).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_nodes_count_each_other_once_their_heads_are_of_one_log() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    let before = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    assert!(matches!(before, Err(CycleError::Client(ClientError::Config(_)))), "{before:?}");

    add_peer(&emil, &create_invite(&dora));
    add_peer(&dora, &create_invite(&emil));
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { size: 1, .. }));
    // A joining peer does not count.
    let listed = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    let mut messages = Messages::new(&pairing.fixture.directory);
    messages.add("check", &listed.unwrap_err().to_string());
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/joining_peer.txt"]);

    let tested = test_peers(&pairing, &dora).await;
    assert!(tested[0].joined && tested[0].waiting_for.is_none(), "{tested:?}");
    assert_eq!(tested[0].relation, Some(HeadRelation::Ancestor));
    assert_eq!(membership(&dora, "emil"), Membership::Counted);
    // Each side compares the heads by itself.
    assert!(matches!(membership(&emil, "dora"), Membership::Joining { .. }));

    let counted = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    assert!(matches!(counted, Err(CycleError::Refused(Refusal::Settling { .. }))), "{counted:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_listed_and_does_not_count() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    emil.server.abort();
    emil.server.await.unwrap_err();
    let tested = test_peers(&pairing, &dora).await;
    assert!(tested[0].answer.is_err() && !tested[0].joined, "{tested:?}");
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_peer_ahead_of_the_own_mirrors_counts_once_they_catch_up() {
    let pairing = PairedNodes::new();
    pairing.fixture.copy_log("old").unwrap();
    pairing.fixture.publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"two"), NOW).unwrap();
    let (dora, emil) =
        (pairing.start_node("dora", "old").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    let tested = test_peers(&pairing, &dora).await;
    assert_eq!(tested[0].relation, Some(HeadRelation::Ahead));
    let reason = tested[0].waiting_for.clone().unwrap();
    snapbox::assert_data_eq!(reason, snapbox::file!["words/peer_ahead.txt"]);
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));

    fs::remove_dir_all(pairing.fixture.directory.join("old")).unwrap();
    pairing.fixture.copy_log("old").unwrap();
    dora.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    assert!(test_peers(&pairing, &dora).await[0].joined);
}

#[tokio::test(start_paused = true)]
async fn a_peer_on_a_forked_log_leaves_evidence_and_never_counts() {
    let pairing = PairedNodes::new();
    pairing.fixture.copy_log("fork").unwrap();
    pairing.fixture.publish_release("fork", &ReleaseSpec::new(2, "1.1.0", b"trojan"), NOW).unwrap();
    pairing.fixture.publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"two"), NOW).unwrap();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "fork").await);
    add_peer(&dora, &create_invite(&emil));
    let tested = test_peers(&pairing, &dora).await;
    assert!(matches!(tested[0].relation, Some(HeadRelation::Fork(_))), "{tested:?}");
    assert!(!tested[0].joined);
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));
    // The log's key signed both heads, so they are evidence, no matter which peer showed them. The
    // node latches although too few peers count.
    let latched =
        dora.node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(latched, Err(CycleError::LogForked(_))), "{latched:?}");
}

#[tokio::test(start_paused = true)]
async fn an_invite_with_a_foreign_head_never_counts() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    let lie = Invite { root: Hash::digest(b"another tree"), ..create_invite(&emil) };
    add_peer(&dora, &lie);
    let tested = test_peers(&pairing, &dora).await;
    assert_eq!(tested[0].relation, Some(HeadRelation::Ancestor), "the live head is not honest");
    assert!(!tested[0].joined);
    let reason = tested[0].waiting_for.clone().unwrap();
    snapbox::assert_data_eq!(reason, snapbox::file!["words/foreign_invite.txt"]);
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_head_counts_no_peer() {
    let pairing = PairedNodes::new();
    let emil = pairing.start_node("emil", "log").await;
    let dora = pairing.open("dora", "log");
    dora.add_peer(&create_invite(&emil), None, None).unwrap();
    let tested = dora.test_peers(&pairing.network, |_| true).await.unwrap();
    assert_eq!(tested[0].relation, Some(HeadRelation::Ahead));
    assert!(!tested[0].joined);
}

#[tokio::test(start_paused = true)]
async fn a_leaving_peer_is_asked_and_a_removed_one_is_not() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    test_peers(&pairing, &dora).await;
    let name = "emil".parse().unwrap();
    let path = &dora.node.config.peers_path;
    unanimity_config::peers::edit::schedule_removal(
        path,
        &name,
        NOW.after(HOUR),
        &Storage::default(),
    )
    .unwrap();
    assert_eq!(test_peers(&pairing, &dora).await.len(), 1);
    pairing.clock.advance(HOUR);
    assert!(test_peers(&pairing, &dora).await.is_empty());
    let alone = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    assert!(matches!(alone, Err(CycleError::Client(ClientError::Config(_)))), "{alone:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_cannot_become_its_own_peer() {
    let pairing = PairedNodes::new();
    let dora = pairing.start_node("dora", "log").await;
    let own = create_invite(&dora);
    assert!(matches!(dora.node.add_peer(&own, None, None), Err(NodeError::OwnInvite)));
    // Nor can it under another name, with one of its two keys.
    let other = pairing.start_node("emil", "log").await;
    let mixed = [
        Invite { key: own.key.clone(), ..create_invite(&other) },
        Invite {
            address: OnionAddress { port: 1, ..own.address.clone() },
            ..create_invite(&other)
        },
    ];
    for invite in mixed {
        let added = dora.node.add_peer(&invite, Some("frida".parse().unwrap()), None);
        assert!(matches!(added, Err(NodeError::OwnInvite)), "{added:?}");
    }
    assert!(dora.node.config.reload().unwrap().peers.entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_download_installs_without_a_mirror() {
    let pairing = PairedNodes::new();
    let (dora, _emil) = create_pair_before_install(&pairing).await;
    let cycle = async |mode| dora.node.run_cycle(&pairing.network, mode, &mut rand::rng()).await.1;
    let downloaded = cycle(CycleMode::Download).await;
    assert!(matches!(downloaded, Ok(CycleOutcome::Available(_))), "{downloaded:?}");
    assert!(
        !pairing.node_directory("dora").join("hello/current").exists(),
        "the download was installed"
    );

    let download = pairing.node_directory("dora").join("hello/versions/.1-1.0.0.new/hello");
    assert_eq!(fs::read(&download).unwrap(), b"one");
    let artifacts = pairing.fixture.directory.join("log/artifact");
    fs::rename(&artifacts, artifacts.with_extension("gone")).unwrap();
    fs::write(&download, b"two").unwrap();
    assert!(
        cycle(CycleMode::Update).await.is_err(),
        "a changed download installed, although no mirror has the artifact"
    );
    assert!(!pairing.node_directory("dora").join("hello/current").exists());

    fs::rename(artifacts.with_extension("gone"), &artifacts).unwrap();
    assert!(matches!(cycle(CycleMode::Download).await, Ok(CycleOutcome::Available(_))));
    fs::rename(&artifacts, artifacts.with_extension("gone")).unwrap();
    let installed = cycle(CycleMode::Update).await;
    assert!(matches!(installed, Ok(CycleOutcome::Installed(_))), "{installed:?}");
    assert_eq!(
        fs::read(pairing.node_directory("dora").join("hello/current/hello")).unwrap(),
        b"one"
    );
}

/// A server at an address that answers every question with the same cosigned head.
fn spawn_replayer(pairing: &PairedNodes, at: OnionAddress, note: String) -> JoinHandle<()> {
    let mut listener = pairing.network.listen(at);
    tokio::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            if let Ok(Some(_)) =
                unanimity_net::message::receive::<QUESTION_BYTES>(&mut stream).await
            {
                unanimity_net::message::send(
                    &mut stream,
                    &Answer::CosignedHead(note.clone()).encode(),
                )
                .await
                .ok();
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_replayed_old_head_does_not_make_a_peer_count() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    let role = emil.node.role.as_ref().unwrap();
    let (log, key) = (&dora.node.config.cycle.policy.log, role.identity.cosigning_key.public());
    let cosigned = ask_once(&pairing.network, &role.address, log, &key).await.unwrap();
    emil.server.abort();
    let replaying = spawn_replayer(&pairing, role.address.clone(), cosigned.note().to_owned());
    pairing.clock.advance(16 * MINUTE);
    let tested = test_peers(&pairing, &dora).await;
    assert!(matches!(tested[0].answer, Err(PeerFailure::TooOld(_))), "{tested:?}");
    assert!(!tested[0].joined);
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));
    replaying.abort();
}

/// Two nodes; the only peer of the first one has confirmed a release for longer than `settle`.
async fn create_pair_before_install(pairing: &PairedNodes) -> (RunningNode, RunningNode) {
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    test_peers(pairing, &dora).await;
    let settles = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    assert!(matches!(settles, Err(CycleError::Refused(Refusal::Settling { .. }))), "{settles:?}");
    pairing.clock.advance(HOUR + MINUTE);
    for node in [&dora, &emil] {
        node.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    }
    (dora, emil)
}

#[tokio::test(start_paused = true)]
async fn a_cycle_refuses_a_configuration_changed_since_the_start() {
    let pairing = PairedNodes::new();
    let (dora, _emil) = create_pair_before_install(&pairing).await;
    let path = pairing.node_directory("dora").join("unanimity.toml");
    let before = fs::read_to_string(&path).unwrap();
    for (old, new) in
        [("threshold = 2", "threshold = 3"), ("[serve]", "[limits]\nsettle = \"72h\"\n[serve]")]
    {
        fs::write(&path, before.replace(old, new)).unwrap();
        let ended =
            dora.node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
        assert!(matches!(ended, Err(CycleError::Client(ClientError::Config(_)))), "{ended:?}");
        assert!(dora.node.test_peers(&pairing.network, |_| true).await.is_err());
    }
    fs::write(&path, before).unwrap();
    let ended = dora.node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(ended, Ok(CycleOutcome::Installed(_))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_counts_since_the_download_must_confirm_too() {
    let pairing = PairedNodes::new();
    let (mut dora, _emil) = create_pair_before_install(&pairing).await;
    let frida = pairing.start_node("frida", "log").await;
    add_peer(&dora, &create_invite(&frida));
    frida.server.abort();
    dora.server.abort();
    (&mut dora.server).await.unwrap_err();
    let (config, peers) = (dora.node.config.clone(), dora.node.config.peers_path.clone());
    drop(dora.node);
    let disk = Storage::with_hook(move |step| {
        if matches!(step, WriteStep::Create(path) if path.ends_with(".1-1.0.0.new/hello")) {
            let text = fs::read_to_string(&peers).unwrap();
            let counted = text.lines().filter(|line| !line.starts_with("joining"));
            fs::write(&peers, counted.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        Ok(())
    });
    let address_of = |_: &unanimity_config::NodeConfig, _: &unanimity_config::ServeSettings| {
        let peer = OnionAddress { key: Hash::digest(b"dora").0, port: 4242 };
        Ok::<_, NodeError>(ServiceAddresses { peer, artifacts: None })
    };
    let node = NodeRuntime::open(config, address_of, pairing.clock.clone(), disk, &mut rand::rng())
        .unwrap();
    let ended = node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(ended, Err(CycleError::Client(ClientError::Config(_)))), "{ended:?}");
    assert!(!pairing.node_directory("dora").join("hello/current").exists());
    // In the next cycle, frida is asked and does not answer.
    let ended = node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(ended, Err(CycleError::Refused(Refusal::Incomplete(_)))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_shorten_the_removal_delay() {
    let pairing = PairedNodes::new();
    let (dora, _emil) = create_pair_before_install(&pairing).await;
    let verified_at = NOW;
    pairing.clock.set(Timestamp(NOW.0 - 30 * 24 * 3600));
    let emil = "emil".parse().unwrap();
    // The only peer cannot be removed: without peers, every release would count as confirmed.
    let peers = &dora.node.config.peers_path;
    let frida = pairing.start_node("frida", "log").await;
    add_peer(&dora, &create_invite(&frida));
    let joined = fs::read_to_string(peers).unwrap();
    let counted = joined.lines().filter(|line| !line.starts_with("joining"));
    fs::write(peers, counted.map(|line| format!("{line}\n")).collect::<String>()).unwrap();

    let leaves = dora.node.remove_peer(&emil, false).unwrap();
    assert_eq!(leaves, Some(verified_at.after(7 * 24 * HOUR)));
    assert_eq!(membership(&dora, "emil"), Membership::Leaving { at: leaves.unwrap() });
    assert_eq!(dora.node.remove_peer(&emil, true).unwrap(), None);
}

#[test]
fn the_keys_of_a_node_are_in_a_private_file() {
    let scratch = scratch_dir();
    let state = scratch.path().join("state");
    let name: KeyName = "dora".parse().unwrap();
    let open = |name: &KeyName| Identity::open(&state, name, &mut rand::rng(), &Storage::default());
    let first = open(&name).unwrap();
    let again = open(&name).unwrap();
    assert_eq!(first.cosigning_key.public(), again.cosigning_key.public());
    assert_eq!(first.client_auth, again.client_auth);
    let path = state.join("peer/identity.json");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = format!("{first:?}");
    assert!(!shown.contains("PRIVATE") && shown.contains("dora"), "{shown}");

    let renamed = open(&"emil".parse().unwrap());
    assert!(matches!(renamed, Err(IdentityError::Renamed { .. })), "{renamed:?}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = open(&name).unwrap_err().to_string();
    let mut messages = Messages::new(scratch.path());
    messages.add("mode 0640", &error);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    for (case, damaged) in [
        ("empty", ""),
        ("no keys", "{}"),
        ("cut off", &whole[..whole.len() / 2]),
        ("version 2", &*whole.replace("\"version\":1", "\"version\":2")),
    ] {
        fs::write(&path, damaged).unwrap();
        let error = open(&name).unwrap_err().to_string();
        assert!(!error.contains("PRIVATE"), "{error}");
        messages.add(case, &error);
    }
    snapbox::assert_data_eq!(messages.into_text(), snapbox::file!["words/identity_file.txt"]);
    // A damaged file is never replaced by new keys.
    assert_ne!(fs::read_to_string(&path).unwrap(), whole);
}
