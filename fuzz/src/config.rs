//! The configuration of a node, beside a peers file that is good.
//!
//! What loads keeps the bounds that the reference names, so that no check of the program is empty; what
//! does not says in which file and why.

use std::fs;
use std::path::Path;
use std::time::Duration;

use unanimity_config::{Node, load_node};
use unanimity_protocol::NoteVerifyingKey;

use crate::keys::NOW;
use crate::{scratch, seeds};

/// Checks one configuration.
pub fn check(data: &[u8]) {
    let place = scratch::place();
    let path = place.join("node.toml");
    if !place.join("peers.toml").exists() {
        fs::write(place.join("peers.toml"), seeds::peers_file()).expect("a file");
        fs::write(place.join("pinned"), seeds::head(1).note()).expect("a file");
    }
    fs::write(&path, data).expect("a file");
    match load_node(&path) {
        Ok(node) => holds(&node),
        Err(error) => assert!(error.path.starts_with(&place) || error.path.is_absolute()),
    }
}

fn holds(node: &Node) {
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
    assert!((second..=day).contains(&limits.roll_ttl) && (second..=day).contains(&limits.view_ttl));
    assert!(node.cycle.ask_timeout <= node.cycle.roll_timeout);
    assert!(node.cycle.roll_timeout + 60 * second <= limits.view_ttl.min(limits.roll_ttl));
    assert!(
        node.cycle.polling.min <= node.cycle.polling.max
            && node.cycle.polling.max < node.cycle.polling.max_age
    );
    assert!(second <= node.cycle.polling.min && node.cycle.polling.max_age <= day);
    assert!((3600 * second..=366 * day).contains(&node.removal_delay));
    assert!((second..=900 * second).contains(&node.bootstrap_timeout));
    assert!((2..=1000).contains(&node.cycle.procedure.keep));
    assert!(node.cycle.procedure.programs().all(|program| Path::new(program).is_absolute()));
    assert!(node.alarm.command.iter().take(1).all(|program| Path::new(program).is_absolute()));
    let minute_to_month = 60 * second..=30 * day;
    assert!(node.cycle.freshness.is_none_or(|freshness| minute_to_month.contains(&freshness)));
    let inside = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    let spool = node.cycle.spool.as_ref().map(|spool| &spool.directory);
    assert!(!inside(&node.cycle.install_root, &node.cycle.state));
    assert!(spool.is_none_or(|spool| !inside(spool, &node.cycle.state)));
    if let Some(serve) = &node.serve {
        assert!(serve.port != 0 && serve.port != 80);
        assert!(second <= serve.roll_min && serve.roll_min <= serve.roll_max);
        assert!(serve.roll_max <= day);
    }
    if let Some(pinned) = &node.cycle.pinned {
        assert_eq!(pinned.log(), policy.log.id());
    }
    for member in node.circle.members() {
        assert!(node.check_role(member).is_ok());
    }
    if let Ok(client) = node.client(NOW) {
        assert!(client.peers.iter().count() >= node.circle.min_peers());
        assert!(client.peers.iter().all(|peer| client.addresses.contains_key(&peer.key.raw())));
    }
}
