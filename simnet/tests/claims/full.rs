//! The full tier: the shipped client and witness, in small worlds.

use simnet::scenario::{
    Adversary, AttackScenario, Colluding, Mirrors, Scenario, Topology, TorScenario,
};
use simnet::trace::{CycleResult, Event, EventKind, digest};
use simnet::{Environment, Millis, Seed, full};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// Six nodes that are always up, and a Tor on which every try connects without hanging.
pub(crate) fn calm() -> Scenario {
    Scenario {
        name: "calm".to_owned(),
        question: "?".to_owned(),
        horizon: 8 * HOUR,
        nodes: 6,
        peers: 3,
        topology: Topology::Random,
        availability: 1.0,
        mean_outage: HOUR,
        mirrors: Mirrors::default(),
        poll: (5 * MINUTE, 15 * MINUTE),
        max_poll_age: 30 * MINUTE,
        round_interval: (20 * MINUTE, 40 * MINUTE),
        settle: HOUR,
        ask_timeout: 45_000,
        round_timeout: 2 * MINUTE,
        tor: TorScenario {
            connect: (2500, 0.5),
            stuck: 0.0,
            slow: (0.0, 0, 0),
            round_trip: (280, 0.8),
            hiccup: (0.0, 0, 0),
            ..TorScenario::calm()
        },
        release: (HOUR, 4 * HOUR),
        background: 0,
        late: 4 * HOUR,
        adversary: None,
        faults: Vec::new(),
    }
}

fn play(scenario: &Scenario, seed: u64) -> (Environment, Vec<Event>) {
    let seed = Seed(seed);
    let environment = Environment::new(scenario.clone(), seed);
    (environment.clone(), full::run(environment, seed).unwrap())
}

fn cycles(events: &[Event], node: u32) -> Vec<(Millis, CycleResult)> {
    let cycle = |event: &Event| match event.kind {
        EventKind::Cycled(_, result) if event.node == node => Some((event.at, result)),
        _ => None,
    };
    events.iter().filter_map(cycle).collect()
}

#[test]
fn every_node_installs_each_release_once_it_has_settled() {
    let (world, events) = play(&calm(), 1);
    for node in 0..6 {
        let installed: Vec<_> = cycles(&events, node)
            .into_iter()
            .filter_map(|(at, result)| match result {
                CycleResult::Installed { index, chain: 0 } => Some((at, index)),
                CycleResult::UpToDate | CycleResult::Settling | CycleResult::Incomplete => None,
                other => panic!("node {node}: {other:?}"),
            })
            .collect();
        let [(first, one), (second, two)] = installed[..] else { panic!("{installed:?}") };
        assert_eq!((one, two), (world.release_index(0), world.release_index(1)));
        for (release, at) in [first, second].into_iter().enumerate() {
            let waited = at - world.release_at(release as u64);
            assert!((HOUR..HOUR + 3 * 40 * MINUTE).contains(&waited), "{waited} ms");
        }
    }
}

#[test]
fn fork_shown_to_one_node_installs_nowhere_and_all_get_evidence() {
    let colluding = Colluding::OfPeers(2);
    let adversary = Adversary { colluding, ..Adversary::new(AttackScenario::Fork, 2 * HOUR) };
    let scenario = Scenario { adversary: Some(adversary), release: (HOUR, 90 * MINUTE), ..calm() };
    let (_, events) = play(&scenario, 2);
    let forked = |event: &&Event| event.kind == EventKind::Evidence;
    let nodes: std::collections::BTreeSet<u32> =
        events.iter().filter(forked).map(|event| event.node).collect();
    assert_eq!(nodes.len(), 6, "{nodes:?}");
    for event in &events {
        assert!(
            !matches!(event.kind, EventKind::Cycled(_, CycleResult::Installed { chain: 1, .. })),
            "{event:?}"
        );
    }
}

/// The attack that the design does not stop: all of a victim's peers collude.
#[test]
fn victim_whose_peers_all_collude_installs_the_trojan() {
    let colluding = Colluding::OfPeers(3);
    let adversary = Adversary { colluding, ..Adversary::new(AttackScenario::Fork, 2 * HOUR) };
    let (world, events) = play(&Scenario { adversary: Some(adversary), ..calm() }, 3);
    let victim = *world.victims().first().unwrap();
    let trojan = CycleResult::Installed { index: world.split_size(), chain: 1 };
    assert!(cycles(&events, victim).iter().any(|(_, result)| *result == trojan));
}

#[test]
fn frozen_mirror_is_stale_and_blocked_node_is_incomplete() {
    for (attack, expected) in [
        (AttackScenario::Freeze, CycleResult::Stale),
        (AttackScenario::Block, CycleResult::Incomplete),
    ] {
        let colluding = Colluding::OfAll(0);
        let adversary = Adversary { colluding, ..Adversary::new(attack, 3 * HOUR) };
        let scenario = Scenario { adversary: Some(adversary), ..calm() };
        let (world, events) = play(&scenario, 4);
        let victim = *world.victims().first().unwrap();
        let last = cycles(&events, victim).pop().unwrap();
        assert_eq!(last.1, expected, "{attack:?}");
    }
}

#[test]
fn one_seed_gives_one_world_and_another_seed_another() {
    let [once, again, other] = [5, 5, 6].map(|seed| digest(&play(&calm(), seed).1));
    assert_eq!(once, again);
    assert_ne!(once, other);
}
