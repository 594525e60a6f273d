//! The shipped code in random worlds, each with a random half of all faults.

use std::sync::atomic::{AtomicU64, Ordering};

use simnet::Seed;
use simnet::checkers::Rule;
use simnet::scenario::fault::{Fault, FaultKind};
use simnet::swarm::{play, random_scenario, shrink};

/// The number of worlds that each run of the tests plays.
const WORLDS: u64 = 240;

#[test]
fn no_rule_breaks_in_any_world() {
    let next = AtomicU64::new(0);
    let play_worlds = || {
        loop {
            let seed = Seed(next.fetch_add(1, Ordering::Relaxed));
            if seed.0 >= WORLDS {
                return;
            }
            let played = play(&random_scenario(seed), seed).unwrap();
            let first = played.violations.first();
            assert!(first.is_none(), "{}\nsimnet replay --swarm {}", first.unwrap(), seed.0);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(play_worlds)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

#[test]
fn random_worlds_contain_every_fault_and_attack() {
    let worlds: Vec<_> = (0..WORLDS).map(|seed| random_scenario(Seed(seed))).collect();
    for kind in FaultKind::ALL {
        let with = |fault: &Fault| fault.kind == kind;
        let count = worlds.iter().filter(|world| world.faults.iter().any(with)).count() as u64;
        assert!((WORLDS / 4..WORLDS * 3 / 4).contains(&count), "{kind:?} in {count} worlds");
    }
    use simnet::scenario::{AttackScenario, Shape};
    let attacks = worlds.iter().filter_map(|world| Some(world.adversary.as_ref()?.attack));
    let attacks: Vec<AttackScenario> = attacks.collect();
    for (attack, found) in [
        ("fork", attacks.contains(&AttackScenario::Fork)),
        ("flash", attacks.iter().any(|attack| matches!(attack, AttackScenario::Flash(..)))),
        ("logged", attacks.contains(&AttackScenario::Logged)),
        ("freeze", attacks.contains(&AttackScenario::Freeze)),
        ("block", attacks.contains(&AttackScenario::Block)),
        ("equivocate", attacks.contains(&AttackScenario::Equivocate)),
    ] {
        assert!(found, "{attack}");
    }
    assert!(worlds.iter().any(|world| world.tor.days.can_fail()));
    assert!(worlds.iter().any(|world| world.tor.churn > 0.0));
    assert!(
        worlds.iter().any(|world| world.adversary.as_ref().is_some_and(|a| a.equivocate_to_all))
    );
    let withdrawn = |a: &simnet::scenario::Adversary| a.withdrawn_after.is_some();
    assert!(worlds.iter().any(|world| world.adversary.as_ref().is_some_and(withdrawn)));
    let shapes = worlds.iter().filter_map(|world| Some(world.adversary.as_ref()?.shape));
    let shapes: Vec<Shape> = shapes.collect();
    let is_longer = |shape: &Shape| matches!(shape, Shape::Longer(_));
    let is_starved = |shape: &Shape| matches!(shape, Shape::Starved(_));
    assert!(shapes.contains(&Shape::Same));
    assert!(shapes.iter().any(is_longer) && shapes.iter().any(is_starved));
}

/// No peer ever has a fresh head, because `max_poll_age` is 1 ms. So no node installs, and the rule
/// `Live` breaks.
#[test]
fn shrink_keeps_the_broken_rule_and_removes_the_rest() {
    let seed = (0..).map(Seed).find(|seed| {
        let world = random_scenario(*seed);
        world.adversary.is_none() && world.availability == 1.0 && world.tor.stuck == 0.0
    });
    let seed = seed.unwrap();
    let mut world = random_scenario(seed);
    // This fault ends at once and breaks no rule, so shrinking removes it.
    world.faults.push(Fault { kind: FaultKind::MirrorDead, share: 1.0, from: 0, until: 1 });
    world.settle = 30 * 60_000;
    world.release = (world.release.0, 13 * 3_600_000);
    let whole = play(&world, seed).unwrap();
    assert_eq!(whole.violations, [], "a rule breaks too early");
    world.max_poll_age = 1;
    let broken = play(&world, seed).unwrap().violations;
    assert!(broken.iter().any(|violation| violation.rule == Rule::Live), "{broken:?}");
    let small = shrink(&world, seed, Rule::Live).unwrap();
    let violations = play(&small, seed).unwrap().violations;
    assert!(violations.iter().any(|violation| violation.rule == Rule::Live));
    assert_eq!(small.faults, []);
    assert_eq!((small.nodes, small.peers, small.background), (2, 1, 0));
}
