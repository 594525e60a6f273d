//! What everybody confirms is installed; what one holds back, or forks, is not.

use std::fs;

use serde_json::Value;
use unanimity_testkit::{ReleaseSpec, copy_tree};
use unanimity_testkit_tor::NodeProcess;

use super::{TorTestWorld, assert_incomplete_for, peer_answers, wait_for_head, wait_reachable};

#[test]
fn peers_that_are_processes_of_their_own_confirm_and_one_that_is_stopped_holds_the_update_back() {
    let mut circles = TorTestWorld::start(3);
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello over Tor"));
    let ended = circles.update_until_settled();
    assert_eq!(ended.exit_code, 0, "{}", ended.report);
    assert_eq!(circles.installed(), Some(1));

    circles.publish(&ReleaseSpec::new(2, "1.1.0", b"hello again"));
    circles.peers[1].stop().unwrap();
    let ended = circles.update_until_settled();
    assert_incomplete_for(&ended, "bela", "", 2);
    assert_eq!(circles.installed(), Some(1));

    circles.peers[1].serve().unwrap();
    wait_reachable(&mut circles.peers[1]);
    let ended = circles.update_until_settled();
    assert_eq!(ended.exit_code, 0, "{}", ended.report);
    assert_eq!(circles.installed(), Some(2));

    // One more product of the client's node, over the Tor of its daemon; it has its own `settle` to wait for.
    let client = &circles.client;
    let own = fs::read_to_string(client.directory.join("unanimity.toml")).unwrap();
    let (before, serve) = own.split_once("[serve]").unwrap();
    let after = serve.split_once("\n[").map_or(String::new(), |(_, after)| format!("[{after}"));
    let other = format!("{before}{after}");
    let place = |key: &str| other.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let other = other.replacen(&place("root = "), "root = \"other\"", 1);
    let other = other.replacen(&place("state = "), "state = \"other-state\"", 1);
    let path = client.directory.join("other.toml");
    fs::write(&path, other).unwrap();
    let also = ["update", "--also", path.to_str().unwrap()];
    let installs = |client: &NodeProcess| {
        let ended = client.run(&also)?;
        assert_eq!(ended.report["own"]["outcome"], "done", "{}", ended.report);
        let other = &ended.report["also"][0]["outcome"];
        assert!(["settling", "done"].map(Value::from).contains(other), "{}", ended.report);
        assert_eq!(ended.report["outcome"], *other);
        Ok(*other == "done")
    };
    circles.client.wait("an update of both", installs).unwrap();
    let current = fs::read(circles.client.directory.join("other/current/hello")).unwrap();
    assert_eq!(current, b"hello again");
}

#[test]
fn one_peer_on_a_fork_is_found_out_and_nothing_installs_until_the_evidence_is_acknowledged() {
    let mut circles = TorTestWorld::start(3);
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    assert_eq!(circles.update_until_settled().exit_code, 0);
    let stage = circles.world.fixture.clone();
    stage.copy_log("fork").unwrap();
    circles.peers[1].stop().unwrap();
    let bela = circles.world.node_directory("bela").join("state/peer");
    let backup = circles.directory.path().join("backup");
    copy_tree(&bela, &backup).unwrap();
    stage.set_mirror("bela", "fork").unwrap();
    stage
        .publish_release("fork", &ReleaseSpec::new(2, "1.1.0", b"hello, bela"), super::now())
        .unwrap();
    stage
        .publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"hello, everybody"), super::now())
        .unwrap();
    circles.peers[1].serve().unwrap();
    wait_reachable(&mut circles.peers[1]);
    // The heads have one size and two roots.
    circles.wait_for_peers_to_see("log");
    circles.wait_for_peers_to_see("fork");

    let forked = |circles: &TorTestWorld, verb: &str| {
        let ended = circles.client.run(&[verb]).unwrap();
        assert_eq!((ended.exit_code, ended.report["outcome"].as_str()), (20, Some("fork")));
        assert_eq!(circles.installed(), Some(1));
        ended.report
    };
    forked(&circles, "update");
    let stored = circles.client.run_json(&["evidence", "show"]).unwrap();
    let [only] = &stored["evidence"].as_array().unwrap()[..] else { panic!("{stored}") };
    let (id, acknowledged) = (only["id"].as_str().unwrap(), &only["acknowledged"]);
    assert_eq!(*acknowledged, Value::Bool(false));

    // Anybody who has the log's key and nothing else sees that it is proof.
    let shown = circles.client.run_json(&["evidence", "show", id]).unwrap();
    let file = circles.directory.path().join("evidence.txt");
    fs::write(&file, shown["evidence"].as_str().unwrap()).unwrap();
    let file = file.to_str().unwrap();
    let key = |key: String| circles.client.run(&["evidence", "verify", file, "--log-key", &key]);
    let verified = key(stage.keys.log.key.to_string()).unwrap();
    assert_eq!((verified.exit_code, verified.report["id"].as_str()), (0, Some(id)));
    for head in ["smaller", "larger"] {
        assert_eq!(verified.report[head]["size"], 2, "{}", verified.report);
    }
    let another = key(stage.keys.publisher_keys[0].public().to_string()).unwrap();
    assert_eq!(another.exit_code, 29, "{}", another.report);

    // It holds whoever asks, however often, and whatever restarts: no peer is even asked.
    let latched = |circles: &TorTestWorld, verb: &str| {
        let report = forked(circles, verb);
        assert!(report["message"].as_str().unwrap().contains(id), "{report}");
        assert!(peer_answers(&report).is_empty(), "{report}");
    };
    ["update", "check"].iter().for_each(|verb| latched(&circles, verb));
    circles.client.kill();
    latched(&circles, "check");
    circles.client.serve().unwrap();
    ["update", "check"].iter().for_each(|verb| latched(&circles, verb));

    // Bela's operator puts her node right; that alone does not lift it.
    circles.peers[1].stop().unwrap();
    fs::remove_dir_all(&bela).unwrap();
    copy_tree(&backup, &bela).unwrap();
    stage.set_mirror("bela", "log").unwrap();
    circles.peers[1].serve().unwrap();
    wait_reachable(&mut circles.peers[1]);
    wait_for_head(&mut circles.peers[1], 2);
    latched(&circles, "update");

    circles.client.run_json(&["evidence", "acknowledge", id]).unwrap();
    let ended = circles.update_until_settled();
    assert_eq!((ended.exit_code, circles.installed()), (0, Some(2)), "{}", ended.report);
}
