//! Installation over Tor: it needs the confirmation of every peer, and a fork stops it.

use std::fs;

use serde_json::Value;
use unanimity_testkit::{ReleaseSpec, copy_tree};
use unanimity_testkit_tor::NodeProcess;

use super::{TorTestWorld, assert_incomplete_for, peer_answers, wait_for_head, wait_reachable};

#[test]
fn running_peers_confirm_an_update_and_a_stopped_one_blocks_it() {
    let mut world = TorTestWorld::start(3);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello over Tor"));
    let result = world.update_until_settled();
    assert_eq!(result.exit_code, 0, "{}", result.report);
    assert_eq!(world.installed(), Some(1));

    world.publish(&ReleaseSpec::new(2, "1.1.0", b"hello again"));
    world.peers[1].stop().unwrap();
    let result = world.update_until_settled();
    assert_incomplete_for(&result, "bela", 2);
    assert_eq!(world.installed(), Some(1));

    world.peers[1].serve().unwrap();
    wait_reachable(&mut world.peers[1]);
    let result = world.update_until_settled();
    assert_eq!(result.exit_code, 0, "{}", result.report);
    assert_eq!(world.installed(), Some(2));

    // One more product of the client's node uses the Tor of its daemon, and settles by itself.
    let client = &world.client;
    let own = fs::read_to_string(client.directory.join("unanimity.toml")).unwrap();
    let (before, serve) = own.split_once("[serve]").unwrap();
    let after = serve.split_once("\n[").map_or(String::new(), |(_, after)| format!("[{after}"));
    let other = format!("{before}{after}");
    let line_of = |key: &str| other.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let other = other.replacen(&line_of("root = "), "root = \"other\"", 1);
    let other = other.replacen(&line_of("state = "), "state = \"other-state\"", 1);
    let path = client.directory.join("other.toml");
    fs::write(&path, other).unwrap();
    let arguments = ["update", "--product-config", path.to_str().unwrap()];
    let installs = |client: &NodeProcess| {
        let result = client.run(&arguments)?;
        assert_eq!(result.report["own"]["outcome"], "done", "{}", result.report);
        let other = &result.report["products"][0]["outcome"];
        assert!(["settling", "done"].map(Value::from).contains(other), "{}", result.report);
        assert_eq!(result.report["outcome"], *other);
        Ok(*other == "done")
    };
    world.client.wait("an update of both", installs).unwrap();
    let current = fs::read(world.client.directory.join("other/current/hello")).unwrap();
    assert_eq!(current, b"hello again");
}

#[test]
fn a_peer_on_a_fork_blocks_installs_until_evidence_is_acknowledged() {
    let mut world = TorTestWorld::start(3);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    assert_eq!(world.update_until_settled().exit_code, 0);
    let fixture = world.onion.fixture.clone();
    fixture.copy_log("fork").unwrap();
    world.peers[1].stop().unwrap();
    let bela = world.onion.node_directory("bela").join("state/peer");
    let backup = world.directory.path().join("backup");
    copy_tree(&bela, &backup).unwrap();
    fixture.set_mirror("bela", "fork").unwrap();
    fixture
        .publish_release("fork", &ReleaseSpec::new(2, "1.1.0", b"hello, bela"), super::now())
        .unwrap();
    fixture
        .publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"hello, all"), super::now())
        .unwrap();
    world.peers[1].serve().unwrap();
    wait_reachable(&mut world.peers[1]);
    // The heads have one size and two roots.
    world.wait_for_peers_to_see("log");
    world.wait_for_peers_to_see("fork");

    let forked = |world: &TorTestWorld, verb: &str| {
        let result = world.client.run(&[verb]).unwrap();
        assert_eq!((result.exit_code, result.report["outcome"].as_str()), (20, Some("fork")));
        assert_eq!(world.installed(), Some(1));
        result.report
    };
    forked(&world, "update");
    let stored = world.client.run_json(&["evidence", "show"]).unwrap();
    let [only] = &stored["evidence"].as_array().unwrap()[..] else { panic!("{stored}") };
    let (id, acknowledged) = (only["id"].as_str().unwrap(), &only["acknowledged"]);
    assert_eq!(*acknowledged, Value::Bool(false));

    // The log's key alone is enough to verify the evidence.
    let shown = world.client.run_json(&["evidence", "show", id]).unwrap();
    let file = world.directory.path().join("evidence.txt");
    fs::write(&file, shown["evidence"].as_str().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let key = |key: String| world.client.run(&["evidence", "verify", file, "--log-key", &key]);
    let verified = key(fixture.keys.log.key.to_string()).unwrap();
    assert_eq!((verified.exit_code, verified.report["id"].as_str()), (0, Some(id)));
    for head in ["smaller", "larger"] {
        assert_eq!(verified.report[head]["size"], 2, "{}", verified.report);
    }
    let another = key(fixture.keys.publisher_keys[0].public().to_string()).unwrap();
    assert_eq!(another.exit_code, 29, "{}", another.report);

    // The latch holds for every command and through restarts. No peer is asked meanwhile.
    let latched = |world: &TorTestWorld, verb: &str| {
        let report = forked(world, verb);
        assert!(report["message"].as_str().unwrap().contains(id), "{report}");
        assert!(peer_answers(&report).is_empty(), "{report}");
    };
    ["update", "check"].iter().for_each(|verb| latched(&world, verb));
    world.client.kill();
    latched(&world, "check");
    world.client.serve().unwrap();
    ["update", "check"].iter().for_each(|verb| latched(&world, verb));

    // Bela's operator repairs her node. That alone does not release the latch.
    world.peers[1].stop().unwrap();
    fs::remove_dir_all(&bela).unwrap();
    copy_tree(&backup, &bela).unwrap();
    fixture.set_mirror("bela", "log").unwrap();
    world.peers[1].serve().unwrap();
    wait_reachable(&mut world.peers[1]);
    wait_for_head(&mut world.peers[1], 2);
    latched(&world, "update");

    world.client.run_json(&["evidence", "acknowledge", id]).unwrap();
    let result = world.update_until_settled();
    assert_eq!((result.exit_code, world.installed()), (0, Some(2)), "{}", result.report);
}
