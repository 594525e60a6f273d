//! What a daemon does by itself, without being asked.

use std::fs;

use unanimity_testkit::ReleaseSpec;

use super::{TorTestWorld, wait_reachable};

/// Two claims share a circle, which takes a while to get ready.
#[test]
fn a_service_runs_while_somebody_is_listed_and_a_fork_is_announced_long_before_the_next_roll() {
    let mut circles = TorTestWorld::start(3);
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));

    let path = circles.world.node_directory("bela").join("peers.toml");
    let everybody = fs::read_to_string(&path).unwrap();
    let bela = &mut circles.peers[1];
    fs::write(&path, "min_peers = 1\n").unwrap();
    // Each look at the list is one that the daemon takes as well.
    bela.run_json(&["peers", "list"]).unwrap();
    bela.wait_status("end of its service", |status| status["serving"]["reachable"] == false)
        .unwrap();
    fs::write(&path, everybody).unwrap();
    bela.run_json(&["peers", "list"]).unwrap();
    wait_reachable(bela);

    let stage = &circles.world.fixture;
    stage.copy_log("fork").unwrap();
    stage.append_unchecked("fork", &[b"one".to_vec()]).unwrap();
    stage
        .publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"hello again"), super::now())
        .unwrap();
    circles.wait_for_peers_to_see("log");
    circles.world.fixture.set_mirror("alice", "fork").unwrap();
    let told = circles.world.node_directory("alice").join("state/alarm.json");
    let is_told = || fs::read_to_string(&told).is_ok_and(|text| text.contains("\"fork\""));
    circles.peers[0].wait("alarm", |_| Ok(is_told())).unwrap();
}
