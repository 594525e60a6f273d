//! The effect of each fault on the shipped client and witness, in one world for each fault.

use std::collections::BTreeSet;

use simnet::checkers::RuleChecker;
use simnet::scenario::fault::{Fault, FaultKind};
use simnet::scenario::{Adversary, AttackScenario, Colluding, Scenario};
use simnet::trace::{CycleResult, Event, EventKind, EventObserver as _};
use simnet::{Environment, Millis, Seed, full};

use crate::full::calm;

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// The time of a world's fault. The second release is made in it.
const WITHIN: std::ops::Range<Millis> = 3 * HOUR..6 * HOUR;

/// A calm world and a fault.
fn environment_with(kind: FaultKind, share: f64, seed: u64) -> Environment {
    let fault = Fault { kind, share, from: WITHIN.start, until: WITHIN.end };
    let scenario = Scenario { horizon: 10 * HOUR, faults: vec![fault], ..calm() };
    Environment::new(scenario, Seed(seed))
}

/// Plays a calm world with a fault. No rule breaks.
fn play_with_fault(kind: FaultKind, share: f64, seed: u64) -> (Environment, Vec<Event>) {
    play(environment_with(kind, share, seed).scenario, seed)
}

fn play(scenario: Scenario, seed: u64) -> (Environment, Vec<Event>) {
    let world = Environment::new(scenario, Seed(seed));
    let events = full::run(world.clone(), Seed(seed)).unwrap();
    let mut safety = RuleChecker::new(&world);
    events.iter().for_each(|event| safety.observe(event));
    assert_eq!(safety.finish(), []);
    (world, events)
}

/// The nodes that a fault affects in the middle of its time.
fn affected_nodes(world: &Environment, kind: FaultKind) -> BTreeSet<u32> {
    let at = (WITHIN.start + WITHIN.end) / 2;
    let is_affected = |node: &u32| world.faults_at(*node, at).any(|found| found == kind);
    (0..world.scenario.nodes).filter(is_affected).collect()
}

/// The results of a node's cycles during the fault, without those of its first hour.
fn cycles(events: &[Event], node: u32) -> Vec<CycleResult> {
    let cycle = |event: &Event| match event.kind {
        EventKind::Cycled(took, cycle) if event.node == node => (WITHIN.start + HOUR
            ..WITHIN.end - 2 * MINUTE)
            .contains(&(event.at - took))
            .then_some(cycle),
        _ => None,
    };
    let cycles: Vec<CycleResult> = events.iter().filter_map(cycle).collect();
    assert!(!cycles.is_empty(), "node {node}");
    cycles
}

fn is_undisturbed(cycle: &CycleResult) -> bool {
    matches!(cycle, CycleResult::UpToDate | CycleResult::Settling | CycleResult::Installed { .. })
}

/// Checks that only nodes that reach all their peers have undisturbed cycles, in the first world
/// where some nodes do and some do not.
fn check_reachability(kind: FaultKind, all: impl Fn(&BTreeSet<u32>, u32, &[u32]) -> bool) {
    let reaching = |world: &Environment| -> BTreeSet<u32> {
        let affected = affected_nodes(world, kind);
        let nodes = 0..world.scenario.nodes;
        nodes.filter(|node| all(&affected, *node, world.peers_of(*node))).collect()
    };
    let mixed = |seed: &u64| (1..6).contains(&reaching(&environment_with(kind, 0.3, *seed)).len());
    let seed = (0..).find(mixed).unwrap();
    let (world, events) = play_with_fault(kind, 0.3, seed);
    let reaching = reaching(&world);
    for node in 0..world.scenario.nodes {
        let cycles = cycles(&events, node);
        let right = match reaching.contains(&node) {
            true => cycles.iter().any(is_undisturbed),
            false => cycles.iter().all(|cycle| *cycle == CycleResult::Incomplete),
        };
        assert!(right, "{kind}, world {seed}: {node} of {reaching:?}: {cycles:?}");
    }
}

#[test]
fn node_that_is_cut_reaches_no_peer_and_is_reached() {
    check_reachability(FaultKind::Cut, |cut, node, _| !cut.contains(&node));
}

#[test]
fn unreachable_node_reaches_others_and_is_not_reached() {
    let all = |affected: &BTreeSet<u32>, _: u32, peers: &[u32]| {
        peers.iter().all(|peer| !affected.contains(peer))
    };
    check_reachability(FaultKind::Unreachable, all);
}

#[test]
fn nodes_on_one_side_of_a_partition_reach_only_each_other() {
    let all = |affected: &BTreeSet<u32>, node: u32, peers: &[u32]| {
        peers.iter().all(|peer| affected.contains(peer) == affected.contains(&node))
    };
    check_reachability(FaultKind::Partition, all);
}

#[test]
fn node_that_is_off_does_nothing_and_returns() {
    let (world, events) = play_with_fault(FaultKind::Off, 0.2, 4);
    let off = affected_nodes(&world, FaultKind::Off);
    assert!((1..6).contains(&off.len()), "{off:?}");
    let during = |event: &&Event| WITHIN.contains(&event.at);
    assert!(events.iter().filter(during).all(|event| !off.contains(&event.node)));
    for node in (0..world.scenario.nodes).filter(|node| !off.contains(node)) {
        let asks_it = world.peers_of(node).iter().any(|peer| off.contains(peer));
        assert_eq!(cycles(&events, node).iter().any(is_undisturbed), !asks_it, "node {node}");
    }
    // A node that returns has its state. It cosigns only what its mirror has shown since then.
    for node in off {
        let after = events.iter().filter(|event| event.node == node && event.at >= WITHIN.end);
        let polled =
            after.clone().find(|event| matches!(event.kind, EventKind::Polled(_))).unwrap();
        assert!(matches!(polled.kind, EventKind::Polled(Some(_))), "{polled:?}");
        let index = world.release_index(1);
        let installed = EventKind::Cycled(0, CycleResult::Installed { index, chain: 0 });
        let is_installation = |event: &Event| match event.kind {
            EventKind::Cycled(_, cycle) => EventKind::Cycled(0, cycle) == installed,
            _ => false,
        };
        assert_eq!(after.filter(|event| is_installation(event)).count(), 1, "node {node}");
    }
}

/// Connections to the node break at that moment as well: the module `agreement` compares that.
#[test]
fn node_that_goes_off_never_ends_its_round() {
    let scenario = calm();
    let world = Environment::new(scenario.clone(), Seed(5));
    // The fault begins a second after the third cycle of node 0.
    let began: Millis = (0..3).map(|cycle| world.round_wait(0, cycle)).sum();
    let from = began + 1000;
    let off = Fault { kind: FaultKind::Off, share: 1.0, from, until: from + 10 * MINUTE };
    let (_, events) = play(Scenario { faults: vec![off], ..scenario }, 5);
    let cycled = events.iter().filter(|event| event.node == 0);
    let began_at = |event: &Event| match event.kind {
        EventKind::Cycled(took, _) => Some(event.at - took),
        _ => None,
    };
    let cycled: Vec<Millis> = cycled.filter_map(began_at).collect();
    assert!(!cycled.contains(&began), "the cycle that the fault interrupted has ended");
    let next = (began + world.round_wait(0, 3)).max(from + 10 * MINUTE);
    assert!(cycled.iter().any(|at| *at >= next), "node 0 did not return");
}

#[test]
fn peer_killed_in_a_poll_has_no_fresh_head_and_loses_nothing() {
    let scenario = Scenario {
        background: MINUTE,
        faults: vec![Fault { kind: FaultKind::PeerCrash, share: 1.0, from: 0, until: 9 * HOUR }],
        horizon: 14 * HOUR,
        ..calm()
    };
    let (_, events) = play(scenario, 6);
    let mut largest = [0; 6];
    let (mut killed, mut survived) = (0, 0);
    for Event { node, kind, .. } in events {
        match kind {
            EventKind::Polled(None) => killed += 1,
            EventKind::Polled(Some(head)) => {
                survived += 1;
                let before = std::mem::replace(&mut largest[node as usize], head.size);
                assert!(head.size >= before, "node {node} lost its head of size {before}");
            }
            _ => {}
        }
    }
    assert!(killed > 20 && survived > 20, "{killed} polls killed, {survived} survived");
}

/// A node that is killed while it stores evidence has the evidence then, or finds it again.
#[test]
fn evidence_survives_a_kill_of_its_finder() {
    for seed in 7..12 {
        let colluding = Colluding::OfPeers(0);
        let attack = AttackScenario::Flash(50, 5 * HOUR);
        let adversary = Adversary { colluding, ..Adversary::new(attack, 2 * HOUR) };
        let crash = |kind| Fault { kind, share: 1.0, from: 0, until: 8 * HOUR };
        let scenario = Scenario {
            adversary: Some(adversary),
            release: (HOUR, 30 * MINUTE),
            faults: vec![crash(FaultKind::PeerCrash), crash(FaultKind::Crash)],
            ..calm()
        };
        let (_, events) = play(scenario, seed);
        let forked = events.iter().filter(|event| event.kind == EventKind::Evidence);
        let nodes: BTreeSet<u32> = forked.map(|event| event.node).collect();
        assert!(nodes.len() >= 5, "seed {seed}: {nodes:?}");
    }
}
