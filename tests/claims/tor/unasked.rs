//! The actions that a daemon takes by itself.

use std::fs;

use unanimity_testkit::ReleaseSpec;

use super::{TorTestWorld, wait_reachable};

/// Two claims share a world, which takes a while to start.
#[test]
fn a_service_runs_while_peers_are_listed_and_a_fork_alerts_before_a_round() {
    let mut world = TorTestWorld::start(3);
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));

    let path = world.onion.node_directory("bela").join("peers.toml");
    let peers = fs::read_to_string(&path).unwrap();
    let bela = &mut world.peers[1];
    fs::write(&path, "min_peers = 1\n").unwrap();
    // The daemon reads the list again whenever a command reads it.
    bela.run_json(&["peers", "list"]).unwrap();
    bela.wait_status("end of its service", |status| status["serving"]["reachable"] == false)
        .unwrap();
    fs::write(&path, peers).unwrap();
    bela.run_json(&["peers", "list"]).unwrap();
    wait_reachable(bela);

    let fixture = &world.onion.fixture;
    fixture.copy_log("fork").unwrap();
    fixture.append_unchecked("fork", &[b"one".to_vec()]).unwrap();
    fixture
        .publish_release("log", &ReleaseSpec::new(2, "1.1.0", b"hello again"), super::now())
        .unwrap();
    world.wait_for_peers_to_see("log");
    world.onion.fixture.set_mirror("alice", "fork").unwrap();
    let alerts = world.onion.node_directory("alice").join("state/alerts.json");
    let is_announced = || fs::read_to_string(&alerts).is_ok_and(|text| text.contains("\"fork\""));
    world.peers[0].wait("alert", |_| Ok(is_announced())).unwrap();
}
