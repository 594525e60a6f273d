//! Swarm testing: every seed is a small random world, which has each kind of fault with a
//! probability of one half.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::checkers::{Rule, RuleChecker, Violation};
use crate::environment::Environment;
use crate::full::FullRunError;
use crate::scenario::fault::{Fault, FaultKind};
use crate::scenario::{
    Adversary, AttackScenario, Colluding, Days, Mirrors, Scenario, Shape, Topology, TorScenario,
};
use crate::trace::{Event, EventObserver as _};
use crate::{
    Millis, Seed,
    full::{self},
};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;

/// The random world of a seed.
pub fn random_scenario(seed: Seed) -> Scenario {
    let mut rng = seed.draws("swarm").rng(0, 0);
    let nodes = rng.random_range(4..=8);
    let horizon = 12 * HOUR;
    let mut faults = Vec::new();
    for kind in FaultKind::ALL {
        if rng.random() {
            let from = rng.random_range(0..5 * HOUR);
            let until = from + rng.random_range(HOUR / 2..2 * HOUR);
            // A partition affects a larger share of nodes, because a single node has no peer on its
            // side.
            let share = if kind == FaultKind::Partition { 0.4 } else { 0.12 };
            faults.push(Fault { kind, share, from, until });
        }
    }
    let mut world = Scenario {
        name: format!("swarm {}", seed.0),
        question: "does any rule break?".to_owned(),
        horizon,
        nodes,
        peers: rng.random_range(2..nodes.min(5)),
        topology: *[Topology::Random, Topology::Ring, Topology::SmallWorld(0.3)]
            .choose(&mut rng)
            .expect("three"),
        availability: if rng.random() { 1.0 } else { 0.95 },
        mean_outage: HOUR,
        mirrors: mirrors(&mut rng),
        poll: (5 * MINUTE, 15 * MINUTE),
        max_poll_age: 30 * MINUTE,
        round_interval: (20 * MINUTE, 40 * MINUTE),
        settle: HOUR,
        ask_timeout: 45_000,
        round_timeout: 2 * MINUTE,
        tor: tor(&mut rng),
        release: (rng.random_range(0..2 * HOUR), rng.random_range(2 * HOUR..4 * HOUR)),
        background: if rng.random() { 0 } else { rng.random_range(5 * MINUTE..HOUR) },
        late: 4 * HOUR,
        adversary: rng.random_bool(0.6).then(|| adversary(&mut rng, nodes)),
        faults,
    };
    add_late_options(&mut world, &mut seed.draws("swarm, more").rng(0, 0));
    if let Some(adversary) = &mut world.adversary
        && adversary.attack == AttackScenario::Logged
    {
        let mut rng = seed.draws("swarm, withdrawn").rng(0, 0);
        let after = rng.random_range(MINUTE..3 * HOUR);
        adversary.withdrawn_after = rng.random_bool(0.7).then_some(after);
    }
    world
}

fn tor(rng: &mut StdRng) -> TorScenario {
    let slow = rng.random();
    TorScenario {
        connect: if slow { (6100, 0.5) } else { (2500, 0.55) },
        stuck: if rng.random() { 0.0 } else { 0.02 },
        slow: if slow { (0.05, 50_000, 120_000) } else { (0.0, 0, 0) },
        ..TorScenario::calm()
    }
}

fn mirrors(rng: &mut StdRng) -> Mirrors {
    if rng.random() {
        return Mirrors::default();
    }
    Mirrors { availability: 0.9, mean_outage: HOUR, within: (0, 6 * HOUR) }
}

fn adversary(rng: &mut StdRng, nodes: u32) -> Adversary {
    let start = rng.random_range(HOUR..6 * HOUR);
    let lasts = rng.random_range(10 * MINUTE..3 * HOUR);
    let percent = rng.random_range(20..=100);
    let flash = AttackScenario::Flash(percent, lasts);
    let attacks = [
        AttackScenario::Fork,
        flash,
        AttackScenario::Freeze,
        AttackScenario::Block,
        AttackScenario::Equivocate,
    ];
    let colluding = if rng.random() {
        Colluding::OfPeers(rng.random_range(0..4))
    } else {
        Colluding::OfAll(rng.random_range(0..nodes / 2))
    };
    let attack = *attacks.choose(rng).expect("five");
    let victims = rng.random_range(1..=2);
    Adversary { victims, colluding, ..Adversary::new(attack, start) }
}

/// Adds the options that are newer than the swarm's first version. They are drawn from a random
/// stream of their own. A seed therefore still gives the older options the values that it always
/// gave them. The attack is the exception: it may be replaced here.
fn add_late_options(world: &mut Scenario, rng: &mut StdRng) {
    let (shape, is_logged) = (shape(rng), rng.random_bool(0.15));
    if let Some(adversary) = &mut world.adversary
        && is_logged
    {
        adversary.attack = AttackScenario::Logged;
    }
    if let Some(adversary) = &mut world.adversary
        && adversary.attack.is_fork()
    {
        adversary.shape = shape;
        adversary.equivocate_to_all = rng.random();
    }
    vary_tor(&mut world.tor, rng);
}

/// Adds bad days to a quarter of the worlds, and relays that leave to a quarter. Both happen within
/// hours, so that a short world shows them.
fn vary_tor(tor: &mut TorScenario, rng: &mut StdRng) {
    let days = Days { good: (0.007, 2 * HOUR), bad: (0.33, HOUR) };
    if rng.random_bool(0.25) {
        tor.days = days;
    }
    if rng.random_bool(0.25) {
        tor.churn = rng.random();
    }
}

fn shape(rng: &mut StdRng) -> Shape {
    let longer = Shape::Longer(rng.random_range(1..=20));
    let starved = Shape::Starved(rng.random_range(HOUR / 2..5 * HOUR));
    *[Shape::Next, Shape::Same, longer, starved].choose(rng).expect("four")
}

/// A world that was played: its events and the broken rules.
#[derive(Clone, Debug)]
pub struct PlayedWorld {
    /// All events, in order of time.
    pub events: Vec<Event>,
    /// The violations of rules.
    pub violations: Vec<Violation>,
}

/// Plays a world with the shipped code, and checks every rule.
///
/// # Errors
/// The world could not be played.
pub fn play(scenario: &Scenario, seed: Seed) -> Result<PlayedWorld, FullRunError> {
    let environment = Environment::new(scenario.clone(), seed);
    let events = full::run(environment.clone(), seed)?;
    let mut checker = RuleChecker::new(&environment);
    events.iter().for_each(|event| checker.observe(event));
    Ok(PlayedWorld { events, violations: checker.finish() })
}

/// Finds a smaller world in which the same rule breaks: with fewer faults, nodes and peers, less
/// time, and so on. After each success, all reductions are tried again. The search ends when none
/// of them leaves a world in which the rule breaks.
///
/// # Errors
/// A smaller world could not be played.
pub fn shrink(scenario: &Scenario, seed: Seed, rule: Rule) -> Result<Scenario, FullRunError> {
    let mut smallest = scenario.clone();
    'smaller: loop {
        for smaller in smaller_scenarios(&smallest) {
            let broken = play(&smaller, seed)?.violations;
            if broken.iter().any(|violation| violation.rule == rule) {
                smallest = smaller;
                continue 'smaller;
            }
        }
        return Ok(smallest);
    }
}

/// All worlds that a single reduction makes of a world, roughly the largest reductions first.
fn smaller_scenarios(scenario: &Scenario) -> Vec<Scenario> {
    let with = |change: &dyn Fn(&mut Scenario)| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        smaller
    };
    let mut all = vec![
        with(&|s| s.faults.clear()),
        with(&|s| s.adversary = None),
        with(&|s| {
            if let Some(adversary) = &mut s.adversary {
                (adversary.shape, adversary.equivocate_to_all) = (Shape::Next, false);
                adversary.withdrawn_after = None;
            }
        }),
        with(&|s| (s.tor.days, s.tor.churn) = (Days::default(), 0.0)),
        with(&|s| s.horizon /= 2),
        with(&|s| s.nodes -= 1),
        with(&|s| s.peers -= 1),
        with(&|s| s.background = 0),
        with(&|s| s.availability = 1.0),
        with(&|s| s.horizon -= s.horizon / 8),
    ];
    all.extend((0..scenario.faults.len()).map(|number| {
        with(&|s| {
            s.faults.remove(number);
        })
    }));
    let is_valid = |s: &Scenario| s.peers > 0 && s.peers < s.nodes && s.horizon > HOUR;
    all.retain(|smaller| is_valid(smaller) && smaller != scenario);
    all
}
