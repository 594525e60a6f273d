//! What each fault does to the real client and peers, one world for each.

use std::collections::BTreeSet;

use simnet::checkers::RuleChecker;
use simnet::scenario::fault::{Fault, FaultKind};
use simnet::scenario::{Adversary, AttackScenario, Colluding, Scenario};
use simnet::trace::{CycleResult, Event, EventKind, EventObserver as _};
use simnet::{Environment, Millis, Seed, full};

use crate::full::calm;

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// When the fault of a world lasts: the second release comes in it.
const WITHIN: std::ops::Range<Millis> = 3 * HOUR..6 * HOUR;

/// A calm world and a fault.
fn environment_with(kind: FaultKind, share: f64, seed: u64) -> Environment {
    let fault = Fault { kind, share, from: WITHIN.start, until: WITHIN.end };
    let scenario = Scenario { horizon: 10 * HOUR, faults: vec![fault], ..calm() };
    Environment::new(scenario, Seed(seed))
}

/// The same, played, with every rule kept.
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

/// Who is befallen in the middle of it.
fn affected_nodes(world: &Environment, kind: FaultKind) -> BTreeSet<u32> {
    let at = (WITHIN.start + WITHIN.end) / 2;
    let is_befallen = |node: &u32| world.faults_at(*node, at).any(|found| found == kind);
    (0..world.scenario.nodes).filter(is_befallen).collect()
}

/// What a node's cycles came to that were over before the fault was, once it had begun to show.
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

/// Holds what every cycle came to against whether a node reaches all of its circle, in the first
/// world where some do and some do not.
fn check_reachability(kind: FaultKind, all: impl Fn(&BTreeSet<u32>, u32, &[u32]) -> bool) {
    let reaching = |world: &Environment| -> BTreeSet<u32> {
        let befallen = affected_nodes(world, kind);
        let nodes = 0..world.scenario.nodes;
        nodes.filter(|node| all(&befallen, *node, world.peers_of(*node))).collect()
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
fn a_node_that_is_cut_reaches_nobody_and_is_reached() {
    check_reachability(FaultKind::Cut, |cut, node, _| !cut.contains(&node));
}

#[test]
fn a_node_that_is_unreachable_reaches_others_and_is_not_reached() {
    let all = |befallen: &BTreeSet<u32>, _: u32, circle: &[u32]| {
        circle.iter().all(|peer| !befallen.contains(peer))
    };
    check_reachability(FaultKind::Unreachable, all);
}

#[test]
fn those_on_one_side_of_a_partition_reach_one_another_and_nobody_else() {
    let all = |befallen: &BTreeSet<u32>, node: u32, circle: &[u32]| {
        circle.iter().all(|peer| befallen.contains(peer) == befallen.contains(&node))
    };
    check_reachability(FaultKind::Partition, all);
}

#[test]
fn a_node_that_is_off_does_nothing_and_answers_nobody_and_comes_back() {
    let (world, events) = play_with_fault(FaultKind::Off, 0.2, 4);
    let off = affected_nodes(&world, FaultKind::Off);
    assert!((1..6).contains(&off.len()), "{off:?}");
    let during = |event: &&Event| WITHIN.contains(&event.at);
    assert!(events.iter().filter(during).all(|event| !off.contains(&event.node)));
    for node in (0..world.scenario.nodes).filter(|node| !off.contains(node)) {
        let asks_it = world.peers_of(node).iter().any(|peer| off.contains(peer));
        assert_eq!(cycles(&events, node).iter().any(is_undisturbed), !asks_it, "node {node}");
    }
    // It has what it had, and vouches for nothing before its own mirror has shown it something.
    for node in off {
        let after = events.iter().filter(|event| event.node == node && event.at >= WITHIN.end);
        let polled =
            after.clone().find(|event| matches!(event.kind, EventKind::Polled(_))).unwrap();
        assert!(matches!(polled.kind, EventKind::Polled(Some(_))), "{polled:?}");
        let index = world.release_index(1);
        let installed = EventKind::Cycled(0, CycleResult::Installed { index, chain: 0 });
        let is_it = |event: &Event| match event.kind {
            EventKind::Cycled(_, cycle) => EventKind::Cycled(0, cycle) == installed,
            _ => false,
        };
        assert_eq!(after.filter(|event| is_it(event)).count(), 1, "node {node}");
    }
}

/// That connections to it break at that moment too is held by both tiers' agreement.
#[test]
fn a_node_that_goes_off_never_ends_the_roll_that_it_was_calling() {
    let scenario = calm();
    let world = Environment::new(scenario.clone(), Seed(5));
    // The third cycle of node 0, a second after it has begun.
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
    assert!(!cycled.contains(&began), "it ended a roll that it did not live to end");
    let next = (began + world.round_wait(0, 3)).max(from + 10 * MINUTE);
    assert!(cycled.iter().any(|at| *at >= next), "it never came back");
}

#[test]
fn a_peer_killed_in_a_poll_is_blind_until_the_next_and_loses_nothing() {
    let scenario = Scenario {
        background: MINUTE,
        faults: vec![Fault { kind: FaultKind::PeerCrash, share: 1.0, from: 0, until: 9 * HOUR }],
        horizon: 14 * HOUR,
        ..calm()
    };
    let (_, events) = play(scenario, 6);
    let mut largest = [0; 6];
    let (mut killed, mut survived) = (0, 0);
    for Event { node, kind: what, .. } in events {
        match what {
            EventKind::Polled(None) => killed += 1,
            EventKind::Polled(Some(view)) => {
                survived += 1;
                let before = std::mem::replace(&mut largest[node as usize], view.size);
                assert!(view.size >= before, "node {node} forgot that it held {before}");
            }
            _ => {}
        }
    }
    assert!(killed > 20 && survived > 20, "{killed} polls killed, {survived} survived");
}

/// Killed while it wrote the evidence down, or after: either it has it, or it finds it again.
#[test]
fn evidence_survives_that_its_finder_is_killed() {
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
