//! What a daemon does by itself, without being asked.

use std::fs;

use unanimity_testkit::Draft;

use super::{Circles, reachable};

/// Two claims share a circle, which takes a while to get ready.
#[test]
fn a_service_runs_while_somebody_is_listed_and_a_fork_is_announced_long_before_the_next_roll() {
    let mut circles = Circles::start(3);
    circles.publish(&Draft::new(1, "1.0.0", b"hello"));

    let path = circles.nodes.place("bela").join("peers.toml");
    let everybody = fs::read_to_string(&path).unwrap();
    let bela = &mut circles.peers[1];
    fs::write(&path, "min_peers = 1\n").unwrap();
    // Each look at the list is one that the daemon takes as well.
    bela.done(&["peers", "list"]).unwrap();
    bela.wait_status("end of its service", |status| status["serving"]["reachable"] == false)
        .unwrap();
    fs::write(&path, everybody).unwrap();
    bela.done(&["peers", "list"]).unwrap();
    reachable(bela);

    let stage = &circles.nodes.stage;
    stage.copy_log("fork").unwrap();
    stage.force("fork", &[b"one".to_vec()]).unwrap();
    stage.release("log", &Draft::new(2, "1.1.0", b"hello again"), super::now()).unwrap();
    circles.everybody_sees("log");
    circles.nodes.stage.show("alice", "fork").unwrap();
    let told = circles.nodes.place("alice").join("state/alarm.json");
    let is_told = || fs::read_to_string(&told).is_ok_and(|text| text.contains("\"fork\""));
    circles.peers[0].wait("alarm", |_| Ok(is_told())).unwrap();
}
