//! Peers as mirrors, over onion services: with every mirror dead, what they keep is enough.

use std::fs;

use unanimity_config::Invite;
use unanimity_testkit::Draft;
use unanimity_testkit_tor::Process;

use super::Circles;

/// Has a node update until it no longer waits for `settle`.
fn update(node: &mut Process) {
    let update = |node: &Process| {
        let ended = node.run(&["update"])?;
        assert!(matches!(ended.exit, 0 | 11), "{}", ended.report);
        Ok(ended.exit == 0)
    };
    node.wait("an update", update).unwrap();
}

#[test]
fn with_every_mirror_dead_a_node_updates_from_its_peers_alone() {
    let mut circles = Circles::prepare(3);
    // Alice serves what she fetched, at an address that is in her ticket from then on.
    let path = circles.nodes.place("alice").join("unanimity.toml");
    let told = fs::read_to_string(&path).unwrap() + "[serve.artifacts]\nkeep = \"4MiB\"\n";
    fs::write(&path, told).unwrap();
    let said = circles.peers[0].done(&["peers", "invite"]).unwrap();
    let ticket: Invite = said["ticket"].as_str().unwrap().parse().unwrap();
    let site = ticket.artifacts.unwrap();
    assert_ne!(site.to_string(), format!("http://{}", ticket.address.host()));
    let path = circles.nodes.place("client").join("peers.toml");
    let listed = fs::read_to_string(&path).unwrap();
    let alice = "name = \"alice\"\n";
    assert_eq!(listed.matches(alice).count(), 1, "{listed}");
    let more = format!("{alice}artifacts = \"{site}\"\n");
    fs::write(&path, listed.replace(alice, &more)).unwrap();

    circles.serve();
    let artifact: Vec<u8> = (0..1_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    circles.publish(&Draft::new(1, "1.0.0", &artifact));
    update(&mut circles.peers[0]);

    circles.client.stop().unwrap();
    circles.retell("client", "mirrors = ", "mirrors = [\"file:/nonexistent\"]");
    circles.client.serve().unwrap();
    let ended = circles.update();
    assert_eq!((ended.exit, circles.installed()), (0, Some(1)), "{}", ended.report);
    let current = circles.nodes.stage.install_root().join("current/hello");
    assert_eq!(fs::read(current).unwrap(), artifact);
    assert!(ended.report.to_string().contains("file:/nonexistent"), "{}", ended.report);
}
