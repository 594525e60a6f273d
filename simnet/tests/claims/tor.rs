//! The model of Tor: bad days, and relays that leave.

use simnet::environment::ConnectOutcome;
use simnet::scenario::{Days, Scenario, TorScenario};
use simnet::validate::quiet_scenario;
use simnet::{Environment, Seed, play};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

fn world(tor: TorScenario, horizon: u64) -> Environment {
    Environment::new(Scenario { horizon, tor, ..quiet_scenario(20, 3) }, Seed(3))
}

#[test]
fn node_with_nearly_full_availability_is_up() {
    for availability in [0.999_999_999, 0.999_999_999_999, 0.999_999_999_999_999_9] {
        let scenario = Scenario { availability, ..quiet_scenario(50, 3) };
        let environment = Environment::new(scenario, Seed(1));
        for node in 0..50 {
            let mut service = environment.service(node);
            for day in 0..100 {
                assert!(service.is_up(&environment, node, day * 86_400_000), "{availability}");
            }
        }
    }
}

#[test]
fn bad_days_affect_every_pair_and_last_as_configured() {
    let horizon = 20_000 * DAY;
    let world = world(TorScenario { churn: 0.0, ..TorScenario::days() }, horizon);
    let hours = || (0..horizon / HOUR).map(|hour| world.is_bad_day(hour * HOUR));
    let bad = hours().filter(|bad| *bad).count() as f64;
    let turns = hours().zip(hours().skip(1)).filter(|(one, next)| !one && *next).count() as f64;
    let (good_mean, bad_mean) = ((hours().count() as f64 - bad) / turns, bad / turns);
    assert!((good_mean / (14.0 * 24.0) - 1.0).abs() < 0.1, "{good_mean} hours");
    assert!((bad_mean / 48.0 - 1.0).abs() < 0.1, "{bad_mean} hours");
    // The failures of each of two pairs of nodes.
    for pair in [(0, 1), (7, 4)] {
        for (is_bad, probability) in [(false, 0.007), (true, 0.33)] {
            let tries = (0..horizon / HOUR).filter(|hour| world.is_bad_day(hour * HOUR) == is_bad);
            let outcomes =
                tries.map(|hour| world.connect_outcome(pair, (hour, 0), hour * HOUR, true));
            let stuck: Vec<bool> =
                outcomes.map(|outcome| outcome == ConnectOutcome::Stuck).collect();
            let share = stuck.iter().filter(|stuck| **stuck).count() as f64 / stuck.len() as f64;
            assert!((share / probability - 1.0).abs() < 0.05, "{share} for {probability}");
        }
    }
}

#[test]
fn connection_breaks_if_a_relay_leaves_while_it_is_made_or_used() {
    let usual =
        TorScenario { connect: (MADE, 0.0), round_trip: (USED, 0.0), ..TorScenario::none() };
    let leaving = world(TorScenario { churn: 0.5, ..usual.clone() }, DAY);
    let staying = world(usual, DAY);
    let (mut in_making, mut in_use, mut up_to_end) = (0, 0, 0);
    for cycle in 0..20_000 {
        assert_eq!(
            staying.connect_outcome((0, 1), (cycle, 0), 0, true),
            ConnectOutcome::Connected(MADE)
        );
        match leaving.connect_outcome((0, 1), (cycle, 0), 0, true) {
            ConnectOutcome::Refused(after) if after < MADE => in_making += 1,
            ConnectOutcome::Refused(after) if after < MADE + USED => in_use += 1,
            ConnectOutcome::Connected(MADE) => up_to_end += 1,
            other => panic!("{other:?}"),
        }
        // A peer that is down refuses at the latest when the connection would be made.
        let down = leaving.connect_outcome((0, 1), (cycle, 0), 0, false);
        assert!(matches!(down, ConnectOutcome::Refused(after) if after <= MADE), "{down:?}");
    }
    // Each of six relays leaves with a rate of 0.5 an hour.
    let broken = |lasts: u64| 1.0 - (-3.0 * lasts as f64 / HOUR as f64).exp();
    for (count, expected) in [
        (in_making, broken(MADE)),
        (in_use, broken(MADE + USED) - broken(MADE)),
        (up_to_end, 1.0 - broken(MADE + USED)),
    ] {
        let share = f64::from(count) / 20_000.0;
        assert!((share / expected - 1.0).abs() < 0.05, "{share}, not {expected}");
    }
}

const MADE: u64 = 4 * 60_000;
const USED: u64 = 2 * 60_000;

#[test]
fn more_rounds_are_incomplete_on_bad_days() {
    let incomplete = |probability| {
        let days = Days { good: (probability, DAY), bad: (probability, DAY) };
        let tor = TorScenario { stuck: 0.0, days, ..TorScenario::calm() };
        let results = play(&Scenario { horizon: 10 * DAY, tor, ..quiet_scenario(40, 5) }, Seed(4));
        results.counts["rounds.incomplete"] as f64 / results.counts["rounds"] as f64
    };
    // A try is given up after 30 s, and a round closes after 2 min. So three tries always fit, and
    // short waits leave time for the fourth.
    let (good, bad) = (incomplete(0.007), incomplete(0.33));
    assert!(good < 0.001, "{good}");
    assert!((0.02..0.2).contains(&bad), "{bad}");
}
