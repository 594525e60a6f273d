//! The configuration of a node, beside a valid `peers.toml`.
//!
//! A loaded configuration keeps the bounds of the reference manual. The error of a refused
//! configuration names a file.

use std::fs;
use std::path::Path;
use std::time::Duration;

use unanimity_config::{NodeConfig, load_node_config};
use unanimity_protocol::NoteVerifyingKey;

use crate::keys::NOW;
use crate::{scratch, seeds};

/// Checks one `node.toml`.
pub fn check(data: &[u8]) {
    let directory = scratch::directory();
    let path = directory.join("node.toml");
    if !directory.join("peers.toml").exists() {
        fs::write(directory.join("peers.toml"), seeds::peers_file()).expect("a file");
        fs::write(directory.join("pinned"), seeds::head(1).note()).expect("a file");
    }
    fs::write(&path, data).expect("a file");
    match load_node_config(&path) {
        Ok(node) => check_bounds(&node),
        Err(error) => assert!(error.path.starts_with(&directory) || error.path.is_absolute()),
    }
}

fn check_bounds(node: &NodeConfig) {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
    let policy = &node.cycle.policy;
    assert!((1..=policy.publishers().len()).contains(&policy.threshold()));
    assert!(
        policy
            .publishers()
            .iter()
            .map(NoteVerifyingKey::raw)
            .all(|key| key != policy.log.key.raw())
    );
    assert!(!node.mirrors.is_empty());
    let limits = node.cycle.limits;
    assert!(limits.settle.is_zero() || limits.settle >= second);
    assert!(
        (second..=day).contains(&limits.round_ttl)
            && (second..=day).contains(&limits.max_cosignature_age)
    );
    assert!(node.cycle.ask_timeout <= node.cycle.round_timeout);
    assert!(
        node.cycle.round_timeout + 60 * second <= limits.max_cosignature_age.min(limits.round_ttl)
    );
    assert!(
        node.cycle.polling.min <= node.cycle.polling.max
            && node.cycle.polling.max < node.cycle.polling.max_age
    );
    assert!(second <= node.cycle.polling.min && node.cycle.polling.max_age <= day);
    assert!((3600 * second..=366 * day).contains(&node.removal_delay));
    assert!((second..=900 * second).contains(&node.bootstrap_timeout));
    assert!((2..=1000).contains(&node.cycle.hooks.keep));
    assert!(node.cycle.hooks.programs().all(|program| Path::new(program).is_absolute()));
    assert!(node.alert.command.iter().take(1).all(|program| Path::new(program).is_absolute()));
    let minute_to_month = 60 * second..=30 * day;
    assert!(node.cycle.freshness.is_none_or(|freshness| minute_to_month.contains(&freshness)));
    let inside = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let spool = node.cycle.spool.as_ref().map(|spool| &spool.directory);
    assert!(!inside(&node.cycle.install_root, &node.cycle.state));
    assert!(spool.is_none_or(|spool| !inside(spool, &node.cycle.state)));
    if let Some(serve) = &node.serve {
        assert!(serve.port != 0 && serve.port != 80);
        assert!(
            second <= serve.round_interval_min
                && serve.round_interval_min <= serve.round_interval_max
        );
        assert!(serve.round_interval_max <= day);
    }
    if let Some(pinned) = &node.cycle.pinned {
        assert_eq!(pinned.log(), policy.log.id());
    }
    for entry in node.peers.entries() {
        assert!(node.check_peer_role(entry).is_ok());
    }
    if let Ok(client) = node.client_config(NOW) {
        assert!(client.peers.iter().count() >= node.peers.min_peers());
        assert!(client.peers.iter().all(|peer| client.addresses.contains_key(&peer.key.raw())));
    }
}
