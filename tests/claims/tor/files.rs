//! Peers as mirrors, over onion services: with every mirror dead, what they keep is enough.

use std::fs;

use unanimity_config::Invite;
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::NodeProcess;

use super::TorTestWorld;

/// Has a node update until it no longer waits for `settle`.
fn update_until_settled(node: &mut NodeProcess) {
    let update = |node: &NodeProcess| {
        let ended = node.run(&["update"])?;
        assert!(matches!(ended.exit_code, 0 | 11), "{}", ended.report);
        Ok(ended.exit_code == 0)
    };
    node.wait("an update", update).unwrap();
}

#[test]
fn with_every_mirror_dead_a_node_updates_from_its_peers_alone() {
    let mut circles = TorTestWorld::prepare(3);
    // Alice serves what she fetched, at an address that is in her ticket from then on.
    let path = circles.world.node_directory("alice").join("unanimity.toml");
    let told = fs::read_to_string(&path).unwrap() + "[serve.artifacts]\nkeep = \"4MiB\"\n";
    fs::write(&path, told).unwrap();
    let said = circles.peers[0].run_json(&["peers", "invite"]).unwrap();
    let ticket: Invite = said["ticket"].as_str().unwrap().parse().unwrap();
    let site = ticket.artifacts.unwrap();
    assert_ne!(site.to_string(), format!("http://{}", ticket.address.host()));
    let path = circles.world.node_directory("client").join("peers.toml");
    let listed = fs::read_to_string(&path).unwrap();
    let alice = "name = \"alice\"\n";
    assert_eq!(listed.matches(alice).count(), 1, "{listed}");
    let more = format!("{alice}artifacts = \"{site}\"\n");
    fs::write(&path, listed.replace(alice, &more)).unwrap();

    circles.start_daemons();
    let artifact: Vec<u8> = (0..1_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    circles.publish(&ReleaseSpec::new(1, "1.0.0", &artifact));
    update_until_settled(&mut circles.peers[0]);

    circles.client.stop().unwrap();
    circles.replace_config_line("client", "mirrors = ", "mirrors = [\"file:/nonexistent\"]");
    circles.client.serve().unwrap();
    let ended = circles.update_until_settled();
    assert_eq!((ended.exit_code, circles.installed()), (0, Some(1)), "{}", ended.report);
    let current = circles.world.fixture.install_root().join("current/hello");
    assert_eq!(fs::read(current).unwrap(), artifact);
    assert!(ended.report.to_string().contains("file:/nonexistent"), "{}", ended.report);
}
