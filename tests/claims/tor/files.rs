//! Peers as mirrors over onion services: they replace mirrors that are all dead.

use std::fs;

use unanimity_config::Invite;
use unanimity_testkit::ReleaseSpec;
use unanimity_testkit_tor::NodeProcess;

use super::TorTestWorld;

/// Updates a node until the outcome is no longer `settling`.
fn update_until_settled(node: &mut NodeProcess) {
    let update = |node: &NodeProcess| {
        let result = node.run(&["update"])?;
        assert!(matches!(result.exit_code, 0 | 11), "{}", result.report);
        Ok(result.exit_code == 0)
    };
    node.wait("an update", update).unwrap();
}

#[test]
fn a_node_updates_from_its_peers_when_every_mirror_is_dead() {
    let mut world = TorTestWorld::prepare(3);
    // Alice serves the artifacts that she downloaded. From then on, her invite has their address.
    let path = world.onion.node_directory("alice").join("unanimity.toml");
    let config = fs::read_to_string(&path).unwrap() + "[serve.artifacts]\nkeep = \"4MiB\"\n";
    fs::write(&path, config).unwrap();
    let report = world.peers[0].run_json(&["peers", "invite"]).unwrap();
    let invite: Invite = report["invite"].as_str().unwrap().parse().unwrap();
    let site = invite.artifacts.unwrap();
    assert_ne!(site.to_string(), format!("http://{}", invite.address.host()));
    let path = world.onion.node_directory("client").join("peers.toml");
    let listed = fs::read_to_string(&path).unwrap();
    let alice = "name = \"alice\"\n";
    assert_eq!(listed.matches(alice).count(), 1, "{listed}");
    let more = format!("{alice}artifacts = \"{site}\"\n");
    fs::write(&path, listed.replace(alice, &more)).unwrap();

    world.start_daemons();
    let artifact: Vec<u8> = (0..1_000_000_u32).map(|n| (n ^ (n >> 9)) as u8).collect();
    world.publish(&ReleaseSpec::new(1, "1.0.0", &artifact));
    update_until_settled(&mut world.peers[0]);

    world.client.stop().unwrap();
    world.replace_config_line("client", "mirrors = ", "mirrors = [\"file:/nonexistent\"]");
    world.client.serve().unwrap();
    let result = world.update_until_settled();
    assert_eq!((result.exit_code, world.installed()), (0, Some(1)), "{}", result.report);
    let current = world.onion.fixture.install_root().join("current/hello");
    assert_eq!(fs::read(current).unwrap(), artifact);
    assert!(result.report.to_string().contains("file:/nonexistent"), "{}", result.report);
}
