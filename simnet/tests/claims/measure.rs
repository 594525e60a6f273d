//! Counts and times of a world, from its events.

use simnet::measure::Measure;
use simnet::scenario::{Adversary, AttackScenario, Colluding, Scenario};
use simnet::trace::{CycleResult, Event, EventKind, EventObserver as _, TraceHead};
use simnet::validate::quiet_scenario;
use simnet::{Environment, Results, Seed};

const HOUR: u64 = 3_600_000;

fn measured(scenario: Scenario, events: &[(u64, u32, EventKind)]) -> (Environment, Results) {
    let environment = Environment::new(scenario, Seed(1));
    let mut measure = Measure::new(&environment);
    for &(at, node, kind) in events {
        measure.observe(&Event { at, node, kind });
    }
    let results = measure.into_results();
    (environment, results)
}

#[test]
fn releases_held_back_by_an_attack_are_not_late() {
    let calm =
        Scenario { release: (HOUR, HOUR), late: HOUR, horizon: 5 * HOUR, ..quiet_scenario(4, 1) };
    let colluding = Colluding::OfAll(0);
    let adversary = Adversary { colluding, ..Adversary::new(AttackScenario::Freeze, 3 * HOUR) };
    let attacked = Scenario { adversary: Some(adversary), ..calm.clone() };
    // No node ever installs. Releases are due at 2, 3, 4 and 5 h, on four nodes.
    for (scenario, due) in [(calm, 16), (attacked, 8)] {
        let (_, results) = measured(scenario, &[]);
        assert_eq!((results.counts["releases.due"], results.counts["releases.late"]), (due, due));
    }
}

#[test]
fn release_is_late_unless_it_or_a_newer_one_installs_in_time() {
    // Entries 1, 2 and 3 at 1 h, 2 h and 3 h, each to be installed within 90 minutes; the third
    // would be due only after the end.
    let scenario = Scenario {
        release: (HOUR, HOUR),
        late: HOUR * 3 / 2,
        horizon: 4 * HOUR,
        ..quiet_scenario(4, 1)
    };
    let installed = |index| EventKind::Cycled(10, CycleResult::Installed { index, chain: 0 });
    let (_, results) = measured(
        scenario,
        &[
            // Both in time.
            (2 * HOUR, 0, installed(1)),
            (3 * HOUR, 0, installed(2)),
            // The second counts for the first as well. Both are late by then.
            (4 * HOUR - 1, 1, installed(2)),
            // The node skips the first, and is in time for both.
            (HOUR * 5 / 2, 2, installed(2)),
            // Not due before the end: its time is not counted.
            (HOUR * 7 / 2, 2, installed(3)),
        ],
    );
    // Of the releases at 1, 2, 3 and 4 h, two are due before the end, on each of four nodes.
    assert_eq!(results.counts["releases.due"], 8);
    // Both releases are late on nodes 1 and 3.
    assert_eq!(results.counts["releases.late"], 4);
    assert_eq!(results.counts["installs"], 5);
    assert_eq!(results.times["patch"].count(), 4);
    let mean = (HOUR + HOUR + (2 * HOUR - 1) + HOUR / 2) as f64 / 4.0;
    assert_eq!(results.times["patch"].mean(), Some(mean));
}

#[test]
fn rounds_are_counted_by_result_and_latched_ones_take_no_time() {
    let cycles = [
        CycleResult::UpToDate,
        CycleResult::Settling,
        CycleResult::Incomplete,
        CycleResult::Incomplete,
        CycleResult::Stale,
        CycleResult::Fork,
        CycleResult::Undecided,
    ];
    let mut events: Vec<_> =
        cycles.iter().map(|cycle| (HOUR, 0, EventKind::Cycled(5000, *cycle))).collect();
    events.push((HOUR, 0, EventKind::Cycled(0, CycleResult::Latched)));
    events.push((HOUR, 1, EventKind::Polled(None)));
    let (_, results) = measured(quiet_scenario(4, 1), &events);
    let count = |name: &str| results.counts[name];
    assert_eq!((count("worlds"), count("polls"), count("rounds")), (1, 1, 8));
    assert_eq!((count("rounds.unanimous"), count("rounds.incomplete")), (2, 2));
    assert_eq!((count("rounds.stale"), count("rounds.fork"), count("rounds.latched")), (1, 1, 1));
    assert_eq!((count("rounds.undecided"), count("polls.no_fresh_head")), (1, 1));
    assert_eq!(results.times["round"].count(), 7);
    assert_eq!(results.times["round"].mean(), Some(5000.0));
    assert!(!results.counts.contains_key("attacks"));
}

fn attacked(attack: AttackScenario) -> Scenario {
    let colluding = Colluding::OfPeers(1);
    let adversary = Adversary { victims: 2, colluding, ..Adversary::new(attack, HOUR) };
    Scenario { adversary: Some(adversary), ..quiet_scenario(12, 2) }
}

#[test]
fn victim_notices_the_symptom_of_its_attack_after_the_start() {
    for (attack, notice) in [
        (AttackScenario::Fork, EventKind::Evidence),
        (AttackScenario::Fork, EventKind::Cycled(1, CycleResult::Fork)),
        (AttackScenario::Flash(10, HOUR), EventKind::Evidence),
        (AttackScenario::Freeze, EventKind::Cycled(1, CycleResult::Stale)),
        (AttackScenario::Block, EventKind::Cycled(1, CycleResult::Incomplete)),
        (AttackScenario::Equivocate, EventKind::Cycled(1, CycleResult::Incomplete)),
    ] {
        let environment = Environment::new(attacked(attack), Seed(1));
        let [first, second] = [0, 1].map(|n| *environment.victims().iter().nth(n).expect("two"));
        let bystander = (0..12).find(|node| !environment.is_victim(*node)).expect("ten");
        let others = [EventKind::Cycled(1, CycleResult::UpToDate), EventKind::Polled(None)];
        let mut events = vec![(HOUR - 1, first, notice), (HOUR, bystander, notice)];
        events.extend(others.map(|kind| (HOUR, second, kind)));
        let (_, results) = measured(attacked(attack), &events);
        assert_eq!(results.counts["victims"], 2, "{attack:?}");
        assert_eq!(results.counts["victims.noticed"], 0, "{attack:?}");
        assert_eq!(results.counts["attacks.noticed"], 0, "{attack:?}");

        events.extend([(HOUR + 7, first, notice), (HOUR + 9, first, notice)]);
        let (_, results) = measured(attacked(attack), &events);
        assert_eq!(results.counts["victims.noticed"], 1, "{attack:?}");
        assert_eq!(results.counts["attacks.noticed"], 1, "{attack:?}");
        assert_eq!(results.times["notice"].mean(), Some(7.0), "{attack:?}");
        assert_eq!(results.counts["victims.installed"], 0, "{attack:?}");
    }
}

#[test]
fn attack_is_evident_if_any_honest_node_holds_evidence() {
    let environment = Environment::new(attacked(AttackScenario::Fork), Seed(1));
    let liar = (0..12).find(|node| environment.colludes(*node)).expect("some");
    let honest = |node: &u32| !environment.colludes(*node) && !environment.is_victim(*node);
    let bystander = (0..12).find(honest).expect("most");
    let counted = |events: &[(u64, u32, EventKind)]| {
        let (_, results) = measured(attacked(AttackScenario::Fork), events);
        ["attacks.noticed", "attacks.evident"].map(|name| results.counts[name])
    };
    assert_eq!(counted(&[(HOUR + 1, liar, EventKind::Evidence)]), [0, 0]);
    assert_eq!(counted(&[(HOUR + 1, bystander, EventKind::Evidence)]), [0, 1]);
    let victim = *environment.victims().iter().next().expect("two");
    assert_eq!(counted(&[(HOUR + 1, victim, EventKind::Evidence)]), [1, 1]);
}

#[test]
fn trojan_counts_once_for_its_victim_and_never_as_a_patch() {
    let environment = Environment::new(attacked(AttackScenario::Fork), Seed(1));
    let victim = *environment.victims().iter().next().expect("two");
    let trojan = EventKind::Cycled(1, CycleResult::Installed { index: 1, chain: 1 });
    let (_, results) = measured(attacked(AttackScenario::Fork), &[(HOUR, victim, trojan)]);
    assert_eq!(results.counts["victims.installed"], 1);
    assert_eq!(results.counts["attacks.installed"], 1);
    assert_eq!(results.counts["installs"], 0);
    assert!(!results.times.contains_key("patch"));
}

#[test]
fn logged_trojan_is_public_at_the_first_honest_poll_that_covers_it() {
    let environment = Environment::new(attacked(AttackScenario::Logged), Seed(1));
    let victim = *environment.victims().iter().next().expect("two");
    let liar = (0..12).find(|node| environment.colludes(*node)).expect("some");
    let honest = (0..12).find(|node| !environment.colludes(*node)).expect("most");
    let (index, chain) = environment.trojan().expect("a trojan");
    let polled = |size| EventKind::Polled(Some(TraceHead { chain: 0, size }));
    let trojan = EventKind::Cycled(1, CycleResult::Installed { index, chain });
    let (_, results) = measured(
        attacked(AttackScenario::Logged),
        &[
            (HOUR + 1, liar, polled(index + 1)),
            (HOUR + 2, honest, polled(index)),
            (HOUR + 30, honest, polled(index + 1)),
            (HOUR + 40, honest, polled(index + 1)),
            (HOUR + 90, victim, trojan),
        ],
    );
    assert_eq!((results.times["public"].count(), results.times["public"].mean()), (1, Some(30.0)));
    assert_eq!(results.times["trojan"].mean(), Some(90.0));
    let count = |name: &str| results.counts[name];
    assert_eq!(
        (count("victims.installed"), count("attacks.noticed"), count("installs")),
        (1, 0, 0)
    );
}

#[test]
fn victim_with_a_trojan_notices_its_withdrawal() {
    let mut scenario = attacked(AttackScenario::Logged);
    scenario.adversary.as_mut().expect("one").withdrawn_after = Some(100);
    let environment = Environment::new(scenario.clone(), Seed(1));
    let victim = *environment.victims().iter().next().expect("two");
    let (index, chain) = environment.trojan().expect("a trojan");
    let trojan = EventKind::Cycled(1, CycleResult::Installed { index, chain });
    let withdrawn = EventKind::Cycled(1, CycleResult::Withdrawn);
    let events = [(HOUR + 90, victim, trojan), (HOUR + 200, victim, withdrawn)];
    let (_, results) = measured(scenario, &events);
    assert_eq!(results.times["notice"].mean(), Some(200.0));
    let count = |name: &str| results.counts[name];
    assert_eq!((count("victims.noticed"), count("rounds.unanimous")), (1, 2));
}

#[test]
fn evidence_times_count_the_nodes_that_do_not_collude() {
    let environment = Environment::new(attacked(AttackScenario::Fork), Seed(1));
    let (liars, others): (Vec<u32>, Vec<u32>) = (0..12).partition(|n| environment.colludes(*n));
    assert!(!liars.is_empty());
    let mut events = vec![(HOUR, liars[0], EventKind::Evidence)];
    for (i, node) in others.iter().enumerate() {
        // A second event of one node does not count.
        events.extend([(HOUR + 1 + i as u64, *node, EventKind::Evidence); 2]);
    }
    let (_, results) = measured(attacked(AttackScenario::Fork), &events);
    assert_eq!(results.counts["evidence.nodes"], others.len() as u64);
    let half = others.len().div_ceil(2) as f64;
    assert_eq!(results.times["evidence.half"].mean(), Some(half));
    assert_eq!(results.times["evidence.all"].mean(), Some(others.len() as f64));

    events.truncate(others.len() * 2 - 1);
    let (_, results) = measured(attacked(AttackScenario::Fork), &events);
    assert!(!results.times.contains_key("evidence.all"));
}
