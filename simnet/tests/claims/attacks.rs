//! The attacks of an adversary: what nodes notice and install, alike in both tiers.

use std::collections::BTreeSet;

use simnet::checkers::{Rule, RuleChecker};
use simnet::scenario::{Adversary, AttackScenario, Colluding, Scenario, Shape};
use simnet::trace::{CycleResult, Event, EventKind, EventObserver as _, TraceHead};
use simnet::validate::quiet_scenario;
use simnet::{Environment, Seed, full, population};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const START: u64 = 2 * HOUR;

/// Plays a world in both tiers. They agree, and no rule breaks.
fn play(scenario: Scenario, seed: u64) -> (Environment, Vec<Event>) {
    let environment = Environment::new(scenario, Seed(seed));
    let events = full::run(environment.clone(), Seed(seed)).unwrap();
    let mut numbers = Vec::new();
    population::run(&environment, &mut numbers);
    numbers.sort_by_key(|event: &Event| (event.at, event.node));
    assert!(events == numbers, "the tiers do not agree");
    let mut safety = RuleChecker::new(&environment);
    events.iter().for_each(|event| safety.observe(event));
    assert_eq!(safety.finish(), []);
    (environment, events)
}

#[test]
fn victim_without_evidence_of_the_fork_breaks_a_rule() {
    for shape in [Shape::Next, Shape::Same, Shape::Longer(5), Shape::Starved(HOUR)] {
        let (environment, events) = play(attacked(AttackScenario::Fork, shape, 10 * MINUTE), 3);
        let victim = *environment.victims().iter().next().expect("two");
        let mut safety = RuleChecker::new(&environment);
        let is_shown = |event: &&Event| event.node != victim || event.kind != EventKind::Evidence;
        events.iter().filter(is_shown).for_each(|event| safety.observe(event));
        let broken = safety.finish();
        let found = broken.iter().any(|v| (v.rule, v.event.node) == (Rule::Noticed, victim));
        assert!(found, "{shape:?}: {broken:?}");
    }
}

/// Eight nodes, two of them victims. Other entries of the log come every `background` ms.
fn attacked(attack: AttackScenario, shape: Shape, background: u64) -> Scenario {
    let adversary = Adversary { victims: 2, shape, ..Adversary::new(attack, START) };
    Scenario {
        horizon: 7 * HOUR,
        round_interval: (15 * MINUTE, 25 * MINUTE),
        release: (HOUR / 2, 90 * MINUTE),
        background,
        adversary: Some(adversary),
        ..quiet_scenario(8, 3)
    }
}

/// A fork of a log that never grows, with the nodes of [`attacked`].
fn log_without_growth(shape: Shape) -> Scenario {
    Scenario { release: (u64::MAX / 4, 0), ..attacked(AttackScenario::Fork, shape, 0) }
}

fn polled(events: &[Event]) -> impl Iterator<Item = (u64, u32, TraceHead)> {
    events.iter().filter_map(|event| match event.kind {
        EventKind::Polled(Some(head)) => Some((event.at, event.node, head)),
        _ => None,
    })
}

fn cycles(events: &[Event], node: u32) -> impl Iterator<Item = (u64, CycleResult)> {
    events.iter().filter_map(move |event| match event.kind {
        EventKind::Cycled(_, cycle) if event.node == node => Some((event.at, cycle)),
        _ => None,
    })
}

fn evidence(events: &[Event]) -> Vec<(u64, u32)> {
    let found = events.iter().filter(|event| event.kind == EventKind::Evidence);
    found.map(|event| (event.at, event.node)).collect()
}

fn installs_trojan(events: &[Event]) -> BTreeSet<u32> {
    let trojans = events.iter().filter(|event| {
        matches!(event.kind, EventKind::Cycled(_, CycleResult::Installed { chain: 1, .. }))
    });
    trojans.map(|event| event.node).collect()
}

#[test]
fn victim_finds_a_fork_of_equal_size_by_its_first_poll() {
    let (world, events) = play(log_without_growth(Shape::Same), 1);
    let found = evidence(&events);
    for victim in world.victims() {
        let mut polls = events
            .iter()
            .filter(|event| event.node == *victim && matches!(event.kind, EventKind::Polled(_)));
        let first = polls.find(|event| event.at >= START).expect("it polls").at;
        let (since, _) = *found.iter().find(|(_, node)| node == victim).expect("evidence");
        assert!((START..=first).contains(&since), "{since}, and it polled at {first}");
    }
    assert_eq!(installs_trojan(&events), BTreeSet::new());
    // A larger fork of a log that never grows leaves no evidence: every honest head is its prefix.
    let (_, events) = play(log_without_growth(Shape::Next), 1);
    assert_eq!(evidence(&events), []);
}

#[test]
fn honest_heads_below_a_longer_fork_prove_it() {
    let (world, events) = play(attacked(AttackScenario::Fork, Shape::Longer(12), 20 * MINUTE), 2);
    let sizes = |chain, from, until| {
        let seen = polled(&events).filter(move |(at, ..)| (from..until).contains(at));
        seen.filter(move |(.., head)| head.chain == chain).map(|(.., head)| head.size)
    };
    for hour in 2..7 {
        let (from, until) = (hour * HOUR, (hour + 1) * HOUR);
        let smallest = sizes(1, from + 30 * MINUTE, until).min();
        let Some(smallest) = smallest else { continue };
        assert!(sizes(0, 0, from + 30 * MINUTE).max() < Some(smallest), "in hour {hour}");
    }
    assert!(
        sizes(1, START, 7 * HOUR).max() > Some(world.split_size() + 12),
        "the fork did not grow"
    );
    let found: BTreeSet<u32> = evidence(&events).into_iter().map(|(_, node)| node).collect();
    assert!(world.victims().is_subset(&found));
    assert_eq!(installs_trojan(&events), BTreeSet::new());
}

#[test]
fn starved_fork_installs_nowhere_and_leaves_evidence_at_its_end() {
    let ends = START + 3 * HOUR;
    let (world, events) =
        play(attacked(AttackScenario::Fork, Shape::Starved(3 * HOUR), 20 * MINUTE), 3);
    // By then every node has polled.
    let since = START + 15 * MINUTE;
    let split = world.split_size();
    for (at, node, head) in polled(&events).filter(|(at, ..)| (since..ends).contains(at)) {
        let shown = TraceHead { chain: 1, size: split + 1 };
        let honest = TraceHead { chain: 0, size: split };
        assert_eq!(head, if world.is_victim(node) { shown } else { honest }, "at {at}");
    }
    // By then the earlier releases have settled.
    let settled = START + HOUR + 45 * MINUTE;
    let mut behind = 0;
    for node in 0..8 {
        for (at, cycle) in cycles(&events, node).filter(|(at, _)| *at < ends) {
            if world.is_victim(node) && at > settled {
                assert_eq!(cycle, CycleResult::Incomplete, "victim {node} at {at}");
                behind += 1;
            }
            let newer = matches!(cycle, CycleResult::Installed { index, .. } if index >= split);
            assert!(!newer, "node {node} at {at}: {cycle:?}");
        }
    }
    assert!(behind > 4, "{behind}");
    let found = evidence(&events);
    assert!(found.iter().all(|(at, _)| *at >= ends), "{found:?}");
    let found: BTreeSet<u32> = found.into_iter().map(|(_, node)| node).collect();
    assert!(world.victims().is_subset(&found), "{found:?}");
    assert_eq!(installs_trojan(&events), BTreeSet::new());
}

#[test]
fn fork_of_any_shape_installs_if_every_peer_lies() {
    for shape in [Shape::Longer(5), Shape::Starved(4 * HOUR)] {
        let mut scenario = attacked(AttackScenario::Fork, shape, 20 * MINUTE);
        let adversary = scenario.adversary.as_mut().expect("an adversary");
        (adversary.victims, adversary.colluding) = (1, Colluding::OfPeers(3));
        let (world, events) = play(scenario, 4);
        let trojan = CycleResult::Installed { index: world.split_size(), chain: 1 };
        let victim = *world.victims().first().expect("one");
        assert!(cycles(&events, victim).any(|(_, cycle)| cycle == trojan), "{shape:?}");
        assert_eq!(installs_trojan(&events), BTreeSet::from([victim]));
    }
}

#[test]
fn logged_trojan_installs_everywhere_after_it_was_public_for_settle() {
    let (world, events) = play(attacked(AttackScenario::Logged, Shape::Next, 20 * MINUTE), 5);
    let (index, chain) = world.trojan().expect("a trojan");
    assert_eq!((world.log_size(START), chain), (index + 1, 0));
    assert_eq!(evidence(&events), []);
    let public = polled(&events).find(|(.., head)| head.size > index).expect("a poll").0;
    for node in 0..8 {
        let installed = cycles(&events, node).filter_map(|(at, cycle)| match cycle {
            CycleResult::Installed { index, .. } => Some((at, index)),
            _ => None,
        });
        let installed: Vec<_> = installed.collect();
        let (at, _) = *installed.iter().find(|(_, which)| *which == index).expect("the trojan");
        assert!((public + HOUR - 1000..START + 3 * HOUR).contains(&at), "{installed:?}");
        // The publisher's next release is newer than the trojan.
        let next = world.release_index(world.releases_until(START));
        assert!(installed.iter().any(|(later, which)| *later > at && *which == next));
    }
}

#[test]
fn early_withdrawal_prevents_installs_and_late_one_is_reported() {
    let withdrawn = |after| {
        let mut scenario = attacked(AttackScenario::Logged, Shape::Next, 20 * MINUTE);
        scenario.adversary.as_mut().expect("one").withdrawn_after = Some(after);
        // No newer release replaces the trojan.
        scenario.release.1 = 0;
        let (world, events) = play(scenario, 5);
        let (index, chain) = world.trojan().expect("a trojan");
        let of = |cycle| events.iter().filter(move |event| is_cycle(event, cycle));
        let installed: Vec<_> = of(CycleResult::Installed { index, chain }).copied().collect();
        let reported: Vec<_> = of(CycleResult::Withdrawn).copied().collect();
        (installed, reported)
    };
    // A withdrawal within `settle` prevents every installation.
    assert_eq!(withdrawn(HOUR / 2), (vec![], vec![]));
    let (installed, reported) = withdrawn(2 * HOUR);
    assert_eq!(installed.len(), 8);
    for node in 0..8 {
        let first = reported.iter().find(|event| event.node == node).expect("a report");
        assert!(first.at < START + 2 * HOUR + 30 * MINUTE, "{first:?}");
    }
    let (installed, reported) = withdrawn(95 * MINUTE);
    assert!((1..8).contains(&installed.len()), "{} installed", installed.len());
    let nodes = |events: &[Event]| events.iter().map(|e| e.node).collect::<BTreeSet<u32>>();
    assert_eq!(nodes(&reported), nodes(&installed));
}

fn is_cycle(event: &Event, cycle: CycleResult) -> bool {
    matches!(event.kind, EventKind::Cycled(_, result) if result == cycle)
}

#[test]
fn checker_knows_when_a_trojan_is_withdrawn() {
    let mut world = attacked(AttackScenario::Logged, Shape::Next, 20 * MINUTE);
    world.adversary.as_mut().expect("one").withdrawn_after = Some(65 * MINUTE);
    let environment = Environment::new(world.clone(), Seed(1));
    let (trojan, _) = environment.trojan().expect("a trojan");
    let (installed, withdrawn) =
        (CycleResult::Installed { index: trojan, chain: 0 }, CycleResult::Withdrawn);
    let back = START + 65 * MINUTE;
    let [installed, withdrawn, new] =
        [installed, withdrawn, CycleResult::UpToDate].map(|cycle| EventKind::Cycled(1000, cycle));
    assert_eq!(environment.withdrawal_index(), Some(environment.log_size(back) - 1));
    // By then, peers have polled the withdrawal.
    let seen = START + 76 * MINUTE;
    let before = environment.release_index(environment.releases_until(START) - 1);
    let older = EventKind::Cycled(1000, CycleResult::Installed { index: before, chain: 0 });
    let passed_over = [(back - 2, 2, older), (seen, 2, new)];
    let good = [&passed_over[..], &[(back - 1, 1, installed), (seen, 1, withdrawn)]].concat();
    assert_eq!(broken_rules(&world, &good), []);
    assert_eq!(broken_rules(&world, &[(back + 1, 1, installed)]), []);
    assert_eq!(broken_rules(&world, &[(seen, 1, installed)]), [Rule::Withdrawn; 3]);
    assert_eq!(broken_rules(&world, &[(seen, 1, withdrawn)]), [Rule::Withdrawn]);
    let early = [(back - 2, 1, installed), (back - 1, 1, withdrawn)];
    assert_eq!(broken_rules(&world, &early), [Rule::Withdrawn]);
}

/// The rules that a few events break, in a world where every node polls the whole log.
fn broken_rules(scenario: &Scenario, events: &[(u64, u32, EventKind)]) -> Vec<Rule> {
    let environment = Environment::new(scenario.clone(), Seed(1));
    let mut safety = RuleChecker::new(&environment);
    for quarter in 1..28 {
        for node in 0..8 {
            let at = quarter * 15 * MINUTE;
            let head = TraceHead { chain: 0, size: environment.log_size(at) };
            safety.observe(&Event { at, node, kind: EventKind::Polled(Some(head)) });
        }
        let now = events.iter().filter(|(at, ..)| at / (15 * MINUTE) == quarter);
        now.for_each(|&(at, node, kind)| safety.observe(&Event { at, node, kind }));
    }
    safety.finish().into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn checker_knows_when_a_logged_trojan_is_due() {
    let world = attacked(AttackScenario::Logged, Shape::Next, 20 * MINUTE);
    let environment = Environment::new(world.clone(), Seed(1));
    let installed = |index| EventKind::Cycled(0, CycleResult::Installed { index, chain: 0 });
    let up_to_date = EventKind::Cycled(0, CycleResult::UpToDate);
    let (trojan, _) = environment.trojan().expect("a trojan");
    let count = environment.releases_until(START);
    let (before, after) = (environment.release_index(count - 1), environment.release_index(count));
    assert!(before < trojan && trojan < after);
    let late = START + 80 * MINUTE;
    assert!(late < environment.release_at(count));
    assert_eq!(
        broken_rules(&world, &[(late, 1, installed(trojan)), (late + 1, 1, up_to_date)]),
        []
    );
    assert_eq!(broken_rules(&world, &[(late, 1, installed(trojan - 1))]), [Rule::Logged]);
    let passed_over = [(late, 1, installed(before)), (late + 1, 1, up_to_date)];
    assert_eq!(broken_rules(&world, &passed_over), [Rule::Complete]);
    let early = broken_rules(&world, &[(START - 1, 1, installed(trojan))]);
    assert_eq!(early, [Rule::Logged, Rule::Confirmed, Rule::Confirmed, Rule::Confirmed]);
}

#[test]
fn no_honest_peer_cosigns_a_fork_that_is_shown_to_every_client() {
    let mut scenario = attacked(AttackScenario::Fork, Shape::Longer(5), 0);
    scenario.peers = 4;
    let adversary = scenario.adversary.as_mut().expect("an adversary");
    (adversary.colluding, adversary.victims, adversary.equivocate_to_all) =
        (Colluding::OfAll(3), 1, true);
    let (world, events) = play(scenario.clone(), 6);
    let liars = |at, client: u32| {
        let asked = world.peers_of(client).iter();
        asked
            .filter(|peer| world.lying_head(**peer, client, at).is_some_and(|head| head.chain == 1))
            .count()
    };
    let bystanders = (0..8).filter(|node| !world.is_victim(*node));
    assert!(bystanders.clone().filter(|node| liars(START, *node) > 0).count() > 3);
    assert!(bystanders.clone().all(|node| liars(START - 1, node) == 0));
    for (at, node, head) in polled(&events) {
        assert!(head.chain == 0 || world.is_victim(node), "node {node} at {at}: {head:?}");
    }
    // The checker finds an honest peer that cosigns the fork.
    let honest = bystanders.clone().find(|node| !world.colludes(*node)).expect("four");
    let mut safety = RuleChecker::new(&world);
    let fork = TraceHead { chain: 1, size: world.fork_size(START) };
    safety.observe(&Event { at: START + 1, node: honest, kind: EventKind::Polled(Some(fork)) });
    assert_eq!(safety.finish()[0].rule, Rule::OwnMirror);
    // Without `equivocate_to_all`, peers show the fork to the victim only.
    scenario.adversary.as_mut().expect("an adversary").equivocate_to_all = false;
    let world = Environment::new(scenario, Seed(6));
    assert!((0..8).all(|node| world.is_victim(node)
        || world.peers_of(node).iter().all(|peer| world.lying_head(*peer, node, START).is_none())));
}
