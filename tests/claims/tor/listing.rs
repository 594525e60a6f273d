//! The onion service of a peer: only the peers that it lists find it, and always at the same
//! address.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::NodeProcess;

use super::{
    TorTestWorld, assert_incomplete_for, peer_answers, wait_for_head, wait_reachable,
    without_details,
};

/// Removes a peer from a `peers.toml`, and lowers `min_peers` to 2.
fn remove_peer_entry(peers: &Path, name: &str) {
    let text = fs::read_to_string(peers).unwrap();
    let mut tables = text.split("[[peer]]");
    let mut kept = tables.next().unwrap().replace("min_peers = 3", "min_peers = 2");
    let (gone, others): (Vec<&str>, Vec<&str>) =
        tables.partition(|table| table.contains(&format!("name = \"{name}\"")));
    assert_eq!(gone.len(), 1, "{text}");
    others.iter().for_each(|table| kept += &format!("[[peer]]{table}"));
    fs::write(peers, kept).unwrap();
}

/// Two claims share a world: a service is published at most once a minute. In the meantime, another
/// node can restart twenty times.
#[test]
fn a_peer_is_found_once_it_lists_the_client_and_keeps_its_address() {
    let mut world = TorTestWorld::prepare(3);
    remove_peer_entry(&world.onion.node_directory("alice").join("peers.toml"), "client");
    world.start_daemons();
    world.publish(&ReleaseSpec::new(1, "1.0.0", b"hello"));
    let result = world.update_until_settled();
    let failure = assert_incomplete_for(&result, "alice", 1);
    snapbox::assert_data_eq!(without_details(&failure), snapbox::file!["words/not_listed.txt"]);
    assert_eq!(world.installed(), None);
    let ours = world.client.run_json(&["peers", "invite"]).unwrap();
    let alice = world.peers[0].id();
    world.peers[0].run_json(&["peers", "add", ours["invite"].as_str().unwrap()]).unwrap();
    let listed = Instant::now();

    let bela = &mut world.peers[1];
    // The peers that alice listed from the start can find her.
    bela.wait("answer of alice", |bela| {
        Ok(peer_answers(&bela.run(&["peers", "test"])?.report)["alice"].is_ok())
    })
    .unwrap();
    let invite =
        |bela: &NodeProcess| bela.run_json(&["peers", "invite"]).unwrap()["invite"].clone();
    let first = invite(bela);
    assert!(first.as_str().unwrap().starts_with("unanimity-invite/v1,bela,"), "{first}");
    // Without a mirror, bela knows only what is in its own state.
    world.onion.fixture.set_mirror("bela", "nowhere").unwrap();
    for round in 0..20 {
        if round % 2 == 0 {
            bela.stop().unwrap();
        } else {
            bela.kill();
        }
        bela.serve().unwrap();
        // The invite has the address, all keys and the head.
        assert_eq!(invite(bela), first, "after start {round}");
    }
    world.onion.fixture.set_mirror("bela", "log").unwrap();
    wait_for_head(bela, 1);
    wait_reachable(bela);

    while peer_answers(&world.client.run(&["check"]).unwrap().report)["alice"].is_err() {
        assert!(listed.elapsed() < Duration::from_secs(150), "alice is not found");
    }
    assert_eq!(world.peers[0].id(), alice);
    let result = world.update_until_settled();
    assert_eq!((result.exit_code, world.installed()), (0, Some(1)), "{}", result.report);
}
