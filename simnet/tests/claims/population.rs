//! The population tier: it keeps the rules of the client and of the witness.

use std::collections::{BTreeMap, BTreeSet};

use simnet::population::{bytes_needed, check_playable, run};
use simnet::scenario::fault::{Fault, FaultKind};
use simnet::scenario::{Adversary, AttackScenario, Colluding, Scenario, TorScenario};
use simnet::trace::{CycleResult, Event, EventKind, TraceHead};
use simnet::validate::quiet_scenario;
use simnet::{Environment, Seed};
use unanimity_client::draw_retry_delays;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn play(scenario: &Scenario, seed: u64) -> (Environment, Vec<Event>) {
    let environment = Environment::new(scenario.clone(), Seed(seed));
    let mut events = Vec::new();
    run(&environment, &mut events);
    (environment, events)
}

fn cycles(events: &[Event]) -> impl Iterator<Item = (u64, u32, u64, CycleResult)> {
    events.iter().filter_map(|event| match event.kind {
        EventKind::Cycled(took, cycle) => Some((event.at, event.node, took, cycle)),
        _ => None,
    })
}

/// A day of 40 nodes without attack: Tor as it is, outages, and three releases.
fn ordinary() -> Scenario {
    Scenario {
        horizon: 24 * HOUR,
        availability: 0.95,
        round_interval: (15 * MINUTE, 25 * MINUTE),
        release: (2 * HOUR, 8 * HOUR),
        background: 20 * MINUTE,
        tor: TorScenario::calm(),
        ..quiet_scenario(40, 5)
    }
}

fn attacked(attack: AttackScenario, colluding: Colluding) -> Scenario {
    let adversary = Adversary { victims: 2, colluding, ..Adversary::new(attack, 3 * HOUR) };
    Scenario {
        horizon: 9 * HOUR,
        round_interval: (15 * MINUTE, 25 * MINUTE),
        background: 5 * MINUTE,
        adversary: Some(adversary),
        ..quiet_scenario(16, 3)
    }
}

#[test]
fn scenario_and_seed_determine_a_world() {
    let (_, first) = play(&ordinary(), 1);
    let (_, again) = play(&ordinary(), 1);
    let (_, other) = play(&ordinary(), 2);
    assert!(first == again);
    assert!(first != other);
    assert!(first.is_sorted_by_key(|event| event.at));
    assert!(first.iter().all(|event| event.at < ordinary().horizon));
}

#[test]
fn no_node_installs_before_every_peer_has_seen_a_release_for_settle() {
    let (environment, events) = play(&ordinary(), 3);
    let mut installs = 0;
    for (at, node, _, cycle) in cycles(&events) {
        let CycleResult::Installed { index, chain } = cycle else { continue };
        assert_eq!(chain, 0);
        let release = (0..).find(|n| environment.release_index(*n) == index).expect("a release");
        // The time at which the last peer has polled the release.
        let seen = environment.peers_of(node).iter().map(|peer| {
            let covers = |event: &&Event| {
                let EventKind::Polled(Some(head)) = event.kind else { return false };
                event.node == *peer && head.size > index
            };
            events.iter().find(covers).expect("a poll").at
        });
        let seen = seen.max().expect("peers");
        assert!(seen >= environment.release_at(release));
        assert!(at >= seen + HOUR - 1000, "node {node} at {at}");
        installs += 1;
    }
    assert!(installs > 60, "{installs}");
}

#[test]
fn every_node_installs_each_release_if_nothing_fails() {
    let scenario = Scenario { availability: 1.0, ..ordinary() };
    let scenario = Scenario { tor: quiet_scenario(1, 1).tor, ..scenario };
    let (environment, events) = play(&scenario, 4);
    let mut installed: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (at, node, took, cycle) in cycles(&events) {
        assert_eq!(took, 0);
        match cycle {
            CycleResult::Installed { index, .. } => installed.entry(node).or_default().push(index),
            CycleResult::UpToDate | CycleResult::Settling => {}
            // A peer has not polled since the release.
            CycleResult::Incomplete => {
                let last = environment.releases_until(at) - 1;
                assert!(at <= environment.release_at(last) + 15 * MINUTE);
            }
            other => panic!("{other:?}"),
        }
    }
    let all: Vec<u32> = (0..3).map(|n| environment.release_index(n)).collect();
    assert_eq!(installed.len(), 40);
    assert!(installed.values().all(|indices| *indices == all));
}

#[test]
fn silent_peer_is_asked_four_times_with_the_shipped_waits() {
    let colluding = Colluding::OfAll(0);
    let scenario = Scenario { ask_timeout: 10_000, ..attacked(AttackScenario::Block, colluding) };
    let (environment, events) = play(&scenario, 5);
    let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
    let mut blocked = 0;
    for (at, node, took, cycle) in cycles(&events) {
        let number = counted.entry(node).or_default();
        let mut rng = environment.cycle_rng(node, *number);
        *number += 1;
        if at - took < 3 * HOUR || !environment.is_victim(node) {
            assert_eq!(took, 0);
            continue;
        }
        let longest = (0..3)
            .map(|_| {
                draw_retry_delays(&mut rng).iter().map(|wait| wait.as_millis() as u64).sum::<u64>()
            })
            .max();
        assert_eq!((Some(took - 40_000), cycle), (longest, CycleResult::Incomplete));
        blocked += 1;
    }
    assert!(blocked > 20, "{blocked}");
}

#[test]
fn round_closes_at_its_deadline_and_no_try_begins_after_it() {
    // Three tries of 40 s with their waits exceed 2 min. Two tries of 59 s take less, and the
    // third would begin after the deadline.
    for (ask_timeout, took_at_least, took_at_most) in
        [(40_000, 120_000, 120_000), (59_000, 119_000, 119_500)]
    {
        let colluding = Colluding::OfAll(0);
        let scenario = Scenario { ask_timeout, ..attacked(AttackScenario::Block, colluding) };
        let (environment, events) = play(&scenario, 6);
        let blocked = cycles(&events)
            .filter(|(at, node, took, _)| environment.is_victim(*node) && at - took >= 3 * HOUR);
        for (.., took, cycle) in blocked {
            assert_eq!(cycle, CycleResult::Incomplete);
            assert!((took_at_least..=took_at_most).contains(&took), "{took}");
        }
    }
}

#[test]
fn fork_latches_nodes_that_compare_heads_or_receive_evidence() {
    let (environment, events) = play(&attacked(AttackScenario::Fork, Colluding::OfPeers(1)), 7);
    let mut latched = BTreeSet::new();
    for Event { node, kind, at } in &events {
        match kind {
            EventKind::Evidence => assert!(latched.insert(*node), "two events of node {node}"),
            EventKind::Cycled(took, CycleResult::Latched) => {
                assert!(latched.contains(node));
                assert_eq!(*took, 0);
            }
            EventKind::Cycled(_, CycleResult::Fork) => {
                assert!(latched.contains(node) && *at > 3 * HOUR)
            }
            EventKind::Cycled(..) => {
                assert!(!latched.contains(node), "node {node} is not latched at {at}")
            }
            EventKind::Polled(_) => {}
        }
    }
    assert!(environment.victims().iter().all(|victim| latched.contains(victim)));
    // Evidence spreads from peer to peer.
    assert!(latched.len() > 8, "{latched:?}");
    assert!(
        cycles(&events)
            .all(|(.., cycle)| !matches!(cycle, CycleResult::Installed { chain: 1, .. }))
    );
}

#[test]
fn trojan_of_unanimous_liars_installs_once_it_has_settled() {
    let scenario = attacked(AttackScenario::Fork, Colluding::OfPeers(3));
    let (environment, events) = play(&scenario, 8);
    let installed: Vec<_> = cycles(&events)
        .filter(|(.., cycle)| matches!(cycle, CycleResult::Installed { chain: 1, .. }))
        .collect();
    let all_lie =
        |victim: &&u32| environment.peers_of(**victim).iter().all(|p| environment.colludes(*p));
    let deceived: Vec<u32> = environment.victims().iter().filter(all_lie).copied().collect();
    assert!(!deceived.is_empty());
    assert_eq!(
        installed.iter().map(|(_, node, ..)| *node).collect::<Vec<_>>().len(),
        deceived.len()
    );
    for (at, node, _, cycle) in installed {
        assert!(deceived.contains(&node));
        assert_eq!(cycle, CycleResult::Installed { index: environment.split_size(), chain: 1 });
        assert!((4 * HOUR..5 * HOUR).contains(&at), "{at}");
    }
}

#[test]
fn fork_above_all_honest_heads_is_incomplete_for_its_victims() {
    let scenario =
        Scenario { background: 0, ..attacked(AttackScenario::Fork, Colluding::OfAll(0)) };
    let (environment, events) = play(&scenario, 9);
    for (at, node, _, cycle) in cycles(&events) {
        let sees_it = |node: &u32| environment.is_victim(*node) && at > 3 * HOUR + 15 * MINUTE;
        if sees_it(&node) {
            assert_eq!(cycle, CycleResult::Incomplete);
        } else if environment.peers_of(node).iter().any(sees_it) {
            // A victim among its peers shows a larger head than its own mirror.
            assert_eq!(cycle, CycleResult::Stale);
        } else if at < 3 * HOUR {
            assert_eq!(cycle, CycleResult::UpToDate);
        }
    }
}

#[test]
fn frozen_mirrors_are_stale_compared_with_the_peers() {
    let (environment, events) = play(&attacked(AttackScenario::Freeze, Colluding::OfAll(0)), 10);
    let victim = *environment.victims().iter().next().expect("two");
    let late = cycles(&events).filter(|(at, node, ..)| *node == victim && *at > 4 * HOUR);
    let late: Vec<CycleResult> = late.map(|(.., cycle)| cycle).collect();
    assert!(late.len() > 10 && late.iter().all(|cycle| *cycle == CycleResult::Stale), "{late:?}");
    // A frozen mirror answers every poll, so the victim always has a fresh head.
    let is_blind = |event: &&Event| event.node == victim && event.kind == EventKind::Polled(None);
    assert_eq!(events.iter().filter(is_blind).count(), 0);
}

#[test]
fn peer_with_a_rolled_back_mirror_loses_its_fresh_head() {
    // Mirrors show every node the fork for 20 min, and afterwards a log that is smaller.
    let attack = AttackScenario::Flash(100, 20 * MINUTE);
    let scenario = Scenario { background: 0, ..attacked(attack, Colluding::OfAll(0)) };
    let (environment, events) = play(&scenario, 11);
    let node = (0..16).find(|node| !environment.is_victim(*node)).expect("one");
    let polls = events.iter().filter(|event| event.node == node);
    let polls = polls.filter_map(|event| match event.kind {
        EventKind::Polled(head) => Some((event.at, head)),
        _ => None,
    });
    let (split, flash) = (environment.split_size(), 3 * HOUR..3 * HOUR + 20 * MINUTE);
    let fork = TraceHead { chain: 1, size: split + 1 };
    let mut last = 0;
    for (at, head) in polls {
        if flash.contains(&at) {
            last = at;
        }
        let age = (at / 1000).saturating_sub(last / 1000);
        let expected = match () {
            () if at < flash.start => Some(TraceHead { chain: 0, size: split }),
            () if age <= 30 * 60 => Some(fork),
            () => None,
        };
        assert_eq!(head, expected, "at {at}");
    }
    assert!(last > 0);
}

#[test]
fn population_refuses_each_fault_that_it_cannot_play() {
    for kind in FaultKind::ALL {
        let fault = Fault { kind, share: 0.0, from: 0, until: 1 };
        let scenario = Scenario { faults: vec![fault], horizon: HOUR, ..quiet_scenario(4, 2) };
        let refused = check_playable(&scenario).is_err();
        assert_eq!(refused, !kind.is_played_by_population());
        let played = std::panic::catch_unwind(|| play(&scenario, 1));
        assert_eq!(played.is_err(), refused, "{kind}");
    }
}

/// Two tiers that both ignore a fault agree as well. So each kind must change the events.
#[test]
fn each_fault_that_a_population_plays_changes_the_events() {
    let scenario = Scenario { availability: 1.0, ..ordinary() };
    let (_, without) = play(&scenario, 13);
    for kind in FaultKind::ALL.into_iter().filter(|kind| kind.is_played_by_population()) {
        let fault = Fault { kind, share: 0.3, from: HOUR, until: 20 * HOUR };
        let (_, with) = play(&Scenario { faults: vec![fault], ..scenario.clone() }, 13);
        let until = |events: &[Event]| events.iter().take_while(|event| event.at < HOUR).count();
        assert_eq!(with[..until(&with)], without[..until(&without)], "{kind} before it begins");
        assert!(with != without, "{kind}");
    }
}

#[test]
fn memory_is_small_and_as_predicted() {
    let scenario = Scenario { horizon: 6 * HOUR, ..ordinary() };
    let scenario = Scenario { nodes: 4_000, ..scenario };
    let environment = Environment::new(scenario.clone(), Seed(12));
    let mut nothing = NullObserver;
    let ran = run(&environment, &mut nothing);
    let predicted = bytes_needed(&scenario) as f64 / 4_000.0;
    assert!(ran.bytes <= 300.0, "{ran:?}");
    assert!((ran.bytes..2.0 * ran.bytes).contains(&predicted), "{ran:?}, {predicted} predicted");
    assert!(ran.events > 4_000 * 6 * 20, "{ran:?}");
}

struct NullObserver;

impl simnet::trace::EventObserver for NullObserver {
    fn observe(&mut self, _: &Event) {}
}
