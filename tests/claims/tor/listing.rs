//! A peer is found by whom it lists, and where it has always been.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::NodeProcess;

use super::{TorTestWorld, assert_incomplete_for, peer_answers, wait_for_head, wait_reachable};

/// Takes somebody out of a circle's file, and makes do with one peer fewer.
fn remove_peer_entry(peers: &Path, who: &str) {
    let text = fs::read_to_string(peers).unwrap();
    let mut tables = text.split("[[peer]]");
    let mut kept = tables.next().unwrap().replace("min_peers = 3", "min_peers = 2");
    let (gone, others): (Vec<&str>, Vec<&str>) =
        tables.partition(|table| table.contains(&format!("name = \"{who}\"")));
    assert_eq!(gone.len(), 1, "{text}");
    others.iter().for_each(|table| kept += &format!("[[peer]]{table}"));
    fs::write(peers, kept).unwrap();
}

/// Two claims share a circle: a service announces itself at most once a minute, and in the meantime
/// another can be ended and started twenty times.
#[test]
fn a_peer_is_found_once_it_lists_us_and_is_itself_however_often_it_is_started() {
    let mut circles = TorTestWorld::prepare(3);
    remove_peer_entry(&circles.world.node_directory("alice").join("peers.toml"), "client");
    circles.start_daemons();
    circles.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    let ended = circles.update_until_settled();
    assert_incomplete_for(
        &ended,
        "alice",
        "descriptor: the service does not list our discovery key",
        1,
    );
    assert_eq!(circles.installed(), None);
    let ours = circles.client.run_json(&["peers", "invite"]).unwrap();
    let alice = circles.peers[0].id();
    circles.peers[0].run_json(&["peers", "add", ours["ticket"].as_str().unwrap()]).unwrap();
    let listed = Instant::now();

    let bela = &mut circles.peers[1];
    // To those it listed from the start alice was there all the same.
    bela.wait("answer of alice", |bela| {
        Ok(peer_answers(&bela.run(&["peers", "test"])?.report)["alice"].is_ok())
    })
    .unwrap();
    let ticket =
        |bela: &NodeProcess| bela.run_json(&["peers", "invite"]).unwrap()["ticket"].clone();
    let first = ticket(bela);
    assert!(first.as_str().unwrap().starts_with("unanimity-ticket/v1,bela,"), "{first}");
    // Whatever it knows of the log now it has kept itself.
    circles.world.fixture.set_mirror("bela", "nowhere").unwrap();
    for round in 0..20 {
        if round % 2 == 0 {
            bela.stop().unwrap();
        } else {
            bela.kill();
        }
        bela.serve().unwrap();
        // The address, all keys and the head.
        assert_eq!(ticket(bela), first, "after start {round}");
    }
    circles.world.fixture.set_mirror("bela", "log").unwrap();
    wait_for_head(bela, 1);
    wait_reachable(bela);

    while peer_answers(&circles.client.run(&["check"]).unwrap().report)["alice"].is_err() {
        assert!(listed.elapsed() < Duration::from_secs(150), "alice is not found");
    }
    assert_eq!(circles.peers[0].id(), alice);
    let ended = circles.update_until_settled();
    assert_eq!((ended.exit_code, circles.installed()), (0, Some(1)), "{}", ended.report);
}
