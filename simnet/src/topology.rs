//! The peer lists of all nodes, drawn by the scenario's topology.

use std::collections::BTreeSet;

use crate::scenario::{Scenario, Topology};
use crate::seed::Draws;

/// The peer lists of all nodes, one after another, each in order of the peers' numbers. No list
/// contains its own node, or a peer twice.
pub fn peer_lists(scenario: &Scenario, draws: Draws) -> Vec<u32> {
    let (nodes, size) = (scenario.nodes, scenario.peers);
    let mut peer_lists = Vec::with_capacity(nodes as usize * size as usize);
    for node in 0..nodes {
        let next = |i: u32| (node + 1 + i) % nodes;
        let mut peers = BTreeSet::new();
        let mut counter = 0;
        let mut draw = |below: u32| {
            counter += 1;
            (draws.bits(node.into(), counter) % u64::from(below)) as u32
        };
        match scenario.topology {
            Topology::Ring => peers.extend((0..size).map(next)),
            Topology::Random => {}
            Topology::SmallWorld(rewired) => {
                for i in 0..size {
                    if f64::from(draw(1 << 20)) >= rewired * f64::from(1 << 20) {
                        peers.insert(next(i));
                    }
                }
            }
            Topology::Communities(count, inside) => {
                // Communities are stretches of neighbouring numbers.
                let each = nodes.div_ceil(count);
                let first = node / each * each;
                let members = each.min(nodes - first);
                let own = ((f64::from(size) * inside).round() as u32).min(members - 1);
                while (peers.len() as u32) < own {
                    let peer = first + draw(members);
                    if peer != node {
                        peers.insert(peer);
                    }
                }
            }
        }
        while (peers.len() as u32) < size {
            let peer = draw(nodes);
            if peer != node {
                peers.insert(peer);
            }
        }
        peer_lists.extend(peers);
    }
    peer_lists
}

/// Draws `count` different numbers below `of` that are not `taken`; fewer if there are no more.
pub fn sample(
    draws: Draws,
    node: u64,
    count: u32,
    of: u32,
    taken: impl Fn(u32) -> bool,
) -> BTreeSet<u32> {
    let free = (0..of).filter(|&number| !taken(number));
    // Each candidate gets a random key, and the smallest keys are chosen: no draw is repeated.
    let mut drawn: Vec<(u64, u32)> =
        free.map(|number| (draws.bits(node, number.into()), number)).collect();
    let count = (count as usize).min(drawn.len());
    if count < drawn.len() {
        drawn.select_nth_unstable(count);
    }
    drawn[..count].iter().map(|(_, number)| *number).collect()
}
