//! Pairing: a peer counts once it has answered and its head and ours are of one log, and not before.

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
use unanimity_testkit::{Fixture, FixtureKeys as Keys, MemoryNetwork, ReleaseSpec};
use unanimity_witness::HeadRelation;

/// Two nodes or more around one log, over streams in memory.
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
        let home = scratch_dir();
        let keys = Keys::generate(&mut StdRng::seed_from_u64(3));
        let stage = Fixture::create(&home.path().join("stage"), keys).unwrap();
        let pairing = PairedNodes {
            fixture: stage,
            network: MemoryNetwork::default(),
            clock: ManualClock::at(NOW),
            _scratch: home,
        };
        pairing.fixture.publish_release("log", &ReleaseSpec::new(1, "1.0.0", b"one"), NOW).unwrap();
        pairing
    }

    pub(crate) fn node_directory(&self, who: &str) -> PathBuf {
        self.fixture.directory.join(who)
    }

    fn write_config(&self, who: &str, log: &str) -> unanimity_config::NodeConfig {
        let (keys, policy) = (&self.fixture.keys, self.fixture.keys.policy());
        let publishers: Vec<String> =
            policy.publishers().iter().map(|key| format!("\"{key}\"")).collect();
        let text = format!(
            "[product]\nname = \"hello\"\nchannel = \"stable\"\n\
             [publisher]\nthreshold = 2\nkeys = [{}]\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [\"file:{}\"]\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n[serve]\nname = \"{who}\"\n",
            publishers.join(", "),
            keys.log.origin,
            keys.log.key,
            self.fixture.directory.join(log).display(),
        );
        fs::create_dir_all(self.node_directory(who)).unwrap();
        fs::write(self.node_directory(who).join("unanimity.toml"), text).unwrap();
        let peers = self.node_directory(who).join("peers.toml");
        if !peers.exists() {
            fs::write(peers, "min_peers = 1\n").unwrap();
        }
        unanimity_config::load_node_config(&self.node_directory(who).join("unanimity.toml"))
            .unwrap()
    }

    fn open(&self, who: &str, log: &str) -> NodeRuntime<ManualClock> {
        let key = Hash::digest(who.as_bytes()).0;
        let address_of = |_: &unanimity_config::NodeConfig,
                          serve: &unanimity_config::ServeSettings| {
            let peer = OnionAddress { key, port: serve.port };
            Ok::<_, NodeError>(ServiceAddresses { peer, artifacts: None })
        };
        let mut rng = StdRng::seed_from_u64(u64::from(key[0]));
        let told = self.write_config(who, log);
        NodeRuntime::open(told, address_of, self.clock.clone(), Storage::default(), &mut rng)
            .unwrap()
    }

    /// A node at work, which has looked at its mirror.
    pub(crate) async fn start_node(&self, who: &str, log: &str) -> RunningNode {
        let node = self.open(who, log);
        let role = node.role.as_ref().unwrap();
        role.witness.poll(&mut rand::rng()).await.unwrap();
        let listener = self.network.listen(role.address.clone());
        let serving = tokio::spawn(role.witness.clone().serve_connections(listener));
        RunningNode { node, server: serving }
    }
}

pub(crate) fn create_invite(seat: &RunningNode) -> Invite {
    seat.node.create_invite().unwrap()
}

pub(crate) fn add_peer(to: &RunningNode, ticket: &Invite) {
    to.node.add_peer(ticket, None, None).unwrap();
}

fn membership(seat: &RunningNode, who: &str) -> Membership {
    let circle = seat.node.config.reload().unwrap().peers;
    circle.find(&who.parse().unwrap()).unwrap().membership
}

pub(crate) async fn test_peers(pairing: &PairedNodes, seat: &RunningNode) -> Vec<PeerTest> {
    seat.node.test_peers(&pairing.network, |_| true).await.unwrap()
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
    // Listed alone, it does not make a circle.
    let listed = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    let said = listed.unwrap_err().to_string();
    assert!(
        said.contains("0 distinct operators count as peers, and min_peers is 1: 1 more are"),
        "{said}"
    );

    let tested = test_peers(&pairing, &dora).await;
    assert!(tested[0].joined && tested[0].waiting_for.is_none(), "{tested:?}");
    assert_eq!(tested[0].relation, Some(HeadRelation::Ancestor));
    assert_eq!(membership(&dora, "emil"), Membership::Counted);
    // Each side finds out by itself.
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
async fn a_peer_that_is_ahead_of_our_mirrors_counts_when_they_have_shown_as_much() {
    let pairing = PairedNodes::new();
    pairing.fixture.copy_log("old").unwrap();
    pairing.fixture.publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"two"), NOW).unwrap();
    let (dora, emil) =
        (pairing.start_node("dora", "old").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    let tested = test_peers(&pairing, &dora).await;
    assert_eq!(tested[0].relation, Some(HeadRelation::Ahead));
    assert!(tested[0].waiting_for.as_ref().unwrap().contains("our own mirrors"), "{tested:?}");
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
    // It was signed by the log's key, so it is evidence, whoever showed it: the node latches, also
    // while too few peers count.
    let latched =
        dora.node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(latched, Err(CycleError::LogForked(_))), "{latched:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_whose_head_is_none_of_the_log_s_is_never_counted() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    let lie = Invite { root: Hash::digest(b"another story"), ..create_invite(&emil) };
    add_peer(&dora, &lie);
    let tested = test_peers(&pairing, &dora).await;
    assert_eq!(tested[0].relation, Some(HeadRelation::Ancestor), "its live view is honest");
    assert!(!tested[0].joined);
    assert!(tested[0].waiting_for.as_ref().unwrap().contains("none of this log's"), "{tested:?}");
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_seen_nothing_yet_counts_nobody() {
    let pairing = PairedNodes::new();
    let emil = pairing.start_node("emil", "log").await;
    let dora = pairing.open("dora", "log");
    dora.add_peer(&create_invite(&emil), None, None).unwrap();
    let tested = dora.test_peers(&pairing.network, |_| true).await.unwrap();
    assert_eq!(tested[0].relation, Some(HeadRelation::Ahead));
    assert!(!tested[0].joined);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_left_is_not_asked_and_one_that_leaves_still_is() {
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
async fn nobody_becomes_their_own_peer() {
    let pairing = PairedNodes::new();
    let dora = pairing.start_node("dora", "log").await;
    let own = create_invite(&dora);
    assert!(matches!(dora.node.add_peer(&own, None, None), Err(NodeError::OwnInvite)));
    // Nor under another name, by one of its two keys.
    let other = pairing.start_node("emil", "log").await;
    let mixed = [
        Invite { key: own.key.clone(), ..create_invite(&other) },
        Invite {
            address: OnionAddress { port: 1, ..own.address.clone() },
            ..create_invite(&other)
        },
    ];
    for ticket in mixed {
        let added = dora.node.add_peer(&ticket, Some("frida".parse().unwrap()), None);
        assert!(matches!(added, Err(NodeError::OwnInvite)), "{added:?}");
    }
    assert!(dora.node.config.reload().unwrap().peers.entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_staged_is_installed_without_a_mirror_unless_it_was_touched() {
    let pairing = PairedNodes::new();
    let (dora, _emil) = create_pair_before_install(&pairing).await;
    let cycle =
        async |errand| dora.node.run_cycle(&pairing.network, errand, &mut rand::rng()).await.1;
    let staged = cycle(CycleMode::Download).await;
    assert!(matches!(staged, Ok(CycleOutcome::Available(_))), "{staged:?}");
    assert!(!pairing.node_directory("dora").join("hello/current").exists(), "nothing is installed");

    let staging = pairing.node_directory("dora").join("hello/versions/.1-1.0.0.new/hello");
    assert_eq!(fs::read(&staging).unwrap(), b"one");
    let artifacts = pairing.fixture.directory.join("log/artifact");
    fs::rename(&artifacts, artifacts.with_extension("gone")).unwrap();
    fs::write(&staging, b"two").unwrap();
    assert!(
        cycle(CycleMode::Update).await.is_err(),
        "touched, it is fetched again, and there is nothing to fetch"
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

/// Somebody at an address who says one thing to everybody.
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
async fn an_old_view_that_is_played_again_counts_nobody() {
    let pairing = PairedNodes::new();
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    let role = emil.node.role.as_ref().unwrap();
    let (log, key) = (&dora.node.config.cycle.policy.log, role.identity.cosigning_key.public());
    let view = ask_once(&pairing.network, &role.address, log, &key).await.unwrap();
    emil.server.abort();
    let replaying = spawn_replayer(&pairing, role.address.clone(), view.note().to_owned());
    pairing.clock.advance(16 * MINUTE);
    let tested = test_peers(&pairing, &dora).await;
    assert!(matches!(tested[0].answer, Err(PeerFailure::TooOld(_))), "{tested:?}");
    assert!(!tested[0].joined);
    assert!(matches!(membership(&dora, "emil"), Membership::Joining { .. }));
    replaying.abort();
}

/// A node whose one peer has confirmed a release for long enough.
async fn create_pair_before_install(pairing: &PairedNodes) -> (RunningNode, RunningNode) {
    let (dora, emil) =
        (pairing.start_node("dora", "log").await, pairing.start_node("emil", "log").await);
    add_peer(&dora, &create_invite(&emil));
    test_peers(pairing, &dora).await;
    let settles = dora.node.run_cycle(&pairing.network, CycleMode::Check, &mut rand::rng()).await.1;
    assert!(matches!(settles, Err(CycleError::Refused(Refusal::Settling { .. }))), "{settles:?}");
    pairing.clock.advance(HOUR + MINUTE);
    for seat in [&dora, &emil] {
        seat.node.role.as_ref().unwrap().witness.poll(&mut rand::rng()).await.unwrap();
    }
    (dora, emil)
}

#[tokio::test(start_paused = true)]
async fn a_node_does_not_go_by_a_configuration_that_was_changed_since() {
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
async fn a_peer_that_comes_to_count_while_the_artifact_is_fetched_is_not_passed_over() {
    let pairing = PairedNodes::new();
    let (mut dora, _emil) = create_pair_before_install(&pairing).await;
    let frida = pairing.start_node("frida", "log").await;
    add_peer(&dora, &create_invite(&frida));
    frida.server.abort();
    dora.server.abort();
    (&mut dora.server).await.unwrap_err();
    let (told, peers) = (dora.node.config.clone(), dora.node.config.peers_path.clone());
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
    let node =
        NodeRuntime::open(told, address_of, pairing.clock.clone(), disk, &mut rand::rng()).unwrap();
    let ended = node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(ended, Err(CycleError::Client(ClientError::Config(_)))), "{ended:?}");
    assert!(!pairing.node_directory("dora").join("hello/current").exists());
    // Asked the next time, she is silent.
    let ended = node.run_cycle(&pairing.network, CycleMode::Update, &mut rand::rng()).await.1;
    assert!(matches!(ended, Err(CycleError::Refused(Refusal::Incomplete(_)))), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_put_back_does_not_shorten_the_wait_before_a_peer_has_left() {
    let pairing = PairedNodes::new();
    let (dora, _emil) = create_pair_before_install(&pairing).await;
    let agreed = NOW;
    pairing.clock.set(Timestamp(NOW.0 - 30 * 24 * 3600));
    let emil = "emil".parse().unwrap();
    // In a circle of one nobody can leave: with nobody it would agree with everything.
    let peers = &dora.node.config.peers_path;
    let frida = pairing.start_node("frida", "log").await;
    add_peer(&dora, &create_invite(&frida));
    let joined = fs::read_to_string(peers).unwrap();
    let counted = joined.lines().filter(|line| !line.starts_with("joining"));
    fs::write(peers, counted.map(|line| format!("{line}\n")).collect::<String>()).unwrap();

    let leaves = dora.node.remove_peer(&emil, false).unwrap();
    assert_eq!(leaves, Some(agreed.after(7 * 24 * HOUR)));
    assert_eq!(membership(&dora, "emil"), Membership::Leaving { at: leaves.unwrap() });
    assert_eq!(dora.node.remove_peer(&emil, true).unwrap(), None);
}

#[test]
fn a_node_keeps_its_keys_in_a_file_that_only_its_owner_reads() {
    let place = scratch_dir();
    let state = place.path().join("state");
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
    assert!(error.contains("0640") || error.contains("640"), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    for damaged in
        ["", "{}", &whole[..whole.len() / 2], &whole.replace("\"version\":1", "\"version\":2")]
    {
        fs::write(&path, damaged).unwrap();
        let error = open(&name).unwrap_err().to_string();
        assert!(error.contains("identity.json") && !error.contains("PRIVATE"), "{error}");
    }
    // It is never made anew in place of one that is damaged.
    assert_ne!(fs::read_to_string(&path).unwrap(), whole);
}
